"""README and docs/: links lead somewhere, commands are there and do what they say."""

import itertools
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
import typer.main
import yaml
from pydicom.data import get_testdata_file

from commands.main import app
from service.settings import Settings

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SETTINGS = {f"CXR_{name.upper()}" for name in Settings.model_fields}
RADIOGRAPH = "RG1_UNCR.dcm"
FOLDERS = ("benchmark", "client", "commands", "deploy", "docs", "harvesting", "localization")
FOLDERS += ("models", "requirements", "reviewing", "scripts", "service", "tests", "training")


def _blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


def _prose(document: Path) -> str:
    return re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def _anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def _commands() -> list[str]:
    """Each line of the documents' bash, with what a backslash continues, without comments."""
    blocks = [block for document in DOCUMENTS for block in _blocks(document, "bash")]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in dict.fromkeys(lines) if line.strip() and not line.startswith("#")]


COMMANDS = _commands()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(document)):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path) if path else document
        assert file.exists(), target
        assert not anchor or anchor in _anchors(file), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_paths_and_settings_that_are_named_are_there(document: Path) -> None:
    for code in re.findall(r"`([^`\n]+)`", _prose(document)):
        word = code.split()[0].split(":")[0]
        if word.startswith(tuple(f"{folder}/" for folder in FOLDERS)):
            assert (ROOT / word).exists(), code
    # A name that ends in `_` stands for those that begin with it.
    named = set(re.findall(r"CXR_[A-Z_]*[A-Z]", document.read_text()))
    assert named <= SETTINGS


