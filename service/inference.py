"""The model at work: where its inferences run, and what they share."""

import numpy as np
from numpy.typing import NDArray

from localization import Compute, Localizer, ModelBundle, Outputs
from service.batching import Batcher
from service.settings import Settings


def load_localizer(settings: Settings) -> Localizer:
    """Load and verify the model that the settings name.

    Raises `localization.BundleRefused` and `localization.ProviderUnavailable`.
    """
    return Localizer(
        ModelBundle.load(settings.model),
        Compute(
            provider=settings.provider,
            precision=settings.precision,
            threads=settings.threads,
            gpu_memory=settings.gpu_memory_bytes,
            engines=settings.engines,
            shared=settings.worker_count > 1,
            batch=settings.batch_size,
        ),
    )


class Inference:
    """One loaded model, and how the workers' inferences reach it."""

    def __init__(self, localizer: Localizer, settings: Settings) -> None:
        self.localizer = localizer
        self._batcher = (
            Batcher(localizer.infer, settings.batch_size, settings.batch_seconds)
            if settings.batch_size > 1
            else None
        )
        self._largest = settings.batch_size

    def __call__(self, inputs: NDArray[np.uint8], *, alone: bool) -> Outputs:
        """Infer one radiograph, uint8 `[1, 1, side, side]`."""
        if self._batcher is not None:
            return self._batcher(inputs)
        return self.localizer.infer(inputs, alone=alone)

    def warm_up(self) -> None:
        """Run every session, and every size of batch up to the largest by powers of two.

        The first run of a size is slow: no client should be the one to wait for it.
        """
        side = self.localizer.bundle.manifest.side
        for alone in (True, False):
            self.localizer.infer(np.zeros((1, 1, side, side), np.uint8), alone=alone)
        sizes = {min(2**power, self._largest) for power in range(self._largest.bit_length() + 1)}
        for size in sorted(sizes - {1}):
            self.localizer.infer(np.zeros((size, 1, side, side), np.uint8))
