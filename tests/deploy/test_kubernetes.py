"""The Kubernetes manifests, as kustomize builds them, against Kubernetes' own schemas."""

import os
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from deploy_helpers import ROOT, SETTINGS, run_tool

from service.app import create_app
from service.metrics import Metrics
from service.settings import Settings

KUBERNETES = ROOT / "deploy/kubernetes"
LABEL = {"app.kubernetes.io/name": "cxr-localizer"}
OF_THE_OPERATOR = {"ServiceMonitor", "PrometheusRule"}
"""Not of Kubernetes itself, so that it has no schema of them."""

Resource = dict[str, Any]


def build(folder: str | Path) -> dict[str, Resource]:
    """The resources of a kustomization, by their kind."""
    built = run_tool("kubectl", "kustomize", str(KUBERNETES / folder)).stdout
    return {resource["kind"]: resource for resource in yaml.safe_load_all(built)}


FOLDERS = ["base", *(f"overlays/{each.name}" for each in (KUBERNETES / "overlays").iterdir())]
BUILT = {folder: build(folder) for folder in FOLDERS}


@pytest.fixture(params=FOLDERS)
def resources(request: pytest.FixtureRequest) -> dict[str, Resource]:
    return BUILT[request.param]


def _container(resources: dict[str, Resource]) -> dict[str, Any]:
    (container,) = resources["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def _environment(resources: dict[str, Resource]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in _container(resources)["env"]}


def test_every_resource_keeps_to_its_schema(resources: dict[str, Resource]) -> None:
    for kind, resource in resources.items():
        if kind not in OF_THE_OPERATOR:
            kubernetes_validate.validate(resource, "1.37", strict=True)
        if kind != "Namespace":
            assert resource["metadata"]["namespace"] == "cxr-localizer"


def test_the_schema_would_refuse_a_wrong_word() -> None:
    broken = build("base")["PodDisruptionBudget"]
    broken["spec"]["maxUnavailble"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.37", strict=True)


def test_the_documents_show_how_an_operators_prometheus_finds_its_resources(
    tmp_path: Path,
) -> None:
    blocks = (ROOT / "docs/operations.md").read_text().split("```")
    (example,) = [block for block in blocks if "/labels/release" in block]
    path = os.path.relpath(KUBERNETES, tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(
        example.removeprefix("yaml").replace("path/to/deploy/kubernetes", path)
    )
    labelled = {
        kind
        for kind, resource in build(tmp_path).items()
        if resource["metadata"]["labels"].get("release") == "kube-prometheus-stack"
    }
    assert labelled == OF_THE_OPERATOR


def test_the_example_of_keys_is_what_the_pod_mounts() -> None:
    secret = yaml.safe_load((KUBERNETES / "api-keys.example.yaml").read_text())
    kubernetes_validate.validate(secret, "1.37", strict=True)
    volumes = BUILT["base"]["Deployment"]["spec"]["template"]["spec"]["volumes"]
    (keys,) = [volume["secret"] for volume in volumes if "secret" in volume]
    assert keys["secretName"] == secret["metadata"]["name"]
    (mount,) = [m for m in _container(BUILT["base"])["volumeMounts"] if m["name"] == "api-keys"]
    (name,) = secret["stringData"]
    assert _environment(BUILT["base"])["CXR_API_KEYS_FILE"] == f"{mount['mountPath']}/{name}"


def test_the_pod_keeps_to_the_restricted_standard_of_its_namespace(
    resources: dict[str, Resource],
) -> None:
    labels = resources["Namespace"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = resources["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    container = _container(resources)["securityContext"]
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert container["allowPrivilegeEscalation"] is False
    assert container["readOnlyRootFilesystem"] is True


def test_the_pod_holds_no_token_and_writes_nowhere_but_in_memory(
    resources: dict[str, Resource],
) -> None:
    pod = resources["Deployment"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert resources["ServiceAccount"]["automountServiceAccountToken"] is False
    (tmp,) = [mount for mount in _container(resources)["volumeMounts"] if not mount.get("readOnly")]
    assert tmp["mountPath"] == "/tmp"
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == tmp["name"]]
    assert volume["emptyDir"]["medium"] == "Memory"


def test_every_selector_finds_the_pods(resources: dict[str, Resource]) -> None:
    template = resources["Deployment"]["spec"]["template"]
    assert template["metadata"]["labels"] == LABEL
    assert resources["Deployment"]["spec"]["selector"]["matchLabels"] == LABEL
    assert resources["Service"]["spec"]["selector"] == LABEL
    assert resources["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == LABEL
    for constraint in template["spec"]["topologySpreadConstraints"]:
        assert constraint["labelSelector"]["matchLabels"] == LABEL


def test_the_pod_has_time_to_drain_and_to_finish(resources: dict[str, Resource]) -> None:
    environment = _environment(resources)
    drain, grace = environment["CXR_DRAIN_SECONDS"], environment["CXR_GRACE_SECONDS"]
    pod = resources["Deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= int(drain) + int(grace) + 10
    # It drains for longer than it takes until no one sends it radiographs any more.
    probe = _container(resources)["readinessProbe"]
    assert int(drain) > probe["periodSeconds"] * probe["failureThreshold"]


def test_the_pods_settings_are_settings_of_the_service(resources: dict[str, Resource]) -> None:
    assert set(_environment(resources)) <= SETTINGS


def test_probes_ask_what_the_service_answers(resources: dict[str, Resource]) -> None:
    paths = create_app(Settings()).openapi()["paths"]
    container = _container(resources)
    ports = {port["name"] for port in container["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert "get" in paths[asked["path"]]
        assert asked["port"] in ports
    # A pod that drains, or is busy, is not to be killed for it.
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_only_names_are_asked_of_the_network(resources: dict[str, Resource]) -> None:
    policy = resources["NetworkPolicy"]["spec"]
    assert policy["podSelector"] == {}
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    (names,) = policy["egress"]
    (to,) = names["to"]
    assert to["podSelector"]["matchLabels"] == {"k8s-app": "kube-dns"}
    assert {port["port"] for port in names["ports"]} == {53}
    for rule in policy["ingress"]:
        assert rule["from"]
        assert len(rule["ports"]) == 1


def test_the_autoscaler_asks_for_cpu_or_for_the_queue_as_prometheus_knows_it() -> None:
    (cpu,) = BUILT["base"]["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert cpu["resource"]["name"] == "cpu"
    (queue,) = BUILT["overlays/queue-autoscaling"]["HorizontalPodAutoscaler"]["spec"]["metrics"]
    name = queue["pods"]["metric"]["name"]
    assert name in {metric.name for metric in Metrics().registry.collect()}
    adapter = KUBERNETES / "overlays/queue-autoscaling/prometheus-adapter.yaml"
    (rule,) = yaml.safe_load(adapter.read_text())["rules"]["custom"]
    assert rule["seriesQuery"].startswith(f"{name}{{")


def test_replicas_are_the_autoscalers_and_more_than_may_be_away(
    resources: dict[str, Resource],
) -> None:
    assert "replicas" not in resources["Deployment"]["spec"]
    scaled = resources["HorizontalPodAutoscaler"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == resources["Deployment"]["metadata"]["name"]
    away = resources["PodDisruptionBudget"]["spec"]["maxUnavailable"]
    assert scaled["minReplicas"] > away


def test_prometheus_scrapes_the_services_metrics() -> None:
    resources = BUILT["overlays/prometheus-operator"]
    monitor = resources["ServiceMonitor"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= (
        resources["Service"]["metadata"]["labels"].items()
    )
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in resources["Service"]["spec"]["ports"]}
    (port,) = [port for port in _container(resources)["ports"] if port["name"] == "metrics"]
    assert _environment(resources)["CXR_METRICS_PORT"] == str(port["containerPort"])


def test_the_gpu_is_asked_for() -> None:
    container = _container(BUILT["overlays/gpu"])
    assert container["image"] == "cxr-localizer:gpu"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
