"""The alerting rules are valid, tested, and query only what the monitor exports."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import Any

import pytest

from tests.deploy.promql import (
    DASHBOARDS,
    DEPLOY,
    PROMETHEUS_OWN,
    ROOT,
    dashboard,
    exported,
    parsed,
    recorded,
    rules,
    strangers,
)
from tests.deploy.tools import needs, run
from tests.test_repository import PROJECT

PROMETHEUS = DEPLOY / "prometheus"
RULES = [rule for rule in rules() if "alert" in rule]
HOME = PROJECT["project"]["urls"]["Source"]
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text()
every_rule = pytest.mark.parametrize(
    "rule", [pytest.param(rule, id=rule.get("alert") or rule["record"]) for rule in rules()]
)
every_alert = pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["alert"]) for rule in RULES])


@needs("promtool")
def test_prometheus_accepts_its_configuration_and_the_rules() -> None:
    run("promtool", "check", "config", PROMETHEUS / "prometheus.yml")


@needs("promtool")
@pytest.mark.timeout(300)
def test_the_unit_tests_of_the_rules_pass() -> None:
    run("promtool", "test", "rules", PROMETHEUS / "tests.yaml")


@needs("amtool")
def test_alertmanager_accepts_its_configuration() -> None:
    run("amtool", "check-config", DEPLOY / "alertmanager" / "alertmanager.yml")


@every_rule
def test_a_rule_asks_only_for_series_and_labels_that_there_are(rule: dict[str, str]) -> None:
    assert strangers(rule["expr"], exported() | recorded() | PROMETHEUS_OWN) == set()


def test_every_recording_is_read_by_a_later_rule_of_its_group() -> None:
    for group in parsed(PROMETHEUS / "rules.yaml")["groups"]:
        for place, rule in enumerate(group["rules"]):
            if "record" in rule:
                assert any(rule["record"] in later["expr"] for later in group["rules"][place + 1 :]), rule["record"]


def test_every_alert_fires_and_resolves_in_a_unit_test() -> None:
    fired, resolved = set(), set()
    for test in parsed(PROMETHEUS / "tests.yaml")["tests"]:
        firing = set()
        for case in sorted(test["alert_rule_test"], key=lambda case: minutes(case["eval_time"])):
            name = case["alertname"]
            if case["exp_alerts"]:
                firing.add(name)
            elif name in firing:
                resolved.add(name)
        fired |= firing
    everything = {rule["alert"] for rule in RULES}
    assert fired == everything
    assert resolved == everything


def minutes(text: str) -> int:
    """The minutes of a duration in promtool's tests, which have whole minutes or hours."""
    return int(text[:-1]) * {"m": 1, "h": 60}[text[-1]]


@every_alert
def test_an_alert_says_how_bad_it_is_where_to_look_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description", "dashboard_url", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"{HOME}/blob/main/docs/runbooks.md#{rule['alert'].lower()}"
    assert rule["annotations"]["dashboard_url"].startswith("http://127.0.0.1:3000/d/finetune-")


@every_alert
def test_a_scrape_that_fails_neither_resolves_an_alert_nor_lets_it_fire_again(rule: dict[str, Any]) -> None:
    """All series are stale until the next scrape; only the alert on that may resolve with it."""
    bridged = "2m" if rule["alert"] != "FinetuneMonitorMissing" else None
    assert rule.get("keep_firing_for") == bridged


def test_one_line_sets_the_links_of_all_alerts() -> None:
    text = (PROMETHEUS / "rules.yaml").read_text()
    (line,) = re.findall(r"^#   (sed .*) rules\.yaml$", text, re.MULTILINE)
    done = subprocess.run(shlex.split(line), input=text, capture_output=True, text=True, check=True)
    links = re.findall(r"^ +(?:dashboard|runbook)_url: \"(.*)\"$", done.stdout, re.MULTILINE)
    assert len(links) == 2 * len(RULES)
    assert {link.partition("/d/")[0].partition("#")[0] for link in links} == {
        "https://grafana.example.com",
        "https://wiki.example.com/runbooks",
    }


@every_alert
def test_a_runbook_says_what_an_alert_means_what_to_look_at_and_what_to_do(rule: dict[str, Any]) -> None:
    _, _, section = RUNBOOKS.partition(f"\n### {rule['alert']}\n")
    section = re.split(r"^#", section, maxsplit=1, flags=re.MULTILINE)[0]
    assert re.findall(r"^\*\*([\w ]+)\*\*", section, re.MULTILINE) == ["Means", "Look at", "Do"]


def test_no_runbook_is_of_an_alert_that_is_gone() -> None:
    assert set(re.findall(r"^### (\w+)", RUNBOOKS, re.MULTILINE)) == {rule["alert"] for rule in RULES}


def test_the_panels_that_runbooks_name_are_there() -> None:
    titles = {panel["title"] for path in DASHBOARDS for panel in dashboard(path)["panels"]}
    named = set(re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", RUNBOOKS))
    assert named
    assert {name for name in named if not any(title.startswith(name) for title in titles)} == set()


def test_the_alert_on_a_missing_monitor_knows_it_by_its_scrape_job() -> None:
    jobs = {scrape["job_name"] for scrape in parsed(PROMETHEUS / "prometheus.yml")["scrape_configs"]}
    (missing,) = (rule for rule in RULES if rule["alert"] == "FinetuneMonitorMissing")
    assert 'job="finetune-monitor"' in missing["expr"]
    assert "finetune-monitor" in jobs


def test_alertmanager_speaks_only_of_alerts_there_are() -> None:
    text = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text()
    spoken = {word.strip('",|]') for part in text.split() for word in part.split("|") if "Finetune" in word}
    assert spoken
    assert spoken <= {rule["alert"] for rule in RULES}


def test_the_readers_of_the_rules_find_them_beside_the_configuration() -> None:
    for name in parsed(PROMETHEUS / "prometheus.yml")["rule_files"]:
        assert (PROMETHEUS / name).is_file()
    assert (ROOT / "Makefile").read_text().count("deploy/prometheus/") == 2
