"""The same functions behind LitServe: `CXR_PORT=9000 python -m benchmark.litserve_app`.

One worker process per core with one thread each, as the machine's own limit is measured; no more
copies than its API asks for: the body goes to the worker, and the answer back, as bytes.
"""

import os
from typing import Annotated

import litserve
import numpy as np
from fastapi import Depends, Request, Response
from numpy.typing import NDArray

from benchmark.work import decode, encode, open_localizer
from localization import Outputs, Radiograph
from localization.cores import cores


async def _body(request: Request) -> bytes:
    return await request.body()


class LocalizeAPI(litserve.LitAPI):
    """The stages of one radiograph."""

    def setup(self, device: str) -> None:
        self.localizer = open_localizer(threads=1)

    def decode_request(
        self, request: Annotated[bytes, Depends(_body)]
    ) -> tuple[Radiograph, NDArray[np.uint8]]:
        return decode(self.localizer, request)

    def predict(self, x: tuple[Radiograph, NDArray[np.uint8]]) -> tuple[Radiograph, Outputs]:
        radiograph, inputs = x
        return radiograph, self.localizer.infer(inputs)

    def encode_response(self, output: tuple[Radiograph, Outputs]) -> Response:
        return Response(encode(self.localizer, *output), media_type="application/json")


def main() -> None:
    """Serve until SIGTERM; the API servers are as many as the workers, LitServe's own choice."""
    server = litserve.LitServer(
        LocalizeAPI(api_path="/localize"),
        accelerator="cpu",
        workers_per_device=cores(),
        healthcheck_path="/readyz",
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["CXR_PORT"]),
        log_level="warning",
        generate_client_file=False,
    )


if __name__ == "__main__":
    main()
