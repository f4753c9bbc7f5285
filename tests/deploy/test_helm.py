"""The chart is valid, says what kustomize says, and turns on and off what its values name."""

from __future__ import annotations

import gzip
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from monitor import __version__
from tests.deploy.manifests import (
    BASE,
    CHART,
    EVERYTHING,
    OLDEST,
    OVERLAYS,
    Object,
    check_core,
    check_operator,
    container,
    kustomized,
    only,
    pod,
    templated,
    told,
    with_tools,
)
from tests.deploy.promql import DASHBOARDS, DEPLOY, parsed

pytestmark = with_tools("helm", "kubectl")

TOGGLES = {
    "serviceMonitor": "ServiceMonitor",
    "prometheusRule": "PrometheusRule",
    "networkPolicy": "NetworkPolicy",
    "podDisruptionBudget": "PodDisruptionBudget",
}


def comparable(one: Object) -> Object:
    """An object without what each tool adds: who manages it, and how a change of the configuration is noticed."""
    known = deepcopy(one)
    theirs = known["metadata"].get("labels", {})
    for label in ("app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"):
        theirs.pop(label, None)
    known["metadata"].pop("annotations", None)
    known["metadata"].pop("namespace", None)
    if one["kind"] == "Deployment":
        template = known["spec"]["template"]
        template["metadata"].pop("annotations", None)
        for volume in template["spec"]["volumes"]:
            if "configMap" in volume:
                volume["configMap"]["name"] = "finetune-monitor-config"
    return known


