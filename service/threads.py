"""An engine in this process: one model, and threads that work with it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from localization import Localizer, Outputs
from service.batching import Batcher
from service.engine import Model, warm_up_sessions
from service.settings import Settings
from service.task import Reply, Task, localize
from service.uploads import Upload


class ThreadEngine:
    """Localizes in threads; inferences may be batched. See `service.engine.Engine`."""

    ahead = 0

    def __init__(self, localizer: Localizer, settings: Settings) -> None:
        self.localizer = localizer
        self.model = Model(localizer.bundle.manifest, localizer.provider, localizer.precision)
        self._threads = ThreadPoolExecutor(settings.worker_count, thread_name_prefix="localize")
        # No more can come together than there are threads to wait for them.
        self._largest = min(settings.batch_size, settings.worker_count)
        self._batcher = (
            Batcher(localizer.infer, self._largest, settings.batch_seconds)
            if self._largest > 1
            else None
        )

    async def localize(self, task: Task, upload: Upload) -> Reply:
        """Localize one radiograph."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._localize, task, upload)

    def _localize(self, task: Task, upload: Upload) -> Reply:
        return localize(task, upload.read(), self.localizer, self._infer)

    def _infer(self, inputs: NDArray[np.uint8], *, alone: bool) -> Outputs:
        if self._batcher is not None:
            return self._batcher(inputs)
        return self.localizer.infer(inputs, alone=alone)

    def warm_up(self) -> None:
        """Run each session, and sizes of batches up to the largest, by powers of two."""
        warm_up_sessions(self.localizer)
        side = self.model.manifest.side
        sizes = {min(2**power, self._largest) for power in range(self._largest.bit_length() + 1)}
        for size in sorted(sizes - {1}):
            self.localizer.infer(np.zeros((size, 1, side, side), np.uint8))

    async def close(self) -> None:
        """Let the threads end; what has begun holds the model as long as it needs it."""
        self._threads.shutdown(wait=False)
