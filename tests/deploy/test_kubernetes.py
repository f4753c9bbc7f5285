"""The manifests are valid, request no unneeded privilege, and match the image and the files they mount."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from monitor import __version__
from monitor.cli import main
from monitor.config import examine
from tests.deploy.manifests import (
    BASE,
    NEWEST,
    OLDER_KUBECTLS,
    OLDEST,
    OVERLAYS,
    Object,
    check_core,
    check_operator,
    container,
    kustomized,
    objects,
    only,
    pod,
    told,
    with_tools,
)
from tests.deploy.promql import DASHBOARDS, DEPLOY, ROOT, dashboard, exported, parsed

pytestmark = with_tools("kubectl")

MONITORING = OVERLAYS / "monitoring"
DEMO = OVERLAYS / "demo"
REPLICAS = OVERLAYS / "replicas"
each_folder = pytest.mark.parametrize(
    "folder", [pytest.param(folder, id=folder.name) for folder in (BASE, MONITORING, DEMO, REPLICAS)]
)
WRITABLE = {"/data", "/tmp"}  # noqa: S108 - the pod's own, not this machine's


@pytest.mark.slow
@with_tools("kubectl", "kubernetes-validate")
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_knows_every_field(version: str) -> None:
    check_core([one for folder in (BASE, MONITORING, DEMO, REPLICAS) for one in kustomized(folder)], version=version)


@pytest.mark.slow
@with_tools("kubectl", "kubernetes-validate")
def test_a_field_that_kubernetes_does_not_know_would_be_found() -> None:
    service = only("Service", kustomized(BASE))
    with pytest.raises(AssertionError, match="sessionAfinity"):
        check_core([{**service, "spec": {**service["spec"], "sessionAfinity": "None"}}])


@pytest.mark.slow
@with_tools("kubectl", "kubernetes-validate")
def test_the_prometheus_operator_knows_every_field() -> None:
    check_operator(kustomized(MONITORING))


@pytest.mark.slow
@with_tools("kubectl", "kubernetes-validate")
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda spec: {**spec, "jobLable": "x"}, id="an unknown field"),
        pytest.param(lambda spec: {**spec, "endpoints": [{"interval": "often"}]}, id="an interval that is none"),
    ],
)
def test_a_field_that_the_operator_does_not_know_would_be_found(spoil: Callable[[Object], Object]) -> None:
    monitor = only("ServiceMonitor", kustomized(MONITORING))
    with pytest.raises(AssertionError, match=r"jobLable|interval"):
        check_operator([{**monitor, "spec": spoil(monitor["spec"])}])


@each_folder
def test_the_pod_meets_the_restricted_standard_and_more(folder: Path) -> None:
    spec, one = pod(kustomized(folder)), container(kustomized(folder))
    inside = one["securityContext"]
    assert inside == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
    }
    around = spec["securityContext"]
    assert around["runAsNonRoot"] is True
    assert around["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert all("hostPath" not in volume for volume in spec["volumes"])
    assert all("hostPort" not in port for port in one["ports"])


@each_folder
def test_the_pod_runs_as_the_user_of_the_image_who_can_write_to_its_volume(folder: Path) -> None:
    user, group = re.findall(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[0]
    around = pod(kustomized(folder))["securityContext"]
    assert (around["runAsUser"], around["runAsGroup"], around["fsGroup"]) == (int(user), int(group), int(group))
    places = {
        mount["mountPath"] for mount in container(kustomized(folder))["volumeMounts"] if not mount.get("readOnly")
    }
    assert places <= WRITABLE


@each_folder
def test_the_pod_gets_no_token_of_the_cluster_and_no_strangers_environment(folder: Path) -> None:
    among = kustomized(folder)
    assert pod(among)["automountServiceAccountToken"] is False
    assert only("ServiceAccount", among)["automountServiceAccountToken"] is False
    assert pod(among)["enableServiceLinks"] is False
    assert not [one for one in among if "Role" in one["kind"]]


@each_folder
def test_one_pod_goes_before_the_next_comes_unless_they_share_a_database(folder: Path) -> None:
    spec = only("Deployment", kustomized(folder))["spec"]
    if folder == REPLICAS:
        assert spec["replicas"] == 3
        assert spec["strategy"]["type"] == "RollingUpdate"
    else:
        assert spec["replicas"] == 1
        assert spec["strategy"] == {"type": "Recreate"}


@each_folder
def test_a_pod_has_time_to_end_its_deliveries(folder: Path) -> None:
    assert pod(kustomized(folder))["terminationGracePeriodSeconds"] > 10


def test_replicas_have_no_volume_are_spread_and_are_not_evicted_together() -> None:
    among = kustomized(REPLICAS)
    assert "PersistentVolumeClaim" not in {one["kind"] for one in among}
    assert "/data" not in {mount["mountPath"] for mount in container(among)["volumeMounts"]}
    spread = {one["topologyKey"]: one for one in pod(among)["topologySpreadConstraints"]}
    assert spread.keys() == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    labels = only("Deployment", among)["spec"]["template"]["metadata"]["labels"].items()
    assert all(one["labelSelector"]["matchLabels"].items() <= labels for one in spread.values())
    assert only("PodDisruptionBudget", among)["spec"]["maxUnavailable"] == 1
    assert {"ports": [{"port": 5432, "protocol": "TCP"}]} in only("NetworkPolicy", among)["spec"]["egress"]


def test_replicas_find_the_address_of_their_database_in_the_secret() -> None:
    (text,) = (one["data"]["config.yaml"] for one in kustomized(REPLICAS) if "config.yaml" in one.get("data", {}))
    store = YAML(typ="safe").load(text)["store"]
    assert store == {"url_file": "/run/secrets/finetune-monitor/database"}
    (secrets,) = (one for one in container(kustomized(REPLICAS))["volumeMounts"] if one["name"] == "secrets")
    assert store["url_file"].startswith(f"{secrets['mountPath']}/")


@each_folder
def test_it_is_started_with_options_it_has_and_every_probe_asks_a_path_it_answers(folder: Path) -> None:
    one = container(kustomized(folder))
    name, *options = one["args"]
    known = {option for parameter in main.commands[name].params for option in parameter.opts}
    assert {option for option in options if option.startswith("--")} <= known
    paths = {probe: one[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/-/healthy", "livenessProbe": "/-/healthy", "readinessProbe": "/-/ready"}
    assert [(port["name"], port["containerPort"]) for port in one["ports"]] == [("http", 10877)]
    assert options[options.index("--listen") + 1] == ":10877"


@each_folder
def test_the_image_is_this_version_and_nothing_floats(folder: Path) -> None:
    assert container(kustomized(folder))["image"] == f"finetune-monitor:{__version__}"


@each_folder
def test_memory_and_disk_have_limits_and_the_processor_a_request(folder: Path) -> None:
    resources = container(kustomized(folder))["resources"]
    assert resources["limits"].keys() == {"memory", "ephemeral-storage"}
    assert resources["requests"].keys() == {"cpu", "memory", "ephemeral-storage"}


@pytest.mark.parametrize("kubectl", [pytest.param(name, marks=with_tools(name)) for name in OLDER_KUBECTLS])
@each_folder
def test_an_older_kubectl_renders_the_same(folder: Path, kubectl: str) -> None:
    assert kustomized(folder, by=kubectl) == kustomized(folder)


@pytest.mark.parametrize("kubectl", [pytest.param(name, marks=with_tools(name)) for name in OLDER_KUBECTLS])
def test_an_older_kubectl_is_the_one_that_its_name_says(kubectl: str) -> None:
    version = json.loads(told(kubectl, "version", "--client", "--output=json").stdout)["clientVersion"]["gitVersion"]
    assert version.startswith(f"v{kubectl.removeprefix('kubectl-')}.")


def test_the_oldest_kubectl_that_is_promised_is_tested() -> None:
    (promised,) = re.findall(r"`kubectl` ([\d.]+) or newer", (DEPLOY / "README.md").read_text())
    assert f"kubectl-{promised}" == OLDER_KUBECTLS[0]
    assert f"{promised}.0" == OLDEST


@each_folder
def test_services_and_selectors_find_the_pod(folder: Path) -> None:
    among = kustomized(folder)
    labels = only("Deployment", among)["spec"]["template"]["metadata"]["labels"].items()
    assert only("Deployment", among)["spec"]["selector"]["matchLabels"].items() <= labels
    service = only("Service", among)
    assert service["spec"]["selector"].items() <= labels
    for one in among:
        if one["kind"] in {"NetworkPolicy", "PodDisruptionBudget"}:
            selector = one["spec"].get("podSelector") or one["spec"]["selector"]
            assert selector["matchLabels"].items() <= labels
        if one["kind"] == "ServiceMonitor":
            assert one["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()


@pytest.mark.parametrize("folder", [pytest.param(MONITORING, id="monitoring"), pytest.param(DEMO, id="demo")])
def test_everything_is_in_a_namespace_that_enforces_the_restricted_standard(folder: Path) -> None:
    namespace = only("Namespace", kustomized(folder))["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    homes = {one["metadata"].get("namespace") for one in kustomized(folder) if one["kind"] != "Namespace"}
    assert homes == {namespace["name"]}


def test_the_configuration_is_one_that_the_monitor_takes(tmp_path: Path) -> None:
    (text,) = only("ConfigMap", kustomized(BASE))["data"].values()
    for name in re.findall(r"/run/secrets/finetune-monitor/(\S+)", text):
        (tmp_path / name).write_text(
            "https://chat.example.com/hooks/0123456789abcdef" if "hook" in name else "sk-" + "x" * 20
        )
        (tmp_path / name).chmod(0o600)
    file = tmp_path / "config.yaml"
    file.write_text(text.replace("/run/secrets/finetune-monitor", str(tmp_path)))
    assert examine(file, {})[1] == ()


def test_the_configuration_and_the_keys_are_files_that_can_only_be_read() -> None:
    one, spec = container(kustomized(BASE)), pod(kustomized(BASE))
    mounts = {mount["name"]: mount for mount in one["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert mounts.keys() == volumes.keys()
    assert mounts["config"]["readOnly"] is mounts["secrets"]["readOnly"] is True
    assert one["args"][2] == mounts["config"]["mountPath"] + "/config.yaml"
    # A single file of a Secret (subPath) would not be updated while the pod runs.
    assert all("subPath" not in mount for mount in mounts.values())
    assert volumes["secrets"]["secret"]["defaultMode"] == 0o440
    assert not {"env", "envFrom"} & one.keys()
    assert not [found for found in kustomized(BASE) if found["kind"] == "Secret"]


def test_a_new_configuration_is_a_new_pod_with_the_key_files_left_alone(tmp_path: Path) -> None:
    copy = tmp_path / "base"
    shutil.copytree(BASE, copy)
    file = copy / "config.yaml"
    file.write_text(file.read_text().replace("research", "search"))
    before, after = _volumes(kustomized(BASE)), _volumes(kustomized(copy))
    assert before.pop("config") != after.pop("config")
    assert before == after


def test_an_overlay_of_ones_own_changes_what_the_readme_says_it_does(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY / "kubernetes", tmp_path / "kubernetes")
    shutil.copytree(DEPLOY / "grafana" / "dashboards", tmp_path / "grafana" / "dashboards")
    own = tmp_path / "kubernetes" / "overlays" / "own"
    own.mkdir()
    (example,) = re.findall(r"```yaml\n(# kustomization\.yaml\n.*?)```", (DEPLOY / "README.md").read_text(), re.DOTALL)
    (own / "kustomization.yaml").write_text(example)
    (own / "config.yaml").write_text("organizations: []\n")
    among = kustomized(own)
    assert container(among)["image"] == f"registry.example.com/finetune-monitor:{__version__}"
    assert [one["data"] for one in among if one["kind"] == "ConfigMap" and "config.yaml" in one["data"]] == [
        {"config.yaml": "organizations: []\n"}
    ]
    assert only("ServiceMonitor", among)["metadata"]["labels"]["release"] == "kube-prometheus-stack"


def test_the_demo_needs_no_key_no_volume_and_no_configuration() -> None:
    among = kustomized(DEMO)
    assert {one["kind"] for one in among} == {"Namespace", "ServiceAccount", "Service", "Deployment"}
    assert [list(volume) for volume in pod(among)["volumes"]] == [["emptyDir", "name"]]


def test_the_rules_and_dashboards_of_the_cluster_are_those_beside_it() -> None:
    among = kustomized(MONITORING)
    assert only("PrometheusRule", among)["spec"] == parsed(DEPLOY / "prometheus" / "rules.yaml")
    shipped = [one for one in among if one["metadata"].get("labels", {}).get("grafana_dashboard") == "1"]
    contents = {name: json.loads(text) for one in shipped for name, text in one["data"].items()}
    assert contents == {path.name: dashboard(path) for path in DASHBOARDS}
    # kubectl apply stores an object in an annotation of at most 256 KiB.
    assert all(len(json.dumps(one)) < 250_000 for one in shipped)


def test_the_operator_scrapes_under_the_name_that_the_alert_knows() -> None:
    among = kustomized(MONITORING)
    label = only("ServiceMonitor", among)["spec"]["jobLabel"]
    job = only("Service", among)["metadata"]["labels"][label]
    (missing,) = re.findall(r'absent\(up\{job="(.*?)"\}', json.dumps(only("PrometheusRule", among)).replace('\\"', '"'))
    assert job == missing
    assert only("ServiceMonitor", among)["spec"]["endpoints"][0]["path"] == "/metrics"


def test_the_labels_of_a_target_hide_none_of_the_monitors_own() -> None:
    # Labels that the operator adds to each series; a metric's own label of that name would become exported_….
    target = {"job", "instance", "namespace", "pod", "service", "container", "endpoint"}
    rules = only("PrometheusRule", kustomized(MONITORING))["spec"]["groups"]
    used = {
        label
        for group in rules
        for rule in group["rules"]
        for labels in re.findall(r"by ?\((.*?)\)", str(rule["expr"]))
        for label in re.split(r", ?", labels)
    }
    assert exported()
    assert used
    assert not used & (target - {"job"})


def test_nobody_comes_in_but_to_the_page_and_nothing_goes_out_but_names_and_https() -> None:
    spec = only("NetworkPolicy", kustomized(MONITORING))["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert [port["port"] for rule in spec["ingress"] for port in rule["ports"]] == ["http"]
    assert {port["port"] for rule in spec["egress"] for port in rule["ports"]} == {53, 443}
    blocks = [to["ipBlock"] for rule in spec["egress"] for to in rule.get("to", ())]
    assert [block["except"] for block in blocks] == [["169.254.0.0/16"], ["fe80::/10"]]


def test_a_node_can_be_drained() -> None:
    assert only("PodDisruptionBudget", kustomized(MONITORING))["spec"]["maxUnavailable"] == 1


def test_what_is_made_from_other_files_is_fresh() -> None:
    done = told("sh", str(ROOT / ".ci" / "kubernetes"), "--check")
    assert done.returncode == 0, done.stderr


def test_documents_without_content_are_no_objects() -> None:
    assert objects("---\n# nothing\n---\nkind: Service\n") == [{"kind": "Service"}]


def _volumes(among: list[Object]) -> dict[str, Any]:
    return {volume["name"]: volume for volume in pod(among)["volumes"]}
