"""Every DICOM file that comes with pydicom and pydicom-data is localized or refused by name."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dicom_survey
import pytest

from localization import Radiograph, RadiographRefused

PAGE = Path(__file__).parents[3] / "docs" / "dicom.md"


@pytest.fixture(scope="module")
def survey() -> Any:
    """In a process of its own, whose memory is that of the survey."""
    run = subprocess.run(
        [sys.executable, dicom_survey.__file__],
        capture_output=True,
        check=True,
        cwd=PAGE.parents[1],
        env={"PYTHONPATH": str(PAGE.parents[1])},
    )
    assert run.stderr == b""
    return json.loads(run.stdout)


def test_each_file_is_localized_or_refused_in_time_and_memory(survey: Any) -> None:
    assert len(survey["files"]) > 200
    assert max(seconds for _, _, seconds in survey["files"]) < 5
    assert survey["peak"] < 600e6
    localized = [name for name, outcome, _ in survey["files"] if outcome == "localized"]
    assert [Path(name).name[:4] for name in localized] == ["RG1_"] * 4


def test_the_page_tells_what_becomes_of_them(survey: Any) -> None:
    found = {name: outcome for name, outcome, _ in survey["files"]}
    assert dicom_survey.table(found) in PAGE.read_text(), "run scripts/dicom-table"


@pytest.mark.parametrize("policy", ["flag", "off"])
def test_nothing_but_refusals_where_the_gate_lets_all_through(policy: Any) -> None:
    outcomes: list[str] = []
    for path in dicom_survey.files().values():
        try:
            outcomes.append(Radiograph.read(path.read_bytes(), policy=policy).format)
        except RadiographRefused as refused:
            outcomes.append(refused.reason)
    assert outcomes.count("DICOM") > 40
    assert not {"modality", "body-part", "view"} & set(outcomes)
