"""The shape of a radiograph's field, beside those of the films that a model learned from."""

from localization.field import Field
from localization.gate import Doubt

NARROWEST, WIDEST = 0.54, 1.8
"""Width by height, in mm, of the narrowest and the widest of ChestX-ray14's 112,120 films."""

MOST_TOLD = 100
"""A larger one is not told: a spacing that was misfiled might be a date of birth."""


def proportion_doubts(field: Field, pixel_shape: float) -> tuple[Doubt, ...]:
    """A doubt where the field is of a shape that training never saw.

    The shape of single pixels needs no correction. A model sees the whole field stretched to a
    square, and that square is the same whether the field was sampled in square pixels or in oblong
    ones. What counts is how far the field itself was stretched, in mm.

    Args:
        field: of the radiograph.
        pixel_shape: width by height of a pixel.
    """
    shape = field.width / field.height * pixel_shape
    if NARROWEST <= shape <= WIDEST:
        return ()
    sentence = (
        "The radiograph's width is far from its height; "
        "crop it to the chest, or check its pixel spacing."
    )
    told = round(shape, 3) if shape <= MOST_TOLD else f"more than {MOST_TOLD}"
    evidence = {"width_by_height": told, "least": NARROWEST, "most": WIDEST}
    return (Doubt("aspect-ratio", sentence, evidence=evidence),)
