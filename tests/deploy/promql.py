"""The PromQL in the deployment's files, the series it queries, and the series that a monitor exports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.test_readme import exported as described

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))

PROMETHEUS_OWN = {
    "up": {"job", "instance", "cluster"},
    "scrape_duration_seconds": {"job", "instance", "cluster"},
    "scrape_samples_scraped": {"job", "instance", "cluster"},
    "ALERTS": {"alertname", "alertstate", "severity", "org", "job_id", "notifier"},
}
_SUFFIXES = {"counter": ("",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
_NAME = re.compile(r"(?<![\w:$])(?:[a-z_]+:)?(?:finetune_\w+|up|scrape_\w+|ALERTS)(?::\w+)?(?=[{\s)\[]|$)")
_SELECTOR = re.compile(rf"({_NAME.pattern})\s*{{([^}}]*)}}")
_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
_GROUPING = re.compile(r"\b(?:by|on|group_left|without|ignoring)\s*\(([^)]*)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An expression of a dashboard as Grafana sends it, with variables and macros filled in."""

    board: str
    panel: str
    expression: str
    instant: bool


def parsed(path: Path) -> Any:
    """A YAML file as plain values."""
    return YAML(typ="safe").load(path)


def dashboard(path: Path) -> dict[str, Any]:
    """A dashboard's file."""
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def asked(path: Path) -> Iterator[Asked]:
    """Every expression of a dashboard: panels, annotations and variables, for any job."""
    content = dashboard(path)
    board = path.stem
    for panel in content["panels"]:
        for target in panel.get("targets", ()):
            yield Asked(
                board=board,
                panel=panel["title"],
                expression=_filled(target["expr"]),
                instant=target.get("instant", False),
            )
    for annotation in content["annotations"]["list"]:
        if "expr" in annotation:
            yield Asked(board=board, panel=annotation["name"], expression=_filled(annotation["expr"]), instant=False)
    for variable in content["templating"]["list"]:
        if variable["type"] == "query":
            query = _filled(variable["query"]["query"])
            if values := re.fullmatch(r"label_values\((.*), (\w+)\)", query):
                expression = f"count by ({values[2]}) ({values[1]})"
            else:
                expression = re.fullmatch(r"query_result\((.*)\)", query)[1]  # type: ignore[index] # a variable that is written otherwise fails here, as it should
            yield Asked(board=board, panel=f"${variable['name']}", expression=expression, instant=True)


@cache
def rules() -> list[dict[str, Any]]:
    """The alerting and recording rules."""
    return [rule for group in parsed(DEPLOY / "prometheus" / "rules.yaml")["groups"] for rule in group["rules"]]


def recorded() -> dict[str, set[str]]:
    """The recording rules with the labels that their names promise."""
    known = {label for labels in exported().values() for label in labels}
    names = [rule["record"] for rule in rules() if "record" in rule]
    return {name: {label for label in known if label in _words(name)} for name in names}


def names(expression: str) -> set[str]:
    """The series in an expression."""
    return set(_NAME.findall(_GROUPING.sub("", expression)))


def strangers(expression: str, known: Mapping[str, set[str]]) -> set[str]:
    """What an expression uses that does not exist: `name`, `name{label}`, or `(label)` of a grouping."""
    asked_for = names(expression)
    found = {name for name in asked_for if name not in known}
    for name, matchers in _SELECTOR.findall(expression):
        found |= {f"{name}{{{label}}}" for label in _MATCHER.findall(matchers) if label not in known.get(name, set())}
    somewhere = set().union(*(known.get(name, set()) for name in asked_for))
    for labels in _GROUPING.findall(expression):
        found |= {f"({label})" for label in labels.replace(" ", "").split(",") if label and label not in somewhere}
    return found


@cache
def exported() -> dict[str, set[str]]:
    """The names of all series of a busy monitor, with their labels after Prometheus has scraped them.

    `cluster` is an external label, as in Thanos and Mimir.
    """
    return {
        name + suffix: {*labels, "job", "instance", "cluster", *(["le"] if suffix == "_bucket" else [])}
        for name, (kind, labels) in described().items()
        for suffix in _SUFFIXES[kind]
    }


def _words(name: str) -> set[str]:
    """The words of a recording rule's name: `org_status:finetune_…` has `org` and `status`."""
    return set(name.split(":", maxsplit=1)[0].split("_"))


def _filled(expression: str) -> str:
    macros = {
        "$__range": "3600s",
        "$__rate_interval": "60s",
        "$__interval": "15s",
        "$cluster": ".*",
        "$monitor": ".*",
        "$label": "org",
        "$value": ".*",
        "$org": ".*",
        "$top": "10",
        'job_id="$job"': 'job_id=~".+"',
    }
    for macro, value in macros.items():
        expression = re.sub(rf"{re.escape(macro)}(?!\w)", value, expression)
    return expression
