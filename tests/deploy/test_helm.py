"""The chart is valid, renders the same objects as kustomize, and its values switch features on and off."""

from __future__ import annotations

import gzip
import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from monitor import __version__
from tests.deploy.manifests import (
    BASE,
    CHART,
    EVERYTHING,
    OLDER_HELMS,
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


REPLICAS = (
    "replicas=3",
    "postgresql.enabled=true",
    "config=store: {url_file: /run/secrets/finetune-monitor/database}",
)


def comparable(one: Object) -> Object:
    """An object without what each tool adds: the managing tool, and the marker for changed configuration."""
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
        pytest.param((*EVERYTHING, *REPLICAS), OVERLAYS / "replicas", id="replicas"),
    ],
)
def test_the_chart_and_kustomize_say_the_same(values: tuple[str, ...], folder: Path) -> None:
    def told_apart(among: list[Object]) -> dict[tuple[str, str], Object]:
        compared = [one for one in among if one["kind"] not in {"ConfigMap", "Namespace"}]
        return {(one["kind"], one["metadata"]["name"]): comparable(one) for one in compared}

    assert told_apart(templated(*values)) == told_apart(kustomized(folder))


def test_the_default_configuration_is_that_of_kustomize() -> None:
    assert configuration(templated()) == (BASE / "config.yaml").read_text()


def test_the_dashboards_are_those_of_kustomize() -> None:
    def shipped(among: list[Object]) -> dict[str, Any]:
        maps = [one for one in among if one["metadata"].get("labels", {}).get("grafana_dashboard") == "1"]
        return {one["metadata"]["name"]: {name: json.loads(text) for name, text in one["data"].items()} for one in maps}

    assert shipped(templated(*EVERYTHING))
    assert shipped(templated(*EVERYTHING)) == shipped(kustomized(OVERLAYS / "monitoring"))


def test_a_release_with_everything_fits_into_the_secret_in_which_helm_keeps_it() -> None:
    # Chart and rendered objects, zipped and in base64, must fit into a Secret of one megabyte.
    files = b"".join(path.read_bytes() for path in sorted(CHART.rglob("*")) if path.is_file())
    zipped = gzip.compress(files + json.dumps(templated(*EVERYTHING)).encode())
    assert len(zipped) * 16 // 9 < 2**20


@pytest.mark.parametrize(("value", "kind"), [pytest.param(*pair, id=pair[0]) for pair in TOGGLES.items()])
def test_a_value_turns_an_object_on(value: str, kind: str) -> None:
    assert kind not in {one["kind"] for one in templated()}
    assert kind in {one["kind"] for one in templated(f"{value}.enabled=true")}


FULL = (
    "nameOverride=watch",
    "existingConfigMap=configuration",
    "serviceAccount.create=false",
    "serviceAccount.name=watcher",
    "extraEnv[0].name=OPENAI_KEY",
    "extraEnv[0].value=sk-0",
    "extraEnvFrom[0].secretRef.name=keys",
    "extraArgs[0]=--log-level=debug",
    "extraVolumes[0].name=prices",
    "extraVolumes[0].configMap.name=prices",
    "extraVolumeMounts[0].name=prices",
    "extraVolumeMounts[0].mountPath=/prices",
    "livenessProbe.httpGet.scheme=HTTPS",
    "ingress.enabled=true",
    "ingress.className=nginx",
    "ingress.annotations.a/b=c",
    "ingress.hosts[0].host=monitor.example.com",
    "ingress.tls[0].secretName=tls",
    "image.repository=registry.example.com/ml/finetune-monitor",
    "image.digest=sha256:" + "0" * 64,
    "imagePullSecrets[0].name=registry",
    "persistence.existingClaim=old",
    "existingSecret=keys",
    "nodeSelector.disk=ssd",
    "priorityClassName=low",
    "podLabels.team=ml",
    "tolerations[0].operator=Exists",
    "networkPolicy.enabled=true",
    "networkPolicy.egress[0].ports[0].port=8443",
    "serviceMonitor.enabled=true",
    "serviceMonitor.labels.release=stack",
    "serviceMonitor.namespace=monitoring",
    "serviceMonitor.annotations.a/b=c",
    "serviceMonitor.scheme=https",
    "serviceMonitor.tlsConfig.insecureSkipVerify=true",
    "serviceMonitor.basicAuth.username.name=login",
    "serviceMonitor.basicAuth.username.key=user",
    "serviceMonitor.relabelings[0].targetLabel=cluster",
    "serviceMonitor.relabelings[0].replacement=eu",
    "serviceMonitor.metricRelabelings[0].action=labeldrop",
    "serviceMonitor.metricRelabelings[0].regex=pod",
)
OPENSHIFT = tuple(f"podSecurityContext.{key}=null" for key in ("runAsUser", "runAsGroup", "fsGroup"))
CASE = """\
config:
  organizations:
    - {name: research, provider: openai, api_key_file: /run/secrets/finetune-monitor/research}
  notifiers:
    - {name: team, type: slack, webhook_url_file: /run/secrets/finetune-monitor/slack-hook}
  routes:
    - on: [failed, stalled]
      notify: [team]
  store: {url: "sqlite:////data/monitor.db"}
"""
each_helm = pytest.mark.parametrize(
    "helm", ["helm", *(pytest.param(name, marks=with_tools(name)) for name in OLDER_HELMS)]
)


