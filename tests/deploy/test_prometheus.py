"""The alerting rules are right, tested, and ask only for what the monitor exports."""

from __future__ import annotations

import pytest

from tests.deploy.promql import DEPLOY, ROOT, exported, names, parsed, rule_expressions
from tests.deploy.tools import needs, run

PROMETHEUS = DEPLOY / "prometheus"
RULES = [rule for group in parsed(PROMETHEUS / "rules.yaml")["groups"] for rule in group["rules"]]


@needs("promtool")
def test_prometheus_accepts_its_configuration_and_the_rules() -> None:
    run("promtool", "check", "config", PROMETHEUS / "prometheus.yml")


@needs("promtool")
def test_the_unit_tests_of_the_rules_pass() -> None:
    run("promtool", "test", "rules", PROMETHEUS / "tests.yaml")


@needs("amtool")
def test_alertmanager_accepts_its_configuration() -> None:
    run("amtool", "check-config", DEPLOY / "alertmanager" / "alertmanager.yml")


@pytest.mark.parametrize(("alert", "expression"), [pytest.param(*rule, id=rule[0]) for rule in rule_expressions()])
def test_a_rule_asks_only_for_metrics_the_monitor_exports(alert: str, expression: str) -> None:
    assert names(expression) <= exported(), alert


def test_every_alert_fires_and_stays_silent_in_a_unit_test() -> None:
    tests = parsed(PROMETHEUS / "tests.yaml")["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    fired = {case["alertname"] for case in cases if case["exp_alerts"]}
    silent = {case["alertname"] for case in cases if not case["exp_alerts"]}
    everything = {rule["alert"] for rule in RULES}
    assert fired == everything
    assert silent == everything


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["alert"]) for rule in RULES])
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description"}


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
