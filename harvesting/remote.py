"""What storage says when it fails. fsspec's file systems let errors of their makers' libraries
through, of which nothing here knows."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_OWN = frozenset(("harvesting", "localization"))

_USER = re.compile(r"(?<=//)[^/@]*@")
_QUERY = re.compile(r"\?[^/]*=.*")


@contextmanager
def named_errors(url: str) -> Iterator[None]:
    """Make an `OSError` of what the library of a cloud raises, such as botocore's
    `NoCredentialsError`: it names its kind and the URL, without its words, which may quote a key.
    """
    try:
        yield
    except (OSError, ValueError):
        raise
    except Exception as error:
        if not _is_foreign(error):
            raise
        kind = type(error).__name__
        failed = OSError(f"{without_secrets(url)} cannot be had ({kind}).")
        failed.strerror = kind
        raise failed from error


def _is_foreign(error: Exception) -> bool:
    """Whether its kind is of another package than Python's own and this one."""
    package = type(error).__module__.partition(".")[0]
    return package not in sys.stdlib_module_names and package not in _OWN


def without_secrets(url: str) -> str:
    """A URL without its user, password and query."""
    return _QUERY.sub("", _USER.sub("", url))


def why(error: Exception) -> str:
    """What failed, without the path that its message may quote."""
    return getattr(error, "strerror", None) or type(error).__name__