def configuration(among: list[Object]) -> str:
    """The configuration that the monitor reads."""
    (text,) = (one["data"]["config.yaml"] for one in among if "config.yaml" in one.get("data", {}))
    return str(text)


@each_helm
def test_a_map_of_values_keeps_the_on_of_its_routes(helm: str, tmp_path: Path) -> None:
    # Helm's values are YAML 1.1, in which a bare `on` is the boolean true.
    values = tmp_path / "values.yaml"
    values.write_text(CASE)
    done = told(helm, "template", "release", CHART, "--values", values)
    assert done.returncode == 0, done.stderr
    told_tree = YAML(typ="safe").load(configuration(objects(done.stdout)))
    assert told_tree == YAML(typ="safe").load(CASE)["config"]


@each_helm
def test_text_reaches_the_monitor_as_it_is(helm: str, tmp_path: Path) -> None:
    text = YAML_TRAPS
    file = tmp_path / "monitor.yaml"
    file.write_text(text)
    done = told(helm, "template", "release", CHART, "--set-file", f"config={file}")
    assert done.returncode == 0, done.stderr
    assert configuration(objects(done.stdout)) == text


YAML_TRAPS = """\
# A comment stays, and so does {{ what looks like a template }}.
organizations:
  - name: research
    labels: {on: yes, country: no, version: 1.10}
routes:
  - on: [failed]
    notify: [team]

templates:
  short: {title: "{{ job.id }}", text: |
    a
      b}
"""


