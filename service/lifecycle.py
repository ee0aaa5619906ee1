"""The service's life: load the model, warm it up, be ready, drain."""

import asyncio
from enum import StrEnum

import numpy as np
import structlog

from localization import Localizer, ModelBundle
from service.admission import Admission
from service.metrics import Metrics
from service.problems import Refused
from service.settings import Settings

log = structlog.stdlib.get_logger("service")


class Phase(StrEnum):
    """Where the service stands in its life."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"


def load_localizer(settings: Settings) -> Localizer:
    """Load the model that the settings name.

    Raises `localization.BundleRefused` and `localization.ProviderUnavailable`.
    """
    bundle = ModelBundle.load(settings.model)
    return Localizer(bundle, provider=settings.provider, threads=settings.threads)


class Lifecycle:
    """Holds what outlives a request: the localizer, the queue, the metrics."""

    def __init__(self, settings: Settings, localizer: Localizer | None) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.admission = Admission(
            settings.worker_count,
            settings.max_waiting,
            self.metrics.stages.labels("queue").observe,
        )
        self.metrics.queue_depth.set_function(lambda: self.admission.waiting)
        self.phase = Phase.LOADING
        self._localizer = localizer
        self._warming: asyncio.Task[None] | None = None

    @property
    def localizer(self) -> Localizer:
        """The loaded localizer. Raises `Refused` before it is loaded."""
        if self._localizer is None:
            raise Refused("not-ready", "The model is still being loaded; try again in a moment.")
        return self._localizer

    async def start(self) -> None:
        """Load the model, then warm it up in the background.

        A refused bundle or provider is raised here, before the port opens: a deployment that
        cannot work never looks alive.
        """
        if self._localizer is None:
            self._localizer = await asyncio.to_thread(load_localizer, self.settings)
        manifest = self._localizer.bundle.manifest
        provider = self._localizer.provider
        model = {"name": manifest.name, "version": manifest.version, "provider": provider}
        self.metrics.model.info(model)
        log.info("model loaded", **model)
        self._warming = asyncio.create_task(self._warm_up(self._localizer))

    async def _warm_up(self, localizer: Localizer) -> None:
        """Run the model once: the first run is slow, no client should be the one to wait."""
        side = localizer.bundle.manifest.side
        blank = np.zeros((1, 1, side, side), np.uint8)
        try:
            await asyncio.to_thread(localizer.infer, blank)
        except Exception as error:
            # It is never ready, then, and the log says why: a probe sees to the rest.
            log.error("warm-up failed", error=repr(error))
            return
        if self.phase is Phase.LOADING:
            self.phase = Phase.READY
            log.info("ready")

    def begin_draining(self) -> None:
        """Say at the probes that the service is about to stop."""
        self.phase = Phase.DRAINING

    async def stop(self) -> None:
        """Finish what has begun."""
        self.begin_draining()
        if self._warming is not None:
            await self._warming
        await self.admission.drain()
        log.info("drained")
