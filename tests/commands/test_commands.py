import builtins
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from commands.main import app
from service.keys import KeyRing


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def radiograph(tmp_path: Path) -> Path:
    file = tmp_path / "radiograph.png"
    pixels = np.zeros((200, 300), np.uint8)
    pixels[50:100, 150:225] = 255
    cv2.imwrite(str(file), pixels)
    return file


def test_localize_prints_the_services_json_a_line_per_file(
    radiograph: Path, tiny_bundle: Path
) -> None:
    result = run("localize", radiograph, radiograph, "--model", tiny_bundle)
    assert result.exit_code == 0
    first, second = map(json.loads, result.stdout.splitlines())
    assert first == second
    assert first["id"] == str(radiograph)
    assert first["model"] == {"name": "tiny", "version": "1"}
    assert len(first["findings"]) == 14


def test_localize_takes_the_services_choices(radiograph: Path, tiny_bundle: Path) -> None:
    choices = ["--disease", "Mass", "--heatmaps", "none", "--boxes", "all"]
    result = run("localize", radiograph, "--model", tiny_bundle, *choices)
    [finding] = json.loads(result.stdout)["findings"]
    assert finding["disease"] == "Mass"
    assert "heatmap" not in finding
    assert finding["boxes"]
    assert "steps" not in finding
    result = run("localize", radiograph, "--model", tiny_bundle, "--steps")
    assert all(finding["steps"] for finding in json.loads(result.stdout)["findings"])


def test_a_file_that_cannot_be_localized_is_named_and_the_rest_is_done(
    radiograph: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "notes.png"
    broken.write_text("not an image")
    missing = tmp_path / "missing.png"
    result = run("localize", broken, missing, tmp_path, radiograph, "--model", tiny_bundle)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 1
    unread, unfound, folder = result.stderr.splitlines()
    assert unread.startswith(f"{broken}: The file is not")
    assert unfound == f"{missing}: No such file or directory."
    assert folder == f"{tmp_path}: Is a directory."


def test_overlay_writes_a_picture(radiograph: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.png"
    result = run("localize", radiograph, "--model", tiny_bundle, "--overlay", overlay)
    assert result.exit_code == 0
    assert cv2.imread(str(overlay)).shape == (200, 300, 3)


@pytest.mark.parametrize("name", ["report.html", "report.pdf"])
def test_a_report_of_a_folder_leaves_itself_out_and_names_what_it_refused(
    radiograph: Path, tiny_bundle: Path, name: str
) -> None:
    folder = radiograph.parent
    (folder / "notes.txt").write_text("not an image")
    for _ in range(2):  # The second time, the first one's report is there.
        result = run("localize", folder, "--model", tiny_bundle, "--report", folder / name)
        assert result.exit_code == 1
        assert f"Wrote {folder / name}: 1 localized, 1 refused." in result.stdout
        assert f"{folder / 'notes.txt'}: The file is not" in result.stderr
        assert "findings" not in result.stdout
    assert (folder / name).stat().st_size > 1000


def test_a_report_that_cannot_be_written_is_said_in_one_line(
    radiograph: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    report = tmp_path / "nowhere" / "report.html"
    result = run("localize", radiograph, "--model", tiny_bundle, "--report", report)
    assert result.exit_code == 2
    assert "nowhere" in result.stderr
    assert "No such file or directory" in result.stderr
    assert "Traceback" not in result.output


def test_a_report_without_its_extra_names_it(
    radiograph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "reporting", None)
    result = run("localize", radiograph, "--report", "report.html")
    assert result.exit_code == 2
    assert "cxr-localizer[report]" in result.stderr
    assert "An image that serves cannot run it." in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.png", "b.png", "--overlay", "o.png"], "one file"),
        (["a.png", "--overlay", "o.png", "--report", "r.html"], "one of them"),
        (["a.png", "--report", "r.docx"], ".html or .pdf"),
        (["a.png", "--disease", "Flu"], "No such disease: Flu"),
        (["a.png", "--model", "nowhere"], "manifest.json"),
    ],
)
def test_a_wrong_call_says_what_was_wrong(arguments: list[str], message: str) -> None:
    result = run("localize", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_key_is_shown_once_beside_its_line_of_the_file(tmp_path: Path) -> None:
    result = run("key", "viewer")
    assert result.exit_code == 0
    file = tmp_path / "keys"
    file.write_text(result.stdout)
    key = result.stderr.split()[-1]
    assert key not in result.stdout
    assert KeyRing("", file).holder(key.encode()) == "viewer"


def test_a_key_whose_name_is_none_is_not_made() -> None:
    result = run("key", "the viewer")
    assert result.exit_code == 2
    assert "letters, digits" in result.stderr
    assert result.stdout == ""


def test_serve_refuses_a_bundle_that_is_none(tmp_path: Path) -> None:
    # In a process of its own, as the server sets up the logs of the whole process.
    result = subprocess.run(
        [sys.executable, "-m", "commands", "serve", "--model", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "manifest.json" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "lite0", "--output", "runs/x"],
        ["export", "best.ckpt", "models/x"],
        ["evaluate", "models/x"],
        ["quantize", "models/x"],
    ],
)
def test_a_command_whose_extra_is_missing_says_which_to_install(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real_import = builtins.__import__

    def without_training(name: str, *rest: object, **more: object) -> object:
        if name.startswith("training"):
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return real_import(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_training)
    result = run(*arguments)
    assert result.exit_code == 2
    assert "cxr-localizer[train]" in result.stderr


def test_training_data_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    result = run("train", "lite0", "--output", tmp_path, "--data", tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "train_val_list.txt" in result.stderr
    assert "Traceback" not in result.output


def test_the_help_names_every_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for command in ("serve", "localize", "train", "export", "quantize", "evaluate", "ablate"):
        assert f" {command} " in result.stdout


def test_quantize_refuses_a_folder_without_a_bundle_in_one_line(tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "bundle"
    (data / "images").mkdir(parents=True)
    folder.mkdir()
    (data / "images" / "a.png").touch()
    (data / "train_val_list.txt").write_text("a.png\n")
    (data / "test_list.txt").write_text("")
    entry = "Image Index,Finding Labels,Patient ID\na.png,Mass,1\n"
    (data / "Data_Entry_2017.csv").write_text(entry)
    result = run("quantize", folder, "--data", data, "--cache", tmp_path / "cache")
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert line == (
        f"cxr-localizer: {folder / 'manifest.json'} cannot be read: No such file or directory."
    )
    assert list(folder.iterdir()) == []
