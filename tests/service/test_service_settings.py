"""The settings: read from the environment, refused where they make no sense."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from localization import BundleRefused
from service.app import create_app
from service.settings import Settings


def test_a_setting_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXR_PORT", "9000")
    monkeypatch.setenv("CXR_PROVIDER", "cpu")
    assert (Settings().port, Settings().provider) == (9000, "cpu")


@pytest.mark.parametrize(("name", "value"), [("CXR_PORT", "http"), ("CXR_PROVIDER", "tpu")])
def test_a_setting_that_makes_no_sense_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_the_shipped_model_is_found_from_any_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings().model == Path(__file__).parents[2] / "models" / "lite0-msa-am-kp"


def test_a_models_folder_of_the_working_directory_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "models" / "lite0-msa-am-kp").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert Settings().model.resolve() == tmp_path / "models" / "lite0-msa-am-kp"


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_an_app_whose_bundle_is_refused_does_not_start(tmp_path: Path) -> None:
    with (
        pytest.raises(BundleRefused, match=r"manifest\.json"),
        TestClient(create_app(Settings(model=tmp_path))),
    ):
        pass


def test_uploads_may_hold_at_least_the_largest_one() -> None:
    with pytest.raises(ValidationError, match="largest single upload"):
        Settings(max_upload_bytes=100, max_held_bytes=99)
