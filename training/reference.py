"""Measures the reference: the bins that a model's probabilities fill on the validation part."""

import numpy as np
from numpy.typing import NDArray

from localization import DISEASES, Compute, Localizer, ModelBundle
from localization.bundle import write_manifest
from localization.reference import BOUNDS, Bins, Reference
from training.dataset import ChestXray14
from training.evaluation import predict

LEAST = 0.08
"""Of the radiographs, that a bin holds. Deciles are usual for a population stability index; where
bounds are given, bins of at least 8 % are about ten."""
RULE = (
    "neighbouring buckets of the service's histogram together, from below, until a bin holds "
    f"{100 * LEAST:g} % of the radiographs"
)


def record_reference(bundle: ModelBundle, data: ChestXray14) -> ModelBundle:
    """Write the reference of the graph that the manifest names as the fastest into the manifest.

    Args:
        bundle: whose manifest is rewritten.
        data: the official files. The validation part is what the probabilities were calibrated
            on; the test part is for figures alone.
    """
    localizer = Localizer(bundle, Compute("cpu", bundle.manifest.fastest))
    reference = measure_reference(localizer, data)
    manifest = bundle.manifest.model_copy(update={"reference": reference})
    write_manifest(manifest, bundle.folder)
    return ModelBundle.load(bundle.folder)


def measure_reference(localizer: Localizer, data: ChestXray14) -> Reference:
    """The reference of a model. Raises `ValueError` where no validation radiograph is here."""
    table = data.part("validation")
    if table.empty:
        raise ValueError("No radiograph of the validation part is here to measure a reference on.")
    probabilities = predict(localizer, table, set()).probabilities
    return Reference(
        data=f"validation part of train_val_list, by the {localizer.precision} graph",
        radiographs=len(table),
        rule=RULE,
        diseases={
            disease: fill_bins(probabilities[:, index]) for index, disease in enumerate(DISEASES)
        },
    )


def fill_bins(probabilities: NDArray[np.floating]) -> Bins:
    """The bins of one disease's probabilities `[radiographs]`; see `RULE`."""
    buckets = np.searchsorted(BOUNDS, probabilities.astype(float))
    counts = np.bincount(buckets, minlength=len(BOUNDS))
    bounds: list[float] = []
    held: list[int] = []
    waiting = 0
    for bound, count in zip(BOUNDS, counts.tolist(), strict=True):
        waiting += count
        if waiting >= LEAST * len(probabilities):
            bounds.append(bound)
            held.append(waiting)
            waiting = 0
    # What is left above is too little for a bin of its own.
    bounds[-1] = BOUNDS[-1]
    held[-1] += waiting
    shares = [round(count / len(probabilities), 6) for count in held]
    return Bins(bounds=tuple(bounds), shares=tuple(shares))
