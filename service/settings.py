"""What a deployment can choose, read from environment variables that start with ``CXR_``."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from localization import shipped_bundle


class Settings(BaseSettings):
    """The service's settings; ``CXR_PORT=9000`` sets ``port``."""

    model_config = SettingsConfigDict(env_prefix="CXR_")

    model: Path = Field(
        default_factory=shipped_bundle, description="Folder of the model bundle to serve."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    provider: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where to compute; `cuda` where there is none refuses to start."
    )
    workers: int = Field(
        0, ge=0, description="Radiographs decoded and localized at a time; 0: one per core."
    )
    threads: int = Field(
        0, ge=0, description="Threads that share one inference on a CPU; 0: one per core."
    )
    max_upload_bytes: int = Field(
        64 * 1024**2, gt=0, description="Largest request body that is read, in bytes."
    )
    max_pixels: int = Field(
        50_000_000, gt=0, description="Largest radiograph that is decoded, in pixels."
    )
    max_waiting: int = Field(
        64, ge=0, description="Radiographs that may wait for a worker; further ones get a 503."
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
    log_format: Literal["json", "console"] = Field(
        "json", description="JSON for machines, console for people."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is logged; probes are logged at debug."
    )

    @property
    def worker_count(self) -> int:
        """The number of worker threads: as set, else the cores this process may run on."""
        return self.workers or len(os.sched_getaffinity(0))
