"""What several commands share: options, the model, and errors that a person can read."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer


class Provider(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    tensorrt = "tensorrt"


class Gate(StrEnum):
    refuse = "refuse"
    flag = "flag"
    off = "off"


ModelOption = Annotated[
    Path | None, typer.Option("--model", help="Folder of the model bundle; the shipped one.")
]
ProviderOption = Annotated[Provider, typer.Option(help="Where to compute.")]


def open_localizer(model: Path | None, provider: Provider) -> Any:
    from localization import (
        BundleRefused,
        Compute,
        Localizer,
        ModelBundle,
        ProviderUnavailable,
        shipped_bundle,
    )

    try:
        return Localizer(ModelBundle.load(model or shipped_bundle()), Compute(provider.value))
    except (BundleRefused, ProviderUnavailable) as error:
        fail(str(error))


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Say which extra to install where a module of it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        fail(
            f"This command needs {error.name}: pip install 'cxr-localizer[{name}]'. An image that "
            "serves cannot run it."
        )


@contextmanager
def clear_errors() -> Iterator[None]:
    """Show what was wrong with the input, not where the code met it."""
    try:
        yield
    # ImportError: fsspec names the package that a URL needs.
    except (ImportError, OSError, ValueError) as error:
        fail(words(error))


def words(error: Exception) -> str:
    """What an error says; its kind, where it says nothing."""
    return str(error) or type(error).__name__


def fail(message: str) -> NoReturn:
    """End the command with a sentence for a person."""
    typer.echo(f"cxr-localizer: {message}", err=True)
    sys.exit(2)
