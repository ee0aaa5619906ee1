"""The service's life: load the model, warm it up, be ready, drain."""

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog

from localization import ModelBundle
from localization.session import is_built_in
from service.admission import Admission
from service.engine import Engine, EngineClosed, load_localizer
from service.metrics import Metrics
from service.problems import Refused
from service.processes import ProcessEngine
from service.settings import Settings
from service.task import Reply, Task
from service.threads import ThreadEngine
from service.uploads import Upload, Uploads

if TYPE_CHECKING:
    from service.tracing import Tracer

log = structlog.stdlib.get_logger("service")


class Phase(StrEnum):
    """Where the service stands in its life."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"


def open_engine(settings: Settings) -> Engine:
    """Load the model into worker processes on a CPU, into this process where a GPU may be.

    Processes share no interpreter lock, and one that a broken file brings down takes no other
    request with it. A GPU holds the model once, and is fed by threads.

    Raises `localization.BundleRefused` and `localization.ProviderUnavailable`.
    """
    if settings.provider == "cpu" or (settings.provider == "auto" and not is_built_in("cuda")):
        return ProcessEngine(settings)
    return ThreadEngine(load_localizer(settings, ModelBundle.load(settings.model)), settings)


def open_tracer(settings: Settings) -> "Tracer | None":
    """What sends traces; None where the settings name no collector."""
    if not settings.traces:
        return None
    from service.tracing import Tracer  # Brings OpenTelemetry's SDK, which nothing else needs.

    return Tracer(settings.traces, settings.traces_ratio)


class Lifecycle:
    """Holds what outlives a request: the model, the queue, uploads, the metrics, the tracer."""

    def __init__(self, settings: Settings, engine: Engine | None) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.tracer = open_tracer(settings)
        self.uploads = Uploads(settings.max_upload_bytes)
        self.admission = Admission(
            settings.worker_count, settings.max_waiting, settings.deadline_seconds
        )
        self.metrics.queue_depth.set_function(lambda: self.admission.waiting)
        self.metrics.queue_limit.set(settings.max_waiting)
        self.phase = Phase.LOADING
        self.metrics.ready.set_function(lambda: self.phase is Phase.READY)
        self._engine = engine
        self._warming: asyncio.Task[None] | None = None

    @property
    def engine(self) -> Engine:
        """The one that serves. Raises `Refused` before it is loaded."""
        if self._engine is None:
            raise Refused("not-ready", "The model is still being loaded; try again in a moment.")
        return self._engine

    async def localize(self, task: Task, upload: Upload) -> Reply:
        """Have a radiograph localized by the engine that serves when the work begins."""
        while True:
            try:
                return await self.engine.localize(task, upload)
            except EngineClosed:
                continue  # A reload has come between: the next engine is there already.

    def open(self) -> None:
        """Load the model. Raises `localization.BundleRefused` and `ProviderUnavailable`."""
        self._engine = open_engine(self.settings)

    async def start(self) -> None:
        """Load the model, then warm it up in the background.

        A refused bundle or provider is raised here, before the port opens: a deployment that
        cannot work never looks alive.
        """
        if self._engine is None:
            await asyncio.to_thread(self.open)
        self.admission.begin_ahead(self.engine.ahead)
        self._tell_of(self.engine)
        self._warming = asyncio.create_task(self._warm_up(self.engine))

    def _tell_of(self, engine: Engine) -> None:
        model = {
            "name": engine.model.manifest.name,
            "version": engine.model.manifest.version,
            "provider": engine.model.provider,
            "precision": engine.model.precision,
        }
        self.metrics.model.info(model)
        self.metrics.compare_with(engine.model.manifest)
        log.info("model loaded", **model)

    async def _warm_up(self, engine: Engine) -> None:
        try:
            await asyncio.to_thread(engine.warm_up)
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
        old = self.engine
        try:
            new = await asyncio.to_thread(open_engine, self.settings)
            await asyncio.to_thread(new.warm_up)
        except Exception as error:
            self.metrics.reloads.labels("refused").inc()
            log.error("reload refused; the old model goes on", reason=str(error))
            return
        self._engine = new
        self._tell_of(new)
        self.metrics.reloads.labels("loaded").inc()
        await old.close()

    def begin_draining(self) -> None:
        """Say at the probes that the service is about to stop."""
        self.phase = Phase.DRAINING

    async def stop(self) -> None:
        """Finish what has begun."""
        self.begin_draining()
        if self._warming is not None:
            await self._warming
        try:
            async with asyncio.timeout(self.settings.grace_seconds):
                await self.admission.drain()
                await self.engine.close()
        except TimeoutError:
            log.error("a worker is stuck; the service ends without it")
        else:
            log.info("drained")
        self.uploads.close()
        if self.tracer is not None:
            await asyncio.to_thread(self.tracer.close)
