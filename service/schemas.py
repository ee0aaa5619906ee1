"""The shapes of requests and answers, as OpenAPI shows them.

The answers themselves are written by `localization.answer` and are not validated again here;
a test holds the two together.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from localization import DISEASES


def _split_commas(values: object) -> object:
    """Accept ``diseases=Mass,Nodule`` beside ``diseases=Mass&diseases=Nodule``."""
    if isinstance(values, list):
        return [name.strip() for value in values for name in str(value).split(",")]
    return values


def _known(name: str) -> str:
    if name not in DISEASES:
        raise ValueError(f"{name!r} is not a disease of this service; it knows {_names()}")
    return name


def _names() -> str:
    return ", ".join(DISEASES)


Disease = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": list(DISEASES)})]


class LocalizeParameters(BaseModel):
    """What a client chooses of the answer."""

    model_config = ConfigDict(extra="forbid")

    heatmaps: Literal["png", "values", "none"] = Field(
        "png",
        description="Heat maps as base64 of an 8-bit PNG (255 is 1.0), as rows of values in "
        "[0, 1], or not at all.",
    )
    boxes: Literal["positive", "all", "none"] = Field(
        "positive", description="Boxes of the positive findings, of all findings, or none."
    )
    diseases: Annotated[list[Disease] | None, BeforeValidator(_split_commas)] = Field(
        None, description="The diseases to answer for, repeated or with commas; all by default."
    )
    steps: bool = Field(
        False, description="Give the heat map of each mining step, too: what that step added."
    )
    picture: Literal["png", "none"] = Field(
        "none", description="The radiograph as the model saw it, to draw the findings on."
    )


class Model(BaseModel):
    """The model that answered."""

    name: str
    version: str


class Warning(BaseModel):
    """Something about the radiograph that makes the findings doubtful."""

    code: str = Field(description="A stable name of what it is.")
    detail: str
    evidence: dict[str, float | str] = Field(
        description="What was measured or read, and what it was compared with."
    )


class Picture(BaseModel):
    """The whole radiograph as it is shown, its longer side at most 1024 pixels."""

    encoding: Literal["png"]
    width: int
    height: int
    data: str = Field(description="Base64 of an 8-bit grayscale PNG.")


class ExposedField(BaseModel):
    """The part of a radiograph within its borders, in pixels, origin top left."""

    x: int
    y: int
    width: int
    height: int


class RadiographFacts(BaseModel):
    """The radiograph as it was sent."""

    format: Literal["PNG", "JPEG", "JPEG 2000", "TIFF", "WebP", "DICOM"]
    width: int = Field(description="Pixels.")
    height: int = Field(description="Pixels.")
    field: ExposedField = Field(
        description="What was localized, and heat maps cover: the whole image, or its part inside "
        "black or white borders larger than the training radiographs' own."
    )
    image_left: Literal["patient right", "patient left", "unknown"] = Field(
        description="Which side of the patient the image's left is, as the file says."
    )
    window: str | None = Field(
        description="How the values of a DICOM file, or of a picture of over 8 bits, were shown; "
        "in words."
    )
    typicality: float = Field(
        description="In [0, 1]: how much it is like the radiographs that the model learned from."
    )
    warnings: list[Warning]
    picture: Picture | None = Field(None, description="Absent for `picture=none`.")


class HeatmapPng(BaseModel):
    """A heat map over the radiograph's field, at the model's own resolution."""

    encoding: Literal["png"]
    width: int = Field(description="Columns of the map.")
    height: int = Field(description="Rows of the map.")
    data: str = Field(description="Base64 of an 8-bit grayscale PNG; 255 is 1.0.")


class HeatmapValues(BaseModel):
    """A heat map over the radiograph's field, at the model's own resolution."""

    encoding: Literal["values"]
    width: int = Field(description="Columns of the map.")
    height: int = Field(description="Rows of the map.")
    data: list[list[float]] = Field(description="Rows of values in [0, 1], from the top.")


class Box(BaseModel):
    """A bounding box in pixels of the radiograph as it was sent, origin top left."""

    x: float
    y: float
    width: float
    height: float
    score: float = Field(description="In [0, 1].")
    step: int = Field(description="The mining step that found the box.")


class Finding(BaseModel):
    """What the model says of one disease."""

    disease: str
    probability: float = Field(description="In [0, 1].")
    threshold: float = Field(description="Operating point: positive from here on.")
    positive: bool
    heatmap: HeatmapPng | HeatmapValues | None = Field(
        None, description="Absent for `heatmaps=none`."
    )
    steps: list[HeatmapPng] | list[HeatmapValues] | None = Field(
        None, description="Only for `steps=true`; absent for `heatmaps=none`."
    )
    boxes: list[Box] | None = Field(None, description="Absent for `boxes=none`.")


EXAMPLE_ANSWER: dict[str, Any] = {
    "id": "0b9ff5a8e1b44d3c8e1f6a1f6c9f0d4e",
    "model": {"name": "lite0-msa-am-kp", "version": "1.0.0"},
    "radiograph": {
        "format": "DICOM",
        "width": 1955,
        "height": 1841,
        "field": {"x": 0, "y": 0, "width": 1955, "height": 1841},
        "image_left": "patient right",
        "window": "window 2048/4096 (LINEAR)",
        "typicality": 0.93,
        "warnings": [],
    },
    "findings": [
        {
            "disease": "Mass",
            "probability": 0.83,
            "threshold": 0.41,
            "positive": True,
            "heatmap": {"encoding": "png", "width": 28, "height": 28, "data": "iVBORw0KGgo="},
            "boxes": [
                {"x": 512.0, "y": 300.5, "width": 210.0, "height": 180.0, "score": 0.77, "step": 0}
            ],
        }
    ],
}


class Answer(BaseModel):
    """A localization: every disease that was asked for, most probable first."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_ANSWER]})

    id: str = Field(description="The request's id, as in the header `X-Request-ID`.")
    model: Model
    radiograph: RadiographFacts
    findings: list[Finding]


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str = Field(description="Which kind of problem it is; does not change.")
    title: str
    status: int
    detail: str = Field(description="What was wrong, and what would be right.")
    instance: str = Field(description="The request's id.")
    errors: list[dict[str, str]] = Field([], description="The parameters that are not valid.")
    evidence: dict[str, float | str] = Field(
        {}, description="Why the radiograph is refused: what was measured or read, and the limit."
    )


class Live(BaseModel):
    """Open Inference Protocol: whether the process answers."""

    live: bool


class Ready(BaseModel):
    """Open Inference Protocol: whether the model can be asked."""

    ready: bool


class Tensor(BaseModel):
    """Open Inference Protocol: an input or output; -1 is a length that may vary."""

    name: str
    datatype: Literal["UINT8", "FP32"]
    shape: list[int]


class ModelMetadata(BaseModel):
    """Open Inference Protocol: the metadata of a model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[Tensor]
    outputs: list[Tensor]
