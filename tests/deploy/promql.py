"""Where PromQL stands in the deployment's files, and what a monitor exports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from monitor.domain.snapshot import Snapshot
from monitor.metrics.families import FAMILIES
from monitor.metrics.health import Health
from monitor.metrics.own import Own
from monitor.metrics.view import look
from tests.builders import NOON

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))

_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
_NAME = re.compile(r"\bfinetune_[a-z_]+")


def parsed(path: Path) -> Any:
    """A YAML file as plain values."""
    return YAML(typ="safe").load(path)


def dashboard(path: Path) -> dict[str, Any]:
    """A dashboard's file."""
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def dashboard_expressions(path: Path) -> Iterator[tuple[str, str]]:
    """Panel titles and expressions, as Grafana sends them: variables and macros filled in."""
    content = dashboard(path)
    for panel in content["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], _filled(target["expr"])
    for annotation in content["annotations"]["list"]:
        if "expr" in annotation:
            yield annotation["name"], _filled(annotation["expr"])


def rule_expressions() -> Iterator[tuple[str, str]]:
    """Names and expressions of the rules."""
    for group in parsed(DEPLOY / "prometheus" / "rules.yaml")["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def names(expression: str) -> set[str]:
    """The monitor's metrics that an expression asks for."""
    return set(_NAME.findall(expression))


def exported() -> set[str]:
    """The names of all series that a monitor may have."""
    view = look(Snapshot(at=NOON), Health())
    metrics = [*(family(view) for family in FAMILIES), *Own().registry.collect()]
    return {metric.name + suffix for metric in metrics for suffix in _SUFFIXES[metric.type]}


def _filled(expression: str) -> str:
    macros = {"$__range": "3600s", "$__rate_interval": "60s", "$__interval": "15s", "$org": ".*"}
    for macro, value in macros.items():
        expression = re.sub(rf"{re.escape(macro)}\b", value, expression)
    return expression
