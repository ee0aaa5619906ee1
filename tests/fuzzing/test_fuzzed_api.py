"""Whatever is asked of the service, its answer is one that the OpenAPI document describes."""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    ignored_auth,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from seeds import seeds, told

from service.access import is_open
from service.app import create_app
from service.settings import Settings

sys.path.append(str(Path(__file__).parents[1] / "service"))
from serving import Running, start

from service.documentation import UPLOAD

KEY = "a-key-for-fuzzing"
HOLDER = f"fuzzing:{hashlib.sha256(KEY.encode()).hexdigest()}"
CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    missing_required_header,
    negative_data_rejection,
    unsupported_method,
    allow_header_conformance,
    ignored_auth,
]

RADIOGRAPHS = st.sampled_from([seed.data for seed in seeds() if seed.is_read])
UPLOADS = st.one_of(RADIOGRAPHS, RADIOGRAPHS, st.binary(max_size=200))
for media_type in UPLOAD["requestBody"]["content"].keys() - {"multipart/form-data"}:
    schemathesis.openapi.media_type(media_type, UPLOADS)
schemathesis.openapi.format("binary", UPLOADS)


@pytest.fixture(scope="module")
def service(tiny_bundle: Path) -> Iterator[Running]:
    running = Running(
        start(
            CXR_MODEL=str(tiny_bundle),
            CXR_PORT="0",
            CXR_WORKERS="1",
            CXR_API_KEYS=HOLDER,
        )
    )
    yield running
    written = running.stop()
    assert '"status":500' not in written
    assert "worker died" not in written
    assert not told(written.encode())


OPERATIONS = schemathesis.openapi.from_dict(create_app(Settings(api_keys=HOLDER)).openapi())


BOUNDED = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@OPERATIONS.parametrize()
@BOUNDED
def test_every_answer_is_one_that_the_document_describes(
    case: schemathesis.Case, service: Running
) -> None:
    response = case.call_and_validate(
        base_url=f"http://127.0.0.1:{service.port}",
        headers={"Authorization": f"Bearer {KEY}"},
        checks=CHECKS,
        timeout=20,
    )
    assert not told(response.content)


@OPERATIONS.parametrize()
@settings(BOUNDED, max_examples=3)
def test_an_answer_to_one_without_a_key_is_described_as_well(
    case: schemathesis.Case, service: Running
) -> None:
    response = case.call_and_validate(
        base_url=f"http://127.0.0.1:{service.port}",
        headers={"Authorization": "Bearer of no key"},
        checks=CHECKS,
        timeout=20,
    )
    assert (response.status_code == 401) == (not is_open(case.formatted_path))
