"""Every dashboard equals its code, is valid and readable, and queries only what the monitor exports."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.grafana.boards.__main__ import files
from monitor.metrics.families import FAMILIES
from tests.deploy.promql import DASHBOARDS, PROMETHEUS_OWN, ROOT, Asked, asked, dashboard, exported, rules, strangers
from tests.deploy.tools import needs, run

CORE_PANELS = {"row", "stat", "timeseries", "table", "bargauge", "state-timeline"}
EXPRESSIONS = [pytest.param(one, id=f"{one.board}, {one.panel}") for path in DASHBOARDS for one in asked(path)]
PANELS = [
    pytest.param(panel, id=f"{path.stem}, {panel['title']}")
    for path in DASHBOARDS
    for panel in dashboard(path)["panels"]
    if panel["type"] != "row"
]
each_dashboard = pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in DASHBOARDS])


def test_the_files_are_what_the_code_makes() -> None:
    wanted = files()
    assert set(DASHBOARDS) == set(wanted)
    for path, text in wanted.items():
        assert path.read_text() == text, f"{path.name} is stale: run make dashboards"


def test_a_stale_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main = sys.modules["deploy.grafana.boards.__main__"]
    monkeypatch.setattr(main, "FOLDER", tmp_path)
    assert main.main(["--check"]) == len(DASHBOARDS)
    assert main.main([]) == 0
    assert main.main(["--check"]) == 0
    (tmp_path / "job.json").write_text("{}")
    (tmp_path / "old.json").write_text("{}")
    assert main.main(["--check"]) == 2


@needs("promtool")
@each_dashboard
def test_prometheus_understands_every_expression(path: Path, tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": one.expression} for number, one in enumerate(asked(path))]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    run("promtool", "check", "rules", file)


@pytest.mark.parametrize("one", EXPRESSIONS)
def test_a_panel_asks_only_for_series_and_labels_that_there_are(one: Asked) -> None:
    assert strangers(one.expression, exported() | PROMETHEUS_OWN) == set()


def test_series_and_labels_that_nobody_has_are_found() -> None:
    expression = 'sum by (org, colour) (finetune_jobs{team="a", org="b"}) / finetune_jobz > up'
    assert strangers(expression, exported() | PROMETHEUS_OWN) == {"(colour)", "finetune_jobs{team}", "finetune_jobz"}


@pytest.mark.parametrize("one", EXPRESSIONS)
def test_every_variable_of_an_expression_is_one_grafana_fills(one: Asked) -> None:
    assert "$" not in one.expression


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_explains_itself_and_names_its_unit(panel: dict[str, Any]) -> None:
    assert panel["type"] in CORE_PANELS
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])


@pytest.mark.parametrize("panel", PANELS)
def test_the_queries_of_a_panel_can_be_told_apart(panel: dict[str, Any]) -> None:
    targets = panel["targets"]
    references = [target["refId"] for target in targets]
    assert len(set(references)) == len(references)
    if panel["type"] == "timeseries":
        legends = [target["legendFormat"] for target in targets]
        assert len(set(legends)) == len(legends)
        assert panel["options"]["legend"]["showLegend"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_bar_has_room_for_its_name_and_its_value(path: Path) -> None:
    for panel in dashboard(path)["panels"]:
        if panel["type"] == "bargauge":
            options = panel["options"]
            assert options["namePlacement"] == "top"
            assert options["minVizHeight"] >= options["text"]["titleSize"] * 1.5 + options["text"]["valueSize"]


@pytest.mark.parametrize("panel", [panel for panel in PANELS if panel.values[0]["type"] == "table"])  # type: ignore[index] # every parameter is a panel's dict
def test_every_answer_of_a_table_is_a_column_with_a_title(panel: dict[str, Any]) -> None:
    (options,) = (step["options"] for step in panel["transformations"] if step["id"] == "organize")
    answers = {f"Value #{target['refId']}" for target in panel["targets"]}
    assert answers <= set(options["renameByName"]) | set(options["excludeByName"])
    labels = {label for target in panel["targets"] for label in _by(target["expr"])}
    assert labels <= set(options["renameByName"]), "a label without a column"
    titles = list(options["renameByName"].values())
    assert {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]} <= set(titles)
    assert panel["options"]["sortBy"][0]["displayName"] in titles


@each_dashboard
def test_panels_have_ids_of_their_own_and_do_not_overlap(path: Path) -> None:
    panels = dashboard(path)["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)
    assert 0 not in ids
    taken = [cell for panel in panels for cell in _cells(panel["gridPos"])]
    assert len(set(taken)) == len(taken)
    assert all(column < 24 for column, _ in taken)


@each_dashboard
def test_a_dashboard_is_made_for_the_grafana_it_is_shipped_with(path: Path) -> None:
    content = dashboard(path)
    assert content["schemaVersion"] == 41
    variables = [variable["name"] for variable in content["templating"]["list"]]
    chosen = ["datasource", "cluster", "monitor", "label", "value", "org"]
    assert variables == chosen + {"job": ["job"], "overview": ["top"]}.get(path.stem, [])
    assert content["uid"] == f"finetune-{path.stem}"
    assert "id" not in content


@each_dashboard
def test_a_dashboard_leads_to_the_others(path: Path) -> None:
    (link,) = dashboard(path)["links"]
    assert (link["type"], link["tags"]) == ("dashboards", ["finetune-monitor"])
    assert link["includeVars"]
    assert link["keepTime"]
    assert set(link["tags"]) <= set(dashboard(path)["tags"])


def test_links_lead_to_dashboards_there_are() -> None:
    texts = [*(path.read_text() for path in DASHBOARDS), (ROOT / "deploy/prometheus/rules.yaml").read_text()]
    linked = {uid for text in texts for uid in re.findall(r"/d/([\w-]+)", text)}
    assert linked == {f"finetune-{path.stem}" for path in DASHBOARDS}


@each_dashboard
def test_every_question_of_a_panel_is_to_the_monitors_that_were_chosen(path: Path) -> None:
    # Thanos and Mimir have the series of several monitors; without this they would be merged.
    asked_of = [target["expr"] for panel in dashboard(path)["panels"] for target in panel.get("targets", ())]
    selectors = [
        text
        for expression in asked_of
        for text in re.findall(r"\b(?:finetune_\w+|up|scrape_\w+)\b({[^}]*})?", expression)
    ]
    assert selectors
    assert [text for text in selectors if 'cluster=~"$cluster", job=~"$monitor"' not in text] == []


def test_the_monitors_can_be_told_apart_and_organisations_chosen_by_a_label_of_theirs() -> None:
    for path in DASHBOARDS:
        variables = {one["name"]: one for one in dashboard(path)["templating"]["list"]}
        assert variables["cluster"]["query"]["query"].endswith(", cluster)")
        assert variables["monitor"]["query"]["query"].endswith(", job)")
        assert variables["cluster"]["allValue"] == ".*"  # also if nothing has such a label
        # "All" means the existing values: other jobs have an `up`, and other organisations have other labels.
        assert not variables["monitor"].get("allValue")
        assert not variables["org"].get("allValue")
        assert '$label=~"$value"' in variables["org"]["query"]["query"]
        assert variables["label"]["query"] == "team"


def test_the_loss_panels_show_a_chosen_number_of_jobs_by_their_names() -> None:
    panels = {panel["title"]: panel for panel in dashboard(ROOT / "deploy/grafana/dashboards/overview.json")["panels"]}
    for title in ("Training loss", "Validation loss"):
        (target,) = panels[title]["targets"]
        assert "topk($top, " in target["expr"]
        assert target["legendFormat"].startswith("{{name}} ")


def test_a_job_is_chosen_by_its_name() -> None:
    (job,) = (
        one
        for one in dashboard(ROOT / "deploy/grafana/dashboards/job.json")["templating"]["list"]
        if one["name"] == "job"
    )
    pattern = job["regex"].strip("/").replace("?<", "?P<")
    listed = '{job_id="ftjob-1", name="triage", org="search", title="triage search ftjob-1"}'
    assert re.search(pattern, listed).groupdict() == {"value": "ftjob-1", "text": "triage search ftjob-1"}  # type: ignore[union-attr] # no match fails here, as it should
    unnamed = '{job_id="ftjob-2", org="search", title=" search ftjob-2"}'
    assert re.search(pattern, unnamed).groupdict() == {"value": "ftjob-2", "text": "search ftjob-2"}  # type: ignore[union-attr] # no match fails here, as it should


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_titles_are_in_the_words_of_the_trade(path: Path) -> None:
    titles = [panel["title"] for panel in dashboard(path)["panels"]]
    odd = r"chosen range|begun anew|ahead|that end\b|What it is|Course|given up|in an hour|\bof a (poll|scrape)\b"
    assert [title for title in titles if re.search(odd, title, re.IGNORECASE)] == []


def _by(expression: str) -> set[str]:
    """The labels of an expression's result: those of its first grouping."""
    found = re.search(r"by \(([^)]*)\)", expression)
    return set(found.group(1).split(", ")) if found else set()


