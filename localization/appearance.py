"""How a picture looks beside the radiographs that a model learned from, and what to think of it."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from localization.gate import Doubt

PRESENTATIONS = ("as learned", "on its side", "upside down", "inverted")
"""How a radiograph may lie in the picture, in the order of the graph's output."""

BLANK = 4.0
"""Standard deviation in levels of 255: a picture with less shows nothing."""

SATURATED = 0.8
"""Share of a picture at its darkest or brightest level from which too much of it is lost."""


class AppearanceLimits(BaseModel):
    """What a model's manifest says of the pictures that it was made for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    refused: float = Field(ge=0, le=1)
    """A typicality below it cannot be a frontal chest radiograph's."""
    doubtful: float = Field(ge=0, le=1)
    """A typicality below it is rare among them."""
    presentation: float = Field(ge=0, le=1)
    """The probability from which a picture is said to lie otherwise than as learned."""


def doubts_of_picture(
    tones: NDArray[np.float32],
    typicality: float,
    presentation: NDArray[np.float32],
    limits: AppearanceLimits,
) -> list[Doubt]:
    """What is doubtful about a picture as a frontal chest radiograph.

    Args:
        tones: float32 `[2]`, of the graph: the standard deviation in levels of 255, and the share
            of pixels at the darkest or brightest level.
        typicality: in [0, 1], of the graph.
        presentation: float32 `[4]`, the probabilities of `PRESENTATIONS`.
        limits: of the model.
    """
    deviation, saturated = map(float, tones)
    if deviation < BLANK:
        return [
            Doubt(
                "blank",
                "The picture is blank: nothing in it differs from the rest.",
                disqualifying=True,
                evidence={"deviation": round(deviation, 2), "limit": BLANK},
            )
        ]
    return [*_saturated(saturated), *_atypical(typicality, limits), *_turned(presentation, limits)]


def _saturated(share: float) -> Iterator[Doubt]:
    if share > SATURATED:
        yield Doubt(
            "saturated",
            "Most of the picture is at its darkest or brightest level, where nothing can be seen; "
            "export it with its full range.",
            evidence={"share": round(share, 3), "limit": SATURATED},
        )


def _atypical(typicality: float, limits: AppearanceLimits) -> Iterator[Doubt]:
    if typicality < limits.refused:
        yield Doubt(
            "atypical",
            "The picture does not look like a frontal chest radiograph; send one as it was taken, "
            "without a frame or a screen around it.",
            disqualifying=True,
            evidence={"typicality": round(typicality, 4), "limit": limits.refused},
        )
    elif typicality < limits.doubtful:
        yield Doubt(
            "atypical",
            "The picture looks unlike nearly all radiographs that the model learned from; "
            "its findings may mean nothing.",
            evidence={"typicality": round(typicality, 4), "limit": limits.doubtful},
        )


CODES = ("", "on-its-side", "upside-down", "inverted")

SENTENCES = (
    "",
    "The radiograph seems to lie on its side; turn it upright and send it again.",
    "The radiograph seems to stand upside down; turn it upright and send it again.",
    "The radiograph seems to be inverted, bones dark; invert it and send it again.",
)


def _turned(presentation: NDArray[np.float32], limits: AppearanceLimits) -> Iterator[Doubt]:
    likeliest = int(presentation.argmax())
    probability = float(presentation[likeliest])
    if likeliest > 0 and probability >= limits.presentation:
        yield Doubt(
            CODES[likeliest],
            SENTENCES[likeliest],
            evidence={"probability": round(probability, 4), "limit": limits.presentation},
        )
