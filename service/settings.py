"""What a deployment can choose, read from environment variables that start with ``CXR_``."""

from importlib import import_module
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from localization import shipped_bundle
from localization.cores import cores


class Misconfigured(Exception):
    """Settings that do not go together, or that name what cannot be used."""


class Settings(BaseSettings):
    """The service's settings; ``CXR_PORT=9000`` sets ``port``."""

    model_config = SettingsConfigDict(env_prefix="CXR_")

    model: Path = Field(
        default_factory=shipped_bundle, description="Folder of the model bundle to serve."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    access: Literal["auto", "keys", "open"] = Field(
        "auto",
        description="Who may ask: holders of an API key, or everyone; by default everyone on a "
        "loopback address where no key is configured, and else holders of a key.",
    )
    api_keys: str = Field(
        "", description="API keys as NAME:SHA256, by commas or white space.", repr=False
    )
    api_keys_file: Path | None = Field(
        None, description="File of API keys, one NAME:SHA256 a line; read again when it changes."
    )
    rate_per_minute: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="POST /localize that one key may send a minute, or one address where access "
        "is open; further ones get a 429. 0: no limit.",
    )
    rate_burst: int = Field(10, ge=1, description="Of these, how many may come at once.")
    tls_certificate: Path | None = Field(
        None, description="File of the certificate and its chain, in PEM; with it, HTTPS alone."
    )
    tls_key: Path | None = Field(None, description="File of the certificate's key, in PEM.")
    tls_key_password_file: Path | None = Field(
        None, description="File of the password that the key is encrypted with, if it is."
    )
    metrics_port: int = Field(
        0, ge=0, le=65535, description="Port of /metrics alone, without a key; 0: the service's."
    )
    metrics_host: str = Field(
        "", description="Address of the metrics' own port; the service's by default."
    )
    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = Field(
        "auto", description="Where to compute; a GPU where there is none refuses to start."
    )
    precision: Literal["auto", "fp32", "fp16", "int8"] = Field(
        "auto",
        description="Which of the bundle's graphs to run; by default the one that its manifest "
        "names as the fastest on a CPU (int8 only where the CPU has VNNI), and fp32 on a GPU.",
    )
    workers: int = Field(
        0, ge=0, description="Radiographs decoded and localized at a time; 0: one per core."
    )
    threads: int = Field(
        0,
        ge=0,
        description="Threads that share one inference on a CPU while it is alone; 0: one per "
        "core. Beside others it has one.",
    )
    batch_size: int = Field(
        1, ge=1, description="Radiographs inferred in one run; more than 1 pays on a GPU alone."
    )
    batch_seconds: float = Field(
        0.002, ge=0, description="Seconds for which a batch waits to be full."
    )
    gpu_memory_bytes: int = Field(
        0, ge=0, description="GPU memory that ONNX Runtime may take, in bytes; 0: no limit."
    )
    engines: Path | None = Field(
        None, description="Folder in which TensorRT keeps the engines that it builds."
    )
    max_upload_bytes: int = Field(
        64 * 1024**2, gt=0, description="Largest request body that is read, in bytes."
    )
    max_pixels: int = Field(
        50_000_000, gt=0, description="Largest radiograph that is decoded, in pixels."
    )
    gate: Literal["refuse", "flag", "off"] = Field(
        "refuse",
        description="Refuse what cannot be a frontal chest radiograph and warn of what is "
        "doubtful, warn of both, or look for neither.",
    )
    max_waiting: int = Field(
        64, ge=0, description="Radiographs that may wait for a worker; further ones get a 503."
    )
    max_held_bytes: int = Field(
        256 * 1024**2,
        gt=0,
        description="Request bodies held in memory at a time, in bytes; further ones get a 503.",
    )
    deadline_seconds: float = Field(
        10.0,
        gt=0,
        description="Seconds from the last byte of an upload to its answer; later ones get a 504.",
    )
    upload_seconds: float = Field(
        120.0, gt=0, description="Seconds that an upload may take; slower ones get a 408."
    )
    drain_seconds: float = Field(
        0.0,
        ge=0.0,
        description="Seconds for which a stopping service says 503 at /readyz and still accepts "
        "requests, so that a load balancer can look elsewhere first.",
    )
    grace_seconds: int = Field(
        30, ge=0, description="Seconds that a stopping service gives the requests it has begun."
    )
    traces: str = Field(
        "",
        description="URL of a collector that takes OpenTelemetry's traces (OTLP over HTTP), as "
        "http://collector:4318; needs the extra `tracing`, which the images leave out. Empty: no "
        "traces.",
    )
    traces_ratio: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of traces that is sent; a caller that sends `traceparent` decides for "
        "its own.",
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="JSON for machines, console for people."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is logged; probes are logged at debug."
    )

    @field_validator("max_held_bytes")
    @classmethod
    def _holds_one_upload(cls, held: int, info: ValidationInfo) -> int:
        """Else the largest upload would be asked to come again, for ever."""
        if held < info.data.get("max_upload_bytes", 0):
            raise ValueError("less than CXR_MAX_UPLOAD_BYTES, the largest single upload")
        return held

    @field_validator("traces")
    @classmethod
    def _takes_traces(cls, url: str) -> str:
        if not url:
            return url
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not the URL of a collector, as http://collector:4318")
        try:
            import_module("service.tracing")
        except ModuleNotFoundError as error:
            raise ValueError(
                f"traces need {error.name}: pip install 'cxr-localizer[tracing]', or for an image "
                "deploy/image/tracing.Dockerfile"
            ) from None
        # A collector without a path takes traces at OTLP's usual one.
        return url if parts.path.strip("/") else f"{url.rstrip('/')}/v1/traces"

    @property
    def worker_count(self) -> int:
        """The number of workers: as set, else the cores this process may use."""
        return self.workers or cores()

    @property
    def thread_count(self) -> int:
        """The number of threads of an inference that is alone: as set, else the cores."""
        return self.threads or cores()
