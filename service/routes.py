"""The service's paths: localize a radiograph, probes, metrics, the model's metadata."""

import time
from typing import Annotated, Literal

from asgi_correlation_id import correlation_id
from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse

from localization import DISEASES
from service import schemas
from service.admission import BUSY
from service.body import read_upload
from service.documentation import UPLOAD, problems
from service.lifecycle import Lifecycle, Phase
from service.metrics_port import exposition
from service.problems import Refused
from service.task import Choices, Reply, Task
from service.timeline import Timeline
from service.uploads import Upload

router = APIRouter()
metrics_router = APIRouter()
"""Apart, for metrics may have a port of their own."""

REFUSALS = problems(
    empty="The file is empty.",
    invalid_multipart="Missing boundary in multipart. Send one field, `file`.",
    missing_file="Send the radiograph as the file of a form field named `file`.",
    too_many_pixels="The radiograph is larger than this service decodes.",
    upload_too_large="A request may hold 67108864 bytes at most; send the radiograph itself, one "
    "at a time, without padding or attachments.",
    upload_too_slow="The upload was not complete after 120 seconds.",
    unsupported_format="The file is not a PNG, JPEG, JPEG 2000, TIFF, WebP or DICOM file.",
    truncated="The file ends before the image is complete; send it again.",
    invalid_parameters="heatmaps: Input should be 'png', 'values' or 'none'",
    rate_limited="These are more requests than one caller may send; try again in 3 s.",
    queue_full=BUSY,
    too_much_held="The service holds as many uploads as it may; try again in a moment.",
    not_ready="The model is still being loaded; try again in a moment.",
    too_late="The radiograph was not localized within 10 seconds; the service is busy, try again "
    "in a moment.",
    internal_error="An unexpected error occurred; it is logged under this request's id.",
)


def _lifecycle(request: Request) -> Lifecycle:
    lifecycle = request.app.state.lifecycle
    assert isinstance(lifecycle, Lifecycle)
    return lifecycle


async def _hung_up(request: Request) -> None:
    """Return when the client is gone; its body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def localize(
    request: Request, parameters: Annotated[schemas.LocalizeParameters, Query()]
) -> Response:
    """Localize the thoracic diseases in a frontal chest radiograph.

    Send the radiograph as the form field `file` or as the whole body:
    `curl -F file=@radiograph.dcm localhost:8000/localize`
    """
    lifecycle = _lifecycle(request)
    lifecycle.admission.require_place()  # Before anything is uploaded in vain.
    with lifecycle.uploads.open() as upload:
        await read_upload(request, upload, lifecycle.settings.max_upload_bytes)
        reply = await _localized(request, lifecycle, upload, parameters)
    lifecycle.metrics.observe(reply)
    request.state.radiograph |= {
        "format": reply.format,
        "width": reply.width,
        "height": reply.height,
        "model_version": reply.model_version,
    }
    return Response(reply.body, media_type="application/json")


def add_localize(app: FastAPI) -> None:
    """Document `localize`, and have other methods refused; see `service.fast_path.FastPath`."""
    app.router.add_api_route(
        "/localize",
        localize,
        methods=["POST"],
        response_model=schemas.Answer,
        responses=REFUSALS,
        openapi_extra=UPLOAD,
        tags=["localization"],
    )


async def _localized(
    request: Request, lifecycle: Lifecycle, upload: Upload, parameters: schemas.LocalizeParameters
) -> Reply:
    """Wait for a worker and its reply."""
    timeline = Timeline()
    request.state.timeline = timeline
    request.state.radiograph = {
        "bytes": upload.length,
        "model_version": lifecycle.engine.model.manifest.version,
    }

    async def work(alone: bool) -> Reply:
        task = Task(
            Choices(**dict(parameters)),
            correlation_id.get() or "",
            lifecycle.settings.max_pixels,
            lifecycle.settings.gate,
            alone,
            timeline,
        )
        try:
            with upload:  # Also where the client has gone meanwhile.
                return await lifecycle.localize(task, upload)
        finally:
            _learn(lifecycle, timeline.seconds(time.perf_counter()))

    begun = time.perf_counter()
    timeline.begin("queue")
    try:
        return await lifecycle.admission.run(work, _hung_up(request))
    finally:
        lifecycle.metrics.stages["total"].observe(time.perf_counter() - begun)


def _learn(lifecycle: Lifecycle, seconds: dict[str, float]) -> None:
    """Take into account how long a radiograph waited, and how long the worker was at it."""
    waited = seconds.pop("queue")
    lifecycle.metrics.stages["queue"].observe(waited)
    if seconds:  # Else no worker came to be at it.
        lifecycle.admission.learn(sum(seconds.values()))


@router.get("/model", tags=["localization"])
async def model(request: Request) -> schemas.Model:
    """Name the model that answers now."""
    manifest = _lifecycle(request).engine.model.manifest
    return schemas.Model(name=manifest.name, version=manifest.version)


@router.get("/healthz", tags=["probes"])
async def healthz() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "alive"}


@router.get(
    "/readyz",
    responses=problems(not_ready="The service is loading; try again in a moment."),
    tags=["probes"],
)
async def readyz(request: Request) -> dict[str, str]:
    """Say whether to send radiographs here: not while the model loads nor while draining."""
    phase = _lifecycle(request).phase
    if phase is not Phase.READY:
        raise Refused("not-ready", f"The service is {phase}; try again in a moment.")
    return {"status": phase}


# Not `async`: it reads what /proc says of every worker, and the event loop has others to serve.
@metrics_router.get("/metrics", response_class=Response, tags=["probes"])
def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus' format."""
    return exposition(_lifecycle(request).metrics, request.headers.get("accept", ""))


@router.get("/v2/health/live", response_model=schemas.Live, tags=["open inference protocol"])
async def live() -> dict[str, bool]:
    """Say that the process answers."""
    return {"live": True}


@router.get(
    "/v2/health/ready",
    response_model=schemas.Ready,
    responses={503: {"model": schemas.Ready}},
    tags=["open inference protocol"],
)
async def ready(request: Request) -> JSONResponse:
    """Say whether the model can be asked."""
    is_ready = _lifecycle(request).phase is Phase.READY
    return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)


@router.get(
    "/v2/models/{name}",
    responses=problems(
        unknown_model="There is no model 'resnet50' here; this service has 'lite0-msa-am-kp'."
    ),
    tags=["open inference protocol"],
)
async def model_metadata(name: str, request: Request) -> schemas.ModelMetadata:
    """Describe the model's tensors."""
    manifest = _lifecycle(request).engine.model.manifest
    if name != manifest.name:
        raise Refused(
            "unknown-model",
            f"There is no model {name!r} here; this service has {manifest.name!r}.",
        )
    return schemas.ModelMetadata(
        name=manifest.name,
        versions=[manifest.version],
        platform="onnxruntime_onnx",
        inputs=[_tensor("radiographs", "UINT8", 1, manifest.side, manifest.side)],
        outputs=[
            _tensor("probabilities", "FP32", len(DISEASES)),
            _tensor("heatmaps", "FP32", len(DISEASES), *manifest.grid),
            _tensor("step_heatmaps", "FP32", manifest.steps, len(DISEASES), *manifest.grid),
        ],
    )


def _tensor(name: str, datatype: Literal["UINT8", "FP32"], *shape: int) -> schemas.Tensor:
    """Describe a tensor whose first axis is the batch, of any length."""
    return schemas.Tensor(name=name, datatype=datatype, shape=[-1, *shape])
