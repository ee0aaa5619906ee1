"""An appearance that no radiograph was asked for."""

import numpy as np

from training.appearance import PARTS, Appearance
from training.network import LocalizationNetwork


def any_appearance(network: LocalizationNetwork) -> Appearance:
    """Of the shape that a network's maps have, its values drawn at random."""
    random = np.random.default_rng(0)
    values = network.head.in_channels * PARTS**2
    components = np.linalg.qr(random.normal(size=(values, 4)))[0].T.astype(np.float32)
    return Appearance(
        mean=np.zeros(values, np.float32),
        deviation=np.ones(values, np.float32),
        components=components,
        spread=np.ones(4, np.float32),
        remainder=1.0,
        median=0.1,
        weight=random.normal(size=(4, 4)).astype(np.float32),
        bias=np.zeros(4, np.float32),
    )
