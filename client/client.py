"""`Client` asks, patient with a busy service; `Problem` is the error that it answers with."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import httpx

PAUSE_SECONDS = 1.0
"""The pause before another try where the service names none."""

JITTER_SECONDS = 0.5
"""The most by which a pause is longer, by chance: who was turned away together comes back apart."""

LOST = (httpx.NetworkError, httpx.RemoteProtocolError)
"""A connection that was refused, reset or closed before the answer was complete."""


@dataclass(eq=False)
class Problem(Exception):
    """An error that the service answered with: its RFC 9457 document.

    Who answered without such a document, as a proxy does, is given its status for a ``title``.
    """

    type: str
    """The stable name of the kind of problem, such as ``truncated``."""
    title: str
    status: int
    detail: str
    """What was wrong, and what would be right."""
    id: str
    """The request's id, as in the service's log; empty where none came."""
    retry_after: float | None
    """Seconds after which another try may help; None where none will."""

    def __str__(self) -> str:
        return f"{self.title}: {self.detail}"


class Client:
    """The service at ``url``; threads may share one client, whose connections stay open.

    ``key`` is the API key, where the service needs one. ``timeout`` is how long, in seconds, the
    service may be silent. A busy service, a limit of requests (429) and a lost connection are
    tried again where the pause, as long as the service asks for, ends within ``patience`` seconds
    of the first try; 0 tries once.
    """

    def __init__(
        self,
        url: str = "http://localhost:8000",
        *,
        key: str | None = None,
        timeout: float = 60.0,
        patience: float = 30.0,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key is not None else None
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)
        self._patience = patience

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ready(self) -> bool:
        """Say whether the service answers that it is ready, in one try."""
        try:
            return self._http.get("/readyz").is_success
        except (*LOST, httpx.TimeoutException):
            return False

    def localize(
        self,
        radiograph: bytes | Path,
        *,
        heatmaps: Literal["png", "values", "none"] = "png",
        boxes: Literal["positive", "all", "none"] = "positive",
        diseases: Sequence[str] | None = None,
        steps: bool = False,
        picture: Literal["png", "none"] = "none",
    ) -> dict[str, Any]:
        """Return the service's answer for the bytes, or the file, of a radiograph: PNG,
        JPEG, JPEG 2000, TIFF, WebP or DICOM.

        ``diseases`` are the names to answer for, all by default. ``steps`` asks for the heat map of
        each mining step, too; ``picture`` for the radiograph as it was read, at most 1024 pixels.
        Raises `Problem` where the service answers with an error, `httpx.TransportError` where it
        does not answer, and `OSError` where the file cannot be read.
        """
        data = radiograph if isinstance(radiograph, bytes) else Path(radiograph).read_bytes()
        query: dict[str, str] = {"heatmaps": heatmaps, "boxes": boxes, "picture": picture}
        query["steps"] = "true" if steps else "false"
        if diseases is not None:
            query["diseases"] = ",".join(diseases)
        return self._localize(data, query)

    def _localize(self, data: bytes, query: dict[str, str]) -> dict[str, Any]:
        """Ask until there is an answer: localizing twice does no more than localizing once."""
        # Not multipart, whose parsing costs the service time.
        headers = {"Content-Type": "application/octet-stream"}
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return _answer(
                    self._http.post("/localize", params=query, content=data, headers=headers)
                )
            except (Problem, *LOST) as error:
                pause = error.retry_after if isinstance(error, Problem) else PAUSE_SECONDS
                if pause is None:
                    raise
                pause += random.uniform(0, JITTER_SECONDS)
                if time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)


def _answer(response: httpx.Response) -> dict[str, Any]:
    """Return the answer's document; raises `Problem` where it is not that of a success."""
    if not response.is_success:
        raise _problem(response)
    answer: dict[str, Any] = response.json()
    return answer


def _problem(response: httpx.Response) -> Problem:
    title = response.reason_phrase or "Unknown"
    problem = {
        "type": title.lower().replace(" ", "-"),
        "title": title,
        "detail": f"{response.url} answered {response.status_code} and gave no reason.",
        "instance": response.headers.get("X-Request-ID", ""),
    }
    if response.headers.get("Content-Type", "").startswith("application/problem+json"):
        # RFC 9457: members of another type than theirs are to be ignored.
        problem |= {name: each for name, each in response.json().items() if isinstance(each, str)}
    return Problem(
        problem["type"].rsplit("/", 1)[-1],
        problem["title"],
        response.status_code,
        problem["detail"],
        problem["instance"],
        _retry_after(response) if response.status_code in (429, 503) else None,
    )


def _retry_after(response: httpx.Response) -> float:
    """Return the pause, in seconds, that the answer asks for."""
    seconds = response.headers.get("Retry-After", "")
    # A proxy may write a date instead.
    return float(seconds) if seconds.isdecimal() else PAUSE_SECONDS
