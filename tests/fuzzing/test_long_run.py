"""What `scripts/fuzz` runs: it passes where nothing comes of the files, and fails where it does."""

from pathlib import Path

import httpx
import long_run
import pytest
from seeds import PATIENT


def sent_to(answer: httpx.Response, folder: Path) -> list[str]:
    """The failures of a run of one file, to a service that answers so."""
    transport = httpx.MockTransport(lambda request: answer)
    with httpx.Client(base_url="http://nowhere", transport=transport) as client:
        run = long_run.Run(client, 0, folder)
        run.send(5)
    return run.found.failures


def test_a_few_files_leave_the_service_as_it_was(
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CXR_MODEL", str(tiny_bundle))
    monkeypatch.setattr("sys.argv", ["fuzz", "--files", "60", "--failures", str(tmp_path)])
    # A few files are no warm-up.
    monkeypatch.setattr(long_run, "MOST_GROWTH", 1.0)
    assert long_run.main() == 0, capsys.readouterr().err
    table = capsys.readouterr().out
    assert "| 200 | localized |" in table
    assert "60 files in" in table
    assert "0 failures" in table
    assert not list(tmp_path.iterdir())


def test_a_500_is_a_failure_and_its_file_is_kept(tmp_path: Path) -> None:
    answer = httpx.Response(500, json={"type": "/problems/internal-error"})
    (failure,) = sent_to(answer, tmp_path)
    assert "500 internal-error" in failure
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes() == long_run.mutated(5).data


@pytest.mark.parametrize("status", [200, 422])
def test_an_answer_that_tells_of_the_patient_is_a_failure(status: int, tmp_path: Path) -> None:
    answer = httpx.Response(status, json={"type": "/problems/broken", "detail": PATIENT.upper()})
    (failure,) = sent_to(answer, tmp_path)
    assert "tells" in failure


def test_a_busy_service_is_counted_and_no_failure(tmp_path: Path) -> None:
    answer = httpx.Response(503, json={"type": "/problems/queue-full"})
    assert sent_to(answer, tmp_path) == []


@pytest.mark.parametrize(
    ("line", "failed"),
    [
        ('{"event": "worker died", "exit_code": -11}', True),
        ('{"event": "worker stuck"}', True),
        ('{"event": "unexpected error"}', True),
        (f'{{"event": "request", "path": "/{PATIENT}"}}', True),
        (f"a library says {PATIENT}", True),
        ('{"event": "request", "status": 422}', False),
    ],
)
def test_the_log_tells_of_workers_that_died_and_must_not_of_patients(
    line: str, failed: bool, tmp_path: Path
) -> None:
    log, found = tmp_path / "log", long_run.Found()
    log.write_text(f'{{"event": "ready"}}\n{line}\n')
    long_run.read_log(log, found)
    assert bool(found.failures) == failed
