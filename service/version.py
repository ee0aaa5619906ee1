"""Which version of the project this is."""

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """The version of the installed package; `0` for a checkout that is not installed."""
    try:
        return version("cxr-localizer")
    except PackageNotFoundError:
        return "0"