def test_helm_finds_nothing_to_say_about_the_chart() -> None:
    done = told("helm", "lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@with_tools("helm", "kubernetes-validate")
def test_kubernetes_and_the_operator_know_every_field() -> None:
    everything = templated(*EVERYTHING)
    check_core([*everything, *templated("demo=true"), *templated(*FULL, release="other")])
    check_operator(everything)


@pytest.mark.parametrize(
    ("values", "folder"),
    [
        pytest.param((), BASE, id="base"),
        pytest.param(("demo=true",), OVERLAYS / "demo", id="demo"),
        pytest.param(EVERYTHING, OVERLAYS / "monitoring", id="monitoring"),
    ],
)
def test_the_chart_and_kustomize_say_the_same(values: tuple[str, ...], folder: Path) -> None:
    def told_apart(among: list[Object]) -> dict[tuple[str, str], Object]:
        compared = [one for one in among if one["kind"] not in {"ConfigMap", "Namespace"}]
        return {(one["kind"], one["metadata"]["name"]): comparable(one) for one in compared}

    assert told_apart(templated(*values)) == told_apart(kustomized(folder))


def test_the_default_configuration_is_that_of_kustomize() -> None:
    assert parsed(CHART / "values.yaml")["config"] == parsed(BASE / "config.yaml")


def test_the_dashboards_are_those_of_kustomize() -> None:
    def shipped(among: list[Object]) -> dict[str, Any]:
        maps = [one for one in among if one["metadata"].get("labels", {}).get("grafana_dashboard") == "1"]
        return {one["metadata"]["name"]: {name: json.loads(text) for name, text in one["data"].items()} for one in maps}

    assert shipped(templated(*EVERYTHING))
    assert shipped(templated(*EVERYTHING)) == shipped(kustomized(OVERLAYS / "monitoring"))


def test_a_release_with_everything_fits_into_the_secret_in_which_helm_keeps_it() -> None:
    # Chart and rendered objects, zipped and in base64, within the megabyte that a Secret may have.
    files = b"".join(path.read_bytes() for path in sorted(CHART.rglob("*")) if path.is_file())
    zipped = gzip.compress(files + json.dumps(templated(*EVERYTHING)).encode())
    assert len(zipped) * 16 // 9 < 2**20


@pytest.mark.parametrize(("value", "kind"), [pytest.param(*pair, id=pair[0]) for pair in TOGGLES.items()])
def test_a_value_turns_an_object_on(value: str, kind: str) -> None:
    assert kind not in {one["kind"] for one in templated()}
    assert kind in {one["kind"] for one in templated(f"{value}.enabled=true")}


FULL = (
    "image.repository=registry.example.com/ml/finetune-monitor",
    "image.digest=sha256:" + "0" * 64,
    "imagePullSecrets[0].name=registry",
    "persistence.existingClaim=old",
    "secretName=keys",
    "nodeSelector.disk=ssd",
    "priorityClassName=low",
    "podLabels.team=ml",
    "tolerations[0].operator=Exists",
    "networkPolicy.enabled=true",
    "networkPolicy.egress[0].ports[0].port=8443",
    "serviceMonitor.enabled=true",
    "serviceMonitor.labels.release=stack",
)


def test_what_may_be_chosen_arrives() -> None:
    among = templated(*FULL, release="other")
    assert container(among)["image"] == "registry.example.com/ml/finetune-monitor@sha256:" + "0" * 64
    spec = pod(among)
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert (spec["nodeSelector"], spec["priorityClassName"]) == ({"disk": "ssd"}, "low")
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == "old"
    assert volumes["secrets"]["secret"]["secretName"] == "keys"
    assert "PersistentVolumeClaim" not in {one["kind"] for one in among}
    assert only("NetworkPolicy", among)["spec"]["egress"][-1] == {"ports": [{"port": 8443}]}
    assert only("ServiceMonitor", among)["metadata"]["labels"]["release"] == "stack"
    assert {one["metadata"]["name"].startswith("other-finetune-monitor") for one in among} == {True}


def test_the_links_of_alerts_lead_where_the_values_say() -> None:
    places = (
        "prometheusRule.grafana=https://grafana.example.com/",
        "prometheusRule.runbooks=https://wiki.example.com/x",
    )
    groups = only("PrometheusRule", templated("prometheusRule.enabled=true", *places))["spec"]["groups"]
    alerts = [rule["annotations"] for group in groups for rule in group["rules"] if "alert" in rule]
    assert alerts
    assert {alert["dashboard_url"].partition("/d/")[0] for alert in alerts} == {"https://grafana.example.com"}
    assert {alert["runbook_url"].partition("#")[0] for alert in alerts} == {"https://wiki.example.com/x"}


def test_a_changed_configuration_is_a_new_pod() -> None:
    def noticed(*values: str) -> str:
        annotations = only("Deployment", templated(*values))["spec"]["template"]["metadata"]["annotations"]
        return str(annotations["checksum/config"])

    assert noticed() != noticed("config.poll.interval=10s")
    assert noticed() == noticed("service.port=80")


def test_what_was_told_outlives_the_release() -> None:
    assert only("PersistentVolumeClaim", templated())["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "annotations" not in only("PersistentVolumeClaim", templated("persistence.keep=false"))["metadata"]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("replicas=2", id="a second replica of one SQLite file"),
        pytest.param("image.tag=latest", id="an image that floats"),
        pytest.param("persistence.accessModes[0]=ReadWriteMany", id="a volume for several pods"),
        pytest.param("config.organizations=null", id="no organisation"),
        pytest.param("serviceMonitor.interval=often", id="an interval that is none"),
        pytest.param("networkPolicy.enable=true", id="a misspelt name"),
    ],
)
def test_values_that_would_not_work_are_refused(value: str) -> None:
    done = told("helm", "template", "release", CHART, "--set", value)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr


def test_the_chart_is_of_the_programs_version() -> None:
    chart = parsed(CHART / "Chart.yaml")
    assert chart["version"] == chart["appVersion"] == __version__
    assert chart["kubeVersion"] == f">={OLDEST}-0"


def test_what_the_chart_shares_is_linked_and_not_copied() -> None:
    shared = {path for path in (CHART / "files").rglob("*") if not path.is_dir()}
    assert all(path.is_symlink() for path in shared)
    assert {path.resolve() for path in shared} == {DEPLOY / "prometheus" / "rules.yaml", *DASHBOARDS}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param("secretName=keys", "create secret generic keys", id="your own organisations"),
        pytest.param("demo=true", "simulated organisations", id="demo"),
    ],
)
def test_the_notes_say_what_comes_next(value: str, said: str) -> None:
    done = told("helm", "install", "release", CHART, "--dry-run=client", "--set", value)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert "port-forward service/release-finetune-monitor 10877:10877" in done.stdout
