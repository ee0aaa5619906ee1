"""What the review's page asks, and what it is answered."""

from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from harvesting.rows import FindingRow, RadiographRow, decode_heatmap
from localization import Box
from localization import Field as Exposed
from reviewing.agreement import Agreement
from reviewing.decisions import NAME_LENGTH, Edges, ReviewRefused
from reviewing.queue import Progress, Waiting

Reviewer = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=NAME_LENGTH, pattern=r"^[^\x00-\x1f\x7f]+$"
    ),
]


def require_name(name: str) -> str:
    """A reviewer's name without blanks around it. Raises `ReviewRefused` where it is none."""
    try:
        return TypeAdapter(Reviewer).validate_python(name)
    except ValidationError as error:
        raise ReviewRefused(
            f"A reviewer has a name of 1 to {NAME_LENGTH} characters, none of them a control "
            "character."
        ) from error


Pixels = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Extent = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rectangle(_Model):
    """In pixels of the radiograph, origin top left."""

    x: Pixels
    y: Pixels
    width: Extent
    height: Extent

    @classmethod
    def of(cls, box: Box | Edges) -> Self:
        return cls(x=box.x, y=box.y, width=box.width, height=box.height)

    def to_edges(self) -> Edges:
        return Edges(self.x, self.y, self.width, self.height)


class OtherBox(Rectangle):
    """Of the same finding."""

    score: float


class Judgement(_Model):
    """What a reviewer decides about a box."""

    reviewer: Reviewer
    action: Literal["accept", "move", "reject", "relabel"]
    edges: Rectangle | None = None
    """Of a moved box, and of a relabelled one that was moved; else those that were mined hold."""
    new_disease: str | None = None


class Who(_Model):
    """Who asks."""

    reviewer: Reviewer


class HeatMap(_Model):
    """Values in [0, 1] over the radiograph's field, row by row."""

    width: int
    height: int
    data: list[list[float]]


class ShownRadiograph(_Model):
    """As the page draws it."""

    path: str
    format: str
    width: int
    height: int
    field: dict[str, int]
    image_left: str | None
    window: str | None
    warnings: list[str]


class ShownBox(_Model):
    """A box to judge."""

    id: int
    disease: str
    place: int
    """Among the boxes of its finding, best score first, from 0."""
    edges: Rectangle
    score: float
    step: int
    others: list[OtherBox]
    """The finding's other boxes."""
    probability: float
    threshold: float
    labelled: bool | None
    disputed: bool
    uncertainty: float
    heatmap: HeatMap
    radiograph: ShownRadiograph

    @classmethod
    def of(cls, waiting: Waiting, radiograph: RadiographRow, finding: FindingRow) -> Self:
        place = waiting.of.box
        box = finding.boxes[place]
        return cls(
            id=waiting.id,
            disease=finding.disease,
            place=place,
            edges=Rectangle.of(box),
            score=box.score,
            step=box.step,
            others=[_other(each) for n, each in enumerate(finding.boxes) if n != place],
            probability=finding.probability,
            threshold=finding.threshold,
            labelled=finding.labelled,
            disputed=waiting.disputed,
            uncertainty=waiting.uncertainty,
            heatmap=_heatmap(finding.heatmap),
            radiograph=_radiograph(radiograph),
        )


class Next(_Model):
    """The box to judge now, the one after it, and how far the walk has come."""

    boxes: list[ShownBox]
    progress: Progress


class Undone(_Model):
    """The box that is not judged any more; None where there was nothing to undo."""

    box: ShownBox | None


class Appended(_Model):
    """The decision's number in the log."""

    id: int


class About(_Model):
    """What is reviewed."""

    model: str
    mode: str
    diseases: list[str]
    reviewer: str | None
    """Who reviews where the browser knows no name yet."""


class AgreementOfPairs(_Model):
    """Pair by pair."""

    pairs: list[Agreement]


def _other(box: Box) -> OtherBox:
    return OtherBox(x=box.x, y=box.y, width=box.width, height=box.height, score=box.score)


def _heatmap(png: bytes) -> HeatMap:
    values = decode_heatmap(png)
    height, width = values.shape
    return HeatMap(width=width, height=height, data=values.round(3).tolist())


def _radiograph(row: RadiographRow) -> ShownRadiograph:
    width, height = row.width or 1, row.height or 1
    field = row.field or Exposed(0, 0, width, height)
    return ShownRadiograph(
        path=row.path,
        format=row.format or "",
        width=width,
        height=height,
        field={"x": field.x, "y": field.y, "width": field.width, "height": field.height},
        image_left=row.image_left,
        window=row.window,
        warnings=list(row.warnings),
    )