def _cells(place: dict[str, int]) -> list[tuple[int, int]]:
    columns = range(place["x"], place["x"] + place["w"])
    rows = range(place["y"], place["y"] + place["h"])
    return [(column, line) for column in columns for line in rows]


_ONCE = re.compile(
    r"(\b(max|min)(\s+by\s*\([^)]*\))?\s*\(\s*((max|last)_over_time\s*\(\s*)?|\b(and|unless)\s+on\s*\([^)]*\)\s*)$"
)
"""What stands before a stored value that is folded over replicas, or only asked for being there."""


def test_what_is_stored_is_told_once_however_many_replicas_are_scraped() -> None:
    stored = {family.name for family in FAMILIES}
    expressions = {f"{one.board}: {one.panel}": one.expression for path in DASHBOARDS for one in asked(path)}
    expressions |= {str(rule.get("alert") or rule["record"]): rule["expr"] for rule in rules()}
    twice = [
        f"{where}: {found.group()}"
        for where, text in expressions.items()
        for found in re.finditer(r"finetune_\w+", text)
        if found.group() in stored or re.sub(r"_(bucket|count|sum)$", "", found.group()) in stored
        if not _ONCE.search(text[: found.start()]) and ": $" not in where  # a variable lists labels
    ]
    assert twice == []
    assert not _ONCE.search("sum by (org) ("), "a sum would be found"
