"""The Compose files are valid, restrict every service, and match the files they mount."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from monitor import __version__
from monitor.cli import main
from tests.deploy.promql import DEPLOY, parsed
from tests.deploy.tools import installed, run

COMPOSE = DEPLOY / "compose.yaml"
OWN = DEPLOY / "compose.own.yaml"
POSTGRES = DEPLOY / "compose.postgres.yaml"
SERVICES: dict[str, Any] = parsed(COMPOSE)["services"]
each_service = pytest.mark.parametrize("service", [pytest.param(of, id=name) for name, of in SERVICES.items()])


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(COMPOSE, id="demo"),
        pytest.param(OWN, id="own organisations"),
        pytest.param(POSTGRES, id="postgresql"),
    ],
)
def test_the_file_is_a_compose_file(path: Path) -> None:
    run(installed("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", path)


@each_service
def test_a_service_has_no_root_no_capabilities_and_a_read_only_file_system(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service["user"].startswith(("0", "root"))


@each_service
def test_a_service_has_limits_for_memory_processor_processes_and_log(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert 0 < service["cpus"] <= 1
    assert 0 < service["pids_limit"] <= 256
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


def test_the_monitors_image_is_of_this_version_unless_told_otherwise() -> None:
    assert SERVICES["monitor"]["image"] == f"finetune-monitor:${{FINETUNE_MONITOR_VERSION:-{__version__}}}"


@each_service
def test_a_service_is_reachable_from_this_machine_alone(service: dict[str, Any]) -> None:
    assert service["ports"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


@each_service
def test_a_service_writes_to_one_named_volume(service: dict[str, Any]) -> None:
    writable = [volume.split(":")[0] for volume in service["volumes"] if not volume.endswith(":ro")]
    assert len(writable) == 1
    assert writable[0] in parsed(COMPOSE)["volumes"]


@each_service
def test_a_service_reads_files_that_are_there(service: dict[str, Any]) -> None:
    for volume in service["volumes"]:
        if volume.startswith("./"):
            assert (DEPLOY / volume.split(":")[0]).is_dir(), volume


@pytest.mark.parametrize("name", ["prometheus", "alertmanager", "grafana"])
def test_an_image_of_others_is_pinned_and_says_whether_it_is_well(name: str) -> None:
    assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", SERVICES[name]["image"])
    assert "healthcheck" in SERVICES[name]


def test_prometheus_finds_the_monitor_and_alertmanager_under_their_names_and_ports() -> None:
    config = parsed(DEPLOY / "prometheus" / "prometheus.yml")
    targets = {
        target
        for scrape in config["scrape_configs"]
        for static in scrape["static_configs"]
        for target in static["targets"]
    }
    assert "monitor:10877" in targets
    assert config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] == ["alertmanager:9093"]
    assert SERVICES["monitor"]["ports"] == ["127.0.0.1:10877:10877"]


def test_grafana_finds_prometheus_and_its_home_dashboard() -> None:
    (source,) = parsed(DEPLOY / "grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = parsed(DEPLOY / "grafana/provisioning/dashboards/files.yaml")["providers"]
    inside = provider["options"]["path"]
    assert f"./grafana/dashboards:{inside}:ro" in SERVICES["grafana"]["volumes"]
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (DEPLOY / "grafana/dashboards" / home.relative_to(inside)).is_file()


def test_own_organisations_change_nothing_but_what_the_monitor_reads() -> None:
    own = parsed(OWN)
    assert list(own) == ["services"]
    assert list(own["services"]) == ["monitor"]
    monitor = own["services"]["monitor"]
    assert set(monitor) == {"command", "volumes"}
    assert all(volume["read_only"] for volume in monitor["volumes"])
    assert monitor["command"][:3] == ["run", "--config", monitor["volumes"][0]["target"]]


@pytest.mark.parametrize("path", [pytest.param(COMPOSE, id="demo"), pytest.param(OWN, id="own organisations")])
def test_the_monitor_is_started_with_options_it_has(path: Path) -> None:
    name, *options = parsed(path)["services"]["monitor"]["command"]
    command = main.commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {option for option in options if option.startswith("--")} <= known


def test_postgresql_is_denied_what_the_others_are_and_reachable_from_them_alone() -> None:
    postgres, known = parsed(POSTGRES)["services"]["postgres"], SERVICES["prometheus"]
    for key in ("read_only", "cap_drop", "security_opt", "restart", "logging", "pids_limit"):
        assert postgres[key] == known[key], key
    assert "ports" not in postgres
    assert not postgres["user"].startswith(("0", "root"))
    assert re.fullmatch(r"postgres:\d+\.\d+", postgres["image"])
    assert not [name for name in postgres["environment"] if name.endswith("PASSWORD")], "a file has it"
    assert parsed(POSTGRES)["services"]["monitor"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
