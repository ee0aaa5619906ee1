"""docker-compose.yml, as Compose itself reads it."""

import json
import re
from typing import Any

import pytest
import yaml
from deploy_helpers import ROOT, SETTINGS, run_tool, seconds

Service = dict[str, Any]


def config(*options: str) -> dict[str, Service]:
    done = run_tool(
        "docker-compose", *options, "config", "--format", "json", GRAFANA_PASSWORD="secret"
    )
    services: dict[str, Service] = json.loads(done.stdout)["services"]
    return services


SERVICES = config("--profile", "gpu")


@pytest.fixture(params=sorted(SERVICES))
def service(request: pytest.FixtureRequest) -> Service:
    return SERVICES[request.param]


def test_up_gives_the_service_prometheus_and_grafana() -> None:
    assert set(config()) == {"localizer", "prometheus", "grafana"}


def test_the_gpu_comes_by_its_profile() -> None:
    gpu = SERVICES["localizer-gpu"]
    assert gpu["build"]["target"] == "gpu"
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def test_every_container_can_do_no_more_than_it_must(service: Service) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    user, _, _ = service["user"].partition(":")
    assert int(user) > 0
    assert not service.get("privileged")


def test_every_container_has_limits_and_says_whether_it_is_well(service: Service) -> None:
    limits = service["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} <= set(limits)
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["restart"] == "unless-stopped"


def test_nothing_is_published_beyond_this_machine(service: Service) -> None:
    assert [port["host_ip"] for port in service["ports"]] == ["127.0.0.1"]


def test_images_are_of_this_project_or_of_a_full_version(service: Service) -> None:
    if "build" not in service:
        assert re.fullmatch(r".+:v?\d+\.\d+\.\d+", service["image"])


def test_the_documents_name_the_images_that_were_not_run(service: Service) -> None:
    if "build" not in service:
        assert f"`{service['image']}`" in (ROOT / "docs/monitoring.md").read_text()


def test_what_is_mounted_is_there_and_read_only(service: Service) -> None:
    for mount in service.get("volumes", []):
        if mount["type"] == "bind":
            assert mount["read_only"] is True
            assert list((ROOT / mount["source"]).iterdir())


@pytest.mark.parametrize("name", ["localizer", "localizer-gpu"])
def test_the_service_gets_settings_that_it_has_and_time_to_finish(name: str) -> None:
    service = SERVICES[name]
    environment = service["environment"]
    assert set(environment) <= SETTINGS
    finishing = int(environment["CXR_DRAIN_SECONDS"]) + int(environment["CXR_GRACE_SECONDS"])
    assert seconds(service["stop_grace_period"]) >= finishing + 10
    (tmp,) = service["tmpfs"]
    assert tmp.startswith("/tmp:")
    assert {"noexec", "nosuid", "nodev"} <= set(tmp.split(":")[1].split(","))


def test_a_gpu_infers_as_many_at_a_time_as_in_kubernetes() -> None:
    deployment = yaml.safe_load(
        (ROOT / "deploy/kubernetes/overlays/gpu/deployment.yaml").read_text()
    )
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (size,) = [each["value"] for each in container["env"] if each["name"] == "CXR_BATCH_SIZE"]
    assert SERVICES["localizer-gpu"]["environment"]["CXR_BATCH_SIZE"] == size


def test_it_is_asked_for_its_health_as_the_image_says() -> None:
    (command,) = re.findall(
        r"^HEALTHCHECK .* CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    assert SERVICES["localizer"]["healthcheck"]["test"] == ["CMD", *json.loads(command)]


def test_grafana_lets_no_one_in_without_a_password() -> None:
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_SECURITY_ADMIN_PASSWORD"] == "secret"
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    without = run_tool("docker-compose", "config", "--quiet", check=False)
    assert without.returncode != 0
    assert "GRAFANA_PASSWORD" in without.stderr