def test_tables_and_manifests_are_as_the_code_says() -> None:
    command = [sys.executable, ROOT / "docs/generate.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("manifest", sorted(ROOT.glob("models/*/manifest.json")), ids=str)
def test_every_model_has_a_card_of_its_version_with_use_and_limits(manifest: Path) -> None:
    card = manifest.with_name("MODEL_CARD.md").read_text()
    model = json.loads(manifest.read_text())
    assert card.startswith(f"# {model['name']}\n")
    assert f"Version {model['version']}, {model['licence']}" in card
    for words in ("not for clinical use", "## Data", "## Figures", "## Limits"):
        assert words in card


def _check_script(words: list[str]) -> None:
    assert (ROOT / words[0]).stat().st_mode & 0o111


def _check_own_command(words: list[str]) -> None:
    """Its options are options of it."""
    group = typer.main.get_command(app)
    command = group.commands[words[1]]  # type: ignore[attr-defined]
    options = {option for parameter in command.params for option in parameter.opts}
    given = {word.partition("=")[0] for word in words[2:] if word.startswith("-")}
    assert given <= options, given - options


def _check_pip(words: list[str]) -> None:
    for option, value in itertools.pairwise(words):
        if option in ("-r", "--requirement"):
            assert (ROOT / value).is_file()


def _check_module(words: list[str]) -> None:
    """Of `python -m`."""
    assert (ROOT / words[2].replace(".", "/")).with_suffix(".py").is_file()


def _check_kubectl(words: list[str]) -> None:
    if "-k" in words:
        assert (ROOT / words[words.index("-k") + 1] / "kustomization.yaml").is_file()
    elif "-f" in words:
        assert (ROOT / words[words.index("-f") + 1]).is_file()
    else:
        (name,) = [word for word in words if word.startswith("cxr-localizer-")]
        deployment = (ROOT / "deploy/kubernetes/base/deployment.yaml").read_text()
        assert f"secretName: {name}\n" in deployment


def _check_docker(words: list[str]) -> None:
    if words[1] == "build":
        assert (ROOT / words[words.index("--file") + 1]).is_file()
    else:
        _check_compose(words)


def _check_compose(words: list[str]) -> None:
    profile = words[2:4] if words[2] == "--profile" else []
    done = subprocess.run(
        [Path(sys.executable).with_name("docker-compose"), *profile, "config", "--services"],
        cwd=ROOT,
        env={"GRAFANA_PASSWORD": "secret"},
        capture_output=True,
        text=True,
        check=True,
    )
    verb, *services = words[2 + len(profile) :]
    assert verb == "up"
    assert set(services) <= set(done.stdout.split())
    assert not profile or any(profile[1] in name for name in done.stdout.split())


CHECKS = {
    "cxr-localizer": _check_own_command,
    ".venv/bin/cxr-localizer": _check_own_command,
    ".venv-benchmark/bin/python": _check_module,
    "docker": _check_docker,
    "kubectl": _check_kubectl,
    ".venv/bin/pip": _check_pip,
    "pip": _check_pip,
}
RUN_BELOW = {"cp", "curl", "echo"}
"""Of the system, and tried for real below."""

NOT_RUN = {
    "export": "names a folder of data",
    "python3": "asks PyPI; what it fetches is among the tests' own packages",
}

LANGUAGES = {
    "bash": "each line, below",
    "json": "against the service's answer",
    "python": "run against a service",
    "yaml": "against the manifests",
}
UNTESTED_LANGUAGES = {
    "nginx": "tried by hand, see docs/operations.md",
    "sh": "the shell alone: no command of the project",
}


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_there_and_have_their_options(line: str) -> None:
    for command in re.split(r"&&", line):
        words = shlex.split(command, comments=True)
        while re.match(r"\w+=", words[0]):
            words.pop(0)
        if words[0].startswith("scripts/"):
            _check_script(words)
        elif words[0] not in RUN_BELOW | NOT_RUN.keys():
            CHECKS[words[0]](words)


def test_every_example_is_of_a_kind_that_is_tested_or_said_not_to_be() -> None:
    for document in DOCUMENTS:
        found = set(re.findall(r"^```(.+)$", document.read_text(), re.MULTILINE))
        assert found <= LANGUAGES.keys() | UNTESTED_LANGUAGES.keys(), document.name


def test_the_kustomization_that_is_shown_changes_the_image(tmp_path: Path) -> None:
    block, _ = _blocks(ROOT / "docs/operations.md", "yaml")
    (name,) = {image["name"] for image in yaml.safe_load(block)["images"]}
    here = os.path.relpath(ROOT, tmp_path)
    (tmp_path / "kustomization.yaml").write_text(block.replace("path/to", here))
    kubectl = Path(sys.executable).with_name("kubectl")
    built = subprocess.run(
        [kubectl, "kustomize", tmp_path], capture_output=True, text=True, check=True
    ).stdout
    assert re.findall(r"image: (.*)", built) == [f"registry.example/{name}:cpu"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the service with the shipped model."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "commands", "serve", "--port", str(port)]
    # The graph whose answers are the same on CPUs with VNNI and without.
    environment = {**os.environ, "CXR_PRECISION": "fp32"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        _wait_until_ready(port)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").close()
            return
        except URLError:
            time.sleep(0.1)
    raise AssertionError("it was never ready")


@pytest.fixture
def radiograph(tmp_path: Path) -> Path:
    """A folder with the radiograph that the documents' examples send."""
    (tmp_path / RADIOGRAPH).symlink_to(str(get_testdata_file(RADIOGRAPH)))
    return tmp_path


OWN = re.compile(r"^(\.venv/bin/)?cxr-localizer (localize|key) |^echo |^cp ")
"""Commands that need no service and no data but a radiograph."""


@pytest.mark.parametrize("line", [line for line in COMMANDS if OWN.match(line)])
def test_what_needs_no_service_does_what_is_said(line: str, radiograph: Path) -> None:
    samples = radiograph / "samples/data_store/data"  # As pip would have unpacked them.
    samples.mkdir(parents=True)
    (samples / RADIOGRAPH).symlink_to(radiograph / RADIOGRAPH)
    before = {path: path.stat().st_mtime_ns for path in radiograph.rglob("*")}
    own = f"{shlex.quote(sys.executable)} -m commands "
    run = re.sub(r"^(\.venv/bin/)?cxr-localizer ", lambda _: own, line)
    if line.startswith("cp "):
        run = run.removesuffix(".") + "copied"  # A link to itself lies there already.
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", run],
        cwd=radiograph,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (made,) = [path for path in radiograph.rglob("*") if path not in before]
    begins = {".png": b"\x89PNG", ".html": b"<!doctype html>", ".pdf": b"%PDF"}
    assert made.read_bytes().startswith(begins.get(made.suffix, b""))
    assert made.stat().st_size > 30


def test_the_answer_in_the_readme_is_the_services(service: int, radiograph: Path) -> None:
    (block,) = _blocks(ROOT / "README.md", "json")
    shown = json.loads(re.sub(r", …", "", block).replace("…", ""))
    with urllib.request.urlopen(
        f"http://127.0.0.1:{service}/localize", (radiograph / RADIOGRAPH).read_bytes()
    ) as response:
        answer = json.load(response)
    assert shown["model"] == answer["model"]
    typicality = shown["radiograph"].pop("typicality")
    assert typicality == pytest.approx(answer["radiograph"]["typicality"], abs=0.001)
    assert shown["radiograph"].items() <= answer["radiograph"].items()
    (finding,) = shown["findings"]
    theirs = answer["findings"][0]
    assert finding["disease"] == theirs["disease"]
    for name in ("probability", "threshold"):
        assert finding[name] == pytest.approx(theirs[name], rel=0.001)
    assert finding["positive"] == theirs["positive"]
    assert finding["heatmap"].items() - {("data", finding["heatmap"]["data"])} <= (
        theirs["heatmap"].items()
    )
    for box, their_box in zip(finding["boxes"], theirs["boxes"], strict=True):
        assert box.keys() == their_box.keys()
        assert [*box.values()] == pytest.approx([*their_box.values()], rel=0.001)


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("curl ")])
def test_curl_gets_what_it_asks_for(line: str, service: int, radiograph: Path) -> None:
    line = line.replace("localhost:8000", f"localhost:{service}")
    words = shlex.split(line, comments=True)
    for name in re.findall(
        r"@([\w.]+)", line
    ):  # Whatever the example calls the file that it sends.
        if name != RADIOGRAPH:
            (radiograph / name).symlink_to(radiograph / RADIOGRAPH)
    asked = [words[0], "--silent", "--show-error", "--fail-with-body", *words[1:]]
    done = subprocess.run(asked, cwd=radiograph, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"findings":[{"disease":"' in done.stdout


@pytest.mark.parametrize(
    "code",
    [code for document in DOCUMENTS for code in _blocks(document, "python") if "Client(" in code],
)
def test_the_clients_example_works(code: str, service: int, radiograph: Path) -> None:
    code = code.replace("localhost:8000", f"localhost:{service}")
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(answer)"],
        cwd=radiograph,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Mass" in done.stdout
