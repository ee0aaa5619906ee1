"""The engine: one loaded model, and those who work with it."""

from typing import NamedTuple, Protocol

import numpy as np

from localization import Compute, Localizer, Manifest, ModelBundle
from service.settings import Settings
from service.task import Reply, Task
from service.uploads import Upload


class Model(NamedTuple):
    """What is served, and how."""

    manifest: Manifest
    provider: str
    precision: str


class EngineClosed(Exception):
    """The engine was closed before it was asked: another one has taken over."""


class WorkFailed(Exception):
    """A worker failed in a way that no one expected; `where` its code was, without its message."""

    def __init__(self, name: str, where: list[str]) -> None:
        super().__init__(name)
        self.name, self.where = name, where

    def __reduce__(self) -> tuple[type["WorkFailed"], tuple[str, list[str]]]:
        return WorkFailed, (self.name, self.where)


class Engine(Protocol):
    """Localizes radiographs, several at a time."""

    model: Model
    ahead: int
    """How many radiographs it takes beside those that its workers are at."""

    async def localize(self, task: Task, upload: Upload) -> Reply:
        """Localize one radiograph, beside others.

        Raises `localization.RadiographRefused`, `EngineClosed`, and whatever failed.
        """

    def warm_up(self) -> None:
        """Run everything once: the first run is slow, no client should be the one to wait."""

    async def close(self) -> None:
        """Finish what has begun, then let the model go."""


def warm_up_sessions(localizer: Localizer) -> None:
    """Run the session that has all threads, and the one for inferences beside others."""
    side = localizer.bundle.manifest.side
    for alone in (True, False):
        localizer.infer(np.zeros((1, 1, side, side), np.uint8), alone=alone)


def load_localizer(settings: Settings, bundle: ModelBundle) -> Localizer:
    """Open a bundle's graph as the settings say.

    Raises `localization.BundleRefused` and `localization.ProviderUnavailable`.
    """
    return Localizer(
        bundle,
        Compute(
            provider=settings.provider,
            precision=settings.precision,
            threads=settings.thread_count,
            gpu_memory=settings.gpu_memory_bytes,
            engines=settings.engines,
            shared=settings.worker_count > 1,
            batch=settings.batch_size,
        ),
    )