@each_helm
def test_another_key_that_would_become_a_boolean_is_refused_with_the_reason(helm: str, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("config:\n  organizations:\n    - {name: a, labels: {no: 1}}\n")
    done = told(helm, "template", "release", CHART, "--values", values)
    assert done.returncode != 0
    assert "config.organizations[0].labels has a key that YAML 1.1 reads as the boolean false" in done.stderr
    assert "--set-file config=FILE" in done.stderr


@each_helm
@pytest.mark.parametrize("values", [(), EVERYTHING, FULL, ("demo=true",), OPENSHIFT], ids=str)
def test_an_older_helm_renders_the_same(helm: str, values: tuple[str, ...]) -> None:
    assert templated(*values, by=helm) == templated(*values)


def test_the_oldest_helm_that_is_promised_is_tested() -> None:
    (promised,) = re.findall(r"Helm ([\d.]+) or newer, or 4", (DEPLOY / "README.md").read_text())
    assert f"helm-{promised}" == OLDER_HELMS[0]
    for helm, version in [(OLDER_HELMS[0], f"v{promised}."), ("helm", "v4.")]:
        assert told(helm, "version", "--short").stdout.startswith(version)


def test_on_openshift_the_cluster_chooses_the_user() -> None:
    around = pod(templated(*OPENSHIFT))["securityContext"]
    assert around == {
        "runAsNonRoot": True,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert "securityContext" not in pod(templated("podSecurityContext=null"))
    assert "runAsUser" not in container(templated(*OPENSHIFT))["securityContext"]


def test_without_a_volume_the_database_is_in_the_pod() -> None:
    among = templated("persistence.enabled=false")
    assert "PersistentVolumeClaim" not in {one["kind"] for one in among}
    assert {"name": "data", "emptyDir": {}} in pod(among)["volumes"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        pytest.param(("replicas=2",), "cannot share an SQLite file", id="replicas of a file"),
        pytest.param(("postgresql.enabled=true",), "still an SQLite file", id="a configuration that names a file"),
        pytest.param((*REPLICAS, "demo=true"), "the demo keeps its database", id="the demo"),
    ],
)
def test_pods_that_could_not_share_a_database_are_refused(values: tuple[str, ...], reason: str) -> None:
    done = told("helm", "template", "release", CHART, *(part for value in values for part in ("--set", value)))
    assert done.returncode != 0
    assert reason in done.stderr


def test_replicas_are_spread_as_the_values_say_and_reach_the_pooler() -> None:
    spread = ("topologySpreadConstraints[0].maxSkew=1", "topologySpreadConstraints[0].topologyKey=rack")
    among = templated(*REPLICAS, *spread, "postgresql.port=6432", "networkPolicy.enabled=true")
    assert [one["topologyKey"] for one in pod(among)["topologySpreadConstraints"]] == ["rack"]
    assert {"ports": [{"port": 6432, "protocol": "TCP"}]} in only("NetworkPolicy", among)["spec"]["egress"]
    assert "topologySpreadConstraints" not in pod(templated())


def test_the_claim_is_of_the_class_and_with_the_annotations_that_were_chosen() -> None:
    claim = only("PersistentVolumeClaim", templated("persistence.storageClass=fast", "persistence.annotations.a/b=c"))
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["metadata"]["annotations"] == {"a/b": "c", "helm.sh/resource-policy": "keep"}
    none = only("PersistentVolumeClaim", templated("persistence.storageClass=-"))
    assert none["spec"]["storageClassName"] == ""
    assert "storageClassName" not in only("PersistentVolumeClaim", templated())["spec"]


def test_the_ingress_leads_to_the_service() -> None:
    host = "monitor.example.com"
    values = ("ingress.enabled=true", f"ingress.hosts[0].host={host}", "ingress.hosts[0].paths[0].path=/watch")
    spec = only("Ingress", templated(*values))["spec"]
    (rule,) = spec["rules"]
    service = only("Service", templated(*values))
    assert rule["host"] == host
    assert rule["http"]["paths"] == [
        {
            "path": "/watch",
            "pathType": "Prefix",
            "backend": {"service": {"name": service["metadata"]["name"], "port": {"name": "http"}}},
        }
    ]
    assert "http" in {port["name"] for port in service["spec"]["ports"]}


def test_a_name_of_ones_own_is_that_of_all_objects() -> None:
    assert {one["metadata"]["name"].split("-")[0] for one in templated(*EVERYTHING, "fullnameOverride=watch")} == {
        "watch"
    }
    names = {one["metadata"]["name"] for one in templated("nameOverride=watch", release="a")}
    assert names == {"a-watch", "a-watch-config"}
    # The alerts use this label as Prometheus' job, whatever the objects are called.
    labels = only("Service", templated("nameOverride=watch"))["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "finetune-monitor"


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
    one = container(among)
    assert one["env"] == [{"name": "OPENAI_KEY", "value": "sk-0"}]
    assert one["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert one["args"][0] == "run"
    assert one["args"][-1] == "--log-level=debug"
    assert {"name": "prices", "mountPath": "/prices"} in one["volumeMounts"]
    assert volumes["prices"] == {"name": "prices", "configMap": {"name": "prices"}}
    assert one["livenessProbe"]["httpGet"] == {"path": "/-/healthy", "port": "http", "scheme": "HTTPS"}
    assert volumes["config"]["configMap"]["name"] == "configuration"
    assert not {"ConfigMap", "ServiceAccount"} & {one["kind"] for one in among}
    assert spec["serviceAccountName"] == "watcher"


def test_what_may_be_chosen_of_the_scraping_arrives() -> None:
    scraped = only("ServiceMonitor", templated(*FULL, release="other"))
    assert scraped["metadata"]["labels"]["release"] == "stack"
    assert (scraped["metadata"]["namespace"], scraped["metadata"]["annotations"]) == ("monitoring", {"a/b": "c"})
    assert scraped["spec"]["namespaceSelector"] == {"matchNames": ["finetune-monitor"]}
    (endpoint,) = scraped["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"] == {"insecureSkipVerify": True}
    assert endpoint["basicAuth"] == {"username": {"name": "login", "key": "user"}}
    assert endpoint["relabelings"] == [{"targetLabel": "cluster", "replacement": "eu"}]
    assert endpoint["metricRelabelings"] == [{"action": "labeldrop", "regex": "pod"}]


def test_all_names_begin_with_the_releases() -> None:
    among = templated(*FULL, release="other")
    assert {one["metadata"]["name"].startswith("other-watch") for one in among} == {True}


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

    assert noticed() != noticed("config=organizations: []")
    assert noticed("config.organizations[0].name=a") != noticed("config.organizations[0].name=b")
    assert noticed() == noticed("service.port=80")


def test_what_was_told_outlives_the_release() -> None:
    assert only("PersistentVolumeClaim", templated())["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert "annotations" not in only("PersistentVolumeClaim", templated("persistence.keep=false"))["metadata"]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("replicas=-1", id="fewer pods than none"),
        pytest.param("image.tag=latest", id="an image that floats"),
        pytest.param("persistence.accessModes[0]=ReadWriteMany", id="a volume for several pods"),
        pytest.param("config=", id="no configuration"),
        pytest.param("config.organizations=", id="no organisation"),
        pytest.param("ingress.enabled=true", id="an ingress for no host"),
        pytest.param("extraEnv[0].name=A,extraEnv[0].value=1", id="a variable that is no text"),
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
        pytest.param("existingSecret=keys", "create secret generic keys", id="your own organisations"),
        pytest.param("demo=true", "simulated organisations", id="demo"),
        pytest.param("persistence.enabled=false", "lost with the pod", id="no volume"),
        pytest.param("ingress.enabled=true,ingress.hosts[0].host=a.example.com", "server.hosts", id="ingress"),
    ],
)
def test_the_notes_say_what_comes_next(value: str, said: str) -> None:
    done = told("helm", "install", "release", CHART, "--dry-run=client", "--set", value)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert "port-forward service/release-finetune-monitor 10877:10877" in done.stdout
