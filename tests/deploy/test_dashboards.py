"""Every dashboard is valid, readable, and asks only for what the monitor exports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.promql import DASHBOARDS, dashboard, dashboard_expressions, exported, names
from tests.deploy.tools import needs, run

EXPRESSIONS = [pytest.param(*pair, id=pair[0]) for path in DASHBOARDS for pair in dashboard_expressions(path)]
PANELS = [
    pytest.param(panel, id=panel["title"])
    for path in DASHBOARDS
    for panel in dashboard(path)["panels"]
    if panel["type"] != "row"
]
each_dashboard = pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in DASHBOARDS])


@needs("promtool")
@each_dashboard
def test_prometheus_understands_every_expression(path: Path, tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, (_, expression) in enumerate(dashboard_expressions(path))
    ]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    run("promtool", "check", "rules", file)


@pytest.mark.parametrize(("panel", "expression"), EXPRESSIONS)
def test_a_panel_asks_only_for_metrics_the_monitor_exports(panel: str, expression: str) -> None:
    assert names(expression) <= exported(), panel


@pytest.mark.parametrize(("panel", "expression"), EXPRESSIONS)
def test_every_variable_of_an_expression_is_one_grafana_fills(panel: str, expression: str) -> None:
    assert "$" not in expression, panel


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_explains_itself_and_names_its_unit(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@pytest.mark.parametrize("panel", PANELS)
def test_the_queries_of_a_panel_can_be_told_apart(panel: dict[str, Any]) -> None:
    targets = panel["targets"]
    references = [target["refId"] for target in targets]
    assert len(set(references)) == len(references)
    if panel["type"] == "timeseries":
        legends = [target["legendFormat"] for target in targets]
        assert len(set(legends)) == len(legends)
        assert panel["options"]["legend"]["showLegend"]


@each_dashboard
def test_panels_have_ids_of_their_own_and_do_not_overlap(path: Path) -> None:
    panels = dashboard(path)["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)
    taken = [cell for panel in panels for cell in _cells(panel["gridPos"])]
    assert len(set(taken)) == len(taken)
    assert all(column < 24 for column, _ in taken)


@each_dashboard
def test_a_dashboard_is_made_for_the_grafana_it_is_shipped_with(path: Path) -> None:
    content = dashboard(path)
    assert content["schemaVersion"] == 41
    assert [variable["name"] for variable in content["templating"]["list"]] == ["datasource", "org"]
    assert content["uid"].startswith("finetune-")


def _cells(place: dict[str, int]) -> list[tuple[int, int]]:
    columns = range(place["x"], place["x"] + place["w"])
    rows = range(place["y"], place["y"] + place["h"])
    return [(column, line) for column in columns for line in rows]
