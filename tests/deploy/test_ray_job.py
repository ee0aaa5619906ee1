"""The RayJob and its image: what is of Kubernetes against its schemas, what is ours against us.

KubeRay's own schema is in no package; its fields are not checked.
"""

import shlex
from importlib.metadata import version
from typing import Any

import kubernetes_validate
import pytest
import typer.main
import yaml
from deploy_helpers import ROOT, run_tool

from commands.main import app

JOB = yaml.safe_load((ROOT / "deploy/ray/harvest.yaml").read_text())
CLUSTER = JOB["spec"]["rayClusterSpec"]
GROUPS = {
    "head": CLUSTER["headGroupSpec"],
    **{group["groupName"]: group for group in CLUSTER["workerGroupSpecs"]},
}


def container(group: str) -> dict[str, Any]:
    (only,) = GROUPS[group]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def entrypoint() -> dict[str, Any]:
    """The options of the command that the job runs, as the command itself reads them."""
    program, name, *arguments = shlex.split(JOB["spec"]["entrypoint"])
    assert program == "cxr-localizer"
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    with command.make_context(name, arguments) as context:
        return dict(context.params)


@pytest.mark.parametrize("group", GROUPS)
def test_its_pods_keep_to_kubernetes_schema(group: str) -> None:
    pods = {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": {"name": group},
        "template": GROUPS[group]["template"],
    }
    kubernetes_validate.validate(pods, "1.37", strict=True)


@pytest.mark.parametrize("group", GROUPS)
def test_its_pods_are_alike_unprivileged_and_tell_no_one_of_their_use(group: str) -> None:
    assert container(group)["image"] == container("head")["image"]
    assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container(group)["env"]
    assert container(group)["securityContext"]["runAsNonRoot"] is True
    assert container(group)["resources"]["requests"] == container(group)["resources"]["limits"]


def test_it_runs_the_command_with_options_that_there_are() -> None:
    options = entrypoint()
    assert options["engine"].value == "ray"
    assert options["address"] == "auto"
    assert all(options[name].startswith("s3://") for name in ("source", "out", "labels"))
    bundle = options["model"].relative_to("/opt/cxr-localizer")
    assert (ROOT / bundle / "manifest.json").is_file()


def test_as_many_processes_hold_the_model_as_there_may_be_gpus() -> None:
    options = entrypoint()
    assert options["provider"].value == "cuda"
    assert "nvidia.com/gpu" in container("gpus")["resources"]["limits"]
    assert "nvidia.com/gpu" not in container("cores")["resources"]["limits"]
    assert options["workers"] == GROUPS["gpus"]["maxReplicas"]


def test_the_images_libraries_are_the_jobs_and_those_that_are_tested() -> None:
    lines = (ROOT / "deploy/ray/Dockerfile").read_text().splitlines()
    (base,) = [line for line in lines if line.startswith("FROM ")]
    assert base.partition(":")[2].split("-")[0] == CLUSTER["rayVersion"] == version("ray")
    assert any(f" ray=={version('ray')} " in line for line in lines)
    gpu = (ROOT / "requirements/gpu.txt").read_text()
    (runtime,) = [line for line in lines if "onnxruntime-gpu[" in line]
    assert f"\nonnxruntime-gpu=={runtime.rpartition('==')[2].strip(chr(39))} " in gpu


def test_the_dockerfile_is_well_made() -> None:
    done = run_tool("hadolint", "--failure-threshold", "info", "deploy/ray/Dockerfile", check=False)
    assert not done.stdout
    assert done.returncode == 0
