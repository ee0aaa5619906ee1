"""The service's life: load the model, warm it up, be ready, drain."""

import asyncio
from enum import StrEnum

import structlog

from localization import Localizer
from service.admission import Admission
from service.inference import Inference, load_localizer
from service.metrics import Metrics
from service.problems import Refused
from service.settings import Settings

log = structlog.stdlib.get_logger("service")


class Phase(StrEnum):
    """Where the service stands in its life."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"


class Lifecycle:
    """Holds what outlives a request: the model, the queue, the metrics."""

    def __init__(self, settings: Settings, localizer: Localizer | None) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.admission = Admission(
            settings.worker_count,
            settings.max_waiting,
            settings.deadline_seconds,
            self.metrics.stages["queue"].observe,
        )
        self.metrics.queue_depth.set_function(lambda: self.admission.waiting)
        self.phase = Phase.LOADING
        self._inference = Inference(localizer, settings) if localizer is not None else None
        self._warming: asyncio.Task[None] | None = None

    @property
    def inference(self) -> Inference:
        """The model that serves. Raises `Refused` before it is loaded."""
        if self._inference is None:
            raise Refused("not-ready", "The model is still being loaded; try again in a moment.")
        return self._inference

    async def start(self) -> None:
        """Load the model, then warm it up in the background.

        A refused bundle or provider is raised here, before the port opens: a deployment that
        cannot work never looks alive.
        """
        if self._inference is None:
            self._inference = await asyncio.to_thread(self._load)
        self._serve(self._inference)
        self._warming = asyncio.create_task(self._warm_up(self._inference))

    def _load(self) -> Inference:
        return Inference(load_localizer(self.settings), self.settings)

    def _serve(self, inference: Inference) -> None:
        """Let all work that begins from now on be this model's."""
        self._inference = inference
        localizer = inference.localizer
        model = {
            "name": localizer.bundle.manifest.name,
            "version": localizer.bundle.manifest.version,
            "provider": localizer.provider,
            "precision": localizer.precision,
        }
        self.metrics.model.info(model)
        log.info("model loaded", **model)

    async def _warm_up(self, inference: Inference) -> None:
        try:
            await asyncio.to_thread(inference.warm_up)
        except Exception as error:
            # It is never ready, then, and the log says why: a probe sees to the rest.
            log.error("warm-up failed", error=repr(error))
            return
        if self.phase is Phase.LOADING:
            self.phase = Phase.READY
            log.info("ready")

    async def reload(self) -> None:
        """Load the settings' bundle anew; where it is refused, the old one goes on serving.

        What has begun with the old one ends with it. The new one is verified and warm before it
        takes over.
        """
        try:
            inference = await asyncio.to_thread(self._load)
            await asyncio.to_thread(inference.warm_up)
        except Exception as error:
            self.metrics.reloads.labels("refused").inc()
            log.error("reload refused; the old model goes on", reason=str(error))
            return
        self._serve(inference)
        self.metrics.reloads.labels("loaded").inc()

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
