"""A whole dashboard: the layout of its panels, and the variables, links and annotations common to all dashboards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.boards.panels import SOURCE
from deploy.grafana.boards.queries import CLUSTER, JOB, MONITOR, ORG

TAG: Final = "finetune-monitor"
WIDTH: Final = 24
LABELS: Final = "A label that the configuration gives to organisations (organizations[].labels), such as team."
SCHEMA: Final = 41
"""The version of Grafana 11.6; later versions migrate it on import."""


@dataclass(frozen=True, slots=True)
class Place:
    """A panel and its size on a grid of 24 columns."""

    panel: Any
    width: int
    height: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A dashboard. A row without a title has no heading."""

    uid: str
    title: str
    text: str
    rows: Sequence[tuple[str, Sequence[Place]]]
    of_one_job: bool = False
    top: bool = False
    """Whether it has the variable for the number of jobs in loss panels."""
    since: str = "now-24h"

    @property
    def name(self) -> str:
        """The name of the file without its extension."""
        return self.uid.removeprefix("finetune-")


def rendered(board: Board) -> str:
    """The JSON that Grafana imports."""
    made = dashboard.Dashboard(board.title).uid(board.uid).description(board.text).tags([TAG])
    made.editable().tooltip(models.DashboardCursorSync.CROSSHAIR).timezone("browser").refresh("30s").version(1)
    made.time(board.since, "now").fiscal_year_start_month(0)
    made.variables(_variables(board))
    made.link(_siblings())
    for panel in _placed(board):
        made.with_row(panel) if isinstance(panel, dashboard.Row) else made.with_panel(panel)
    plain: dict[str, Any] = json.loads(json.dumps(made.build(), cls=JSONEncoder))
    plain["schemaVersion"] = SCHEMA
    plain["annotations"] = {"list": [_builtin(), *_annotations(board)]}
    return json.dumps(plain, indent=2) + "\n"


def _placed(board: Board) -> Iterator[Any]:
    """The panels with ids and positions. A panel that does not fit into its line starts a new one."""
    number, top = 0, 0
    for heading, places in board.rows:
        if heading:
            number += 1
            yield dashboard.Row(heading).id(number).grid_pos(models.GridPos(h=1, w=WIDTH, x=0, y=top))
            top += 1
        left, height = 0, 0
        for place in places:
            if left + place.width > WIDTH:
                left, top, height = 0, top + height, 0
            number += 1
            yield place.panel.id(number).grid_pos(models.GridPos(h=place.height, w=place.width, x=left, y=top))
            left, height = left + place.width, max(height, place.height)
        top += height


def _variables(board: Board) -> list[Any]:
    """The variables: the monitor, the organisations and their label, and for some dashboards one job."""
    monitors = [
        _query("cluster", "Cluster", "label_values(finetune_monitor_build_info, cluster)", everything=".*"),
        _query(
            "monitor", "Prometheus job", f"label_values(finetune_monitor_build_info{{{CLUSTER}}}, job)", everything=""
        ),
    ]
    organisations = [
        dashboard.TextBoxVariable("label").label("Label").default_value("team").description(LABELS),
        _query("value", "Label value", f"label_values(finetune_jobs{{{MONITOR}}}, $label)", everything=".*"),
        _query(
            "org", "Organisation", f'label_values(finetune_jobs{{{MONITOR}, $label=~"$value"}}, org)', everything=""
        ),
    ]
    return [
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        *monitors,
        *organisations,
        *([_job()] if board.of_one_job else []),
        *([_top()] if board.top else []),
    ]


def _query(name: str, label: str, asked: str, *, everything: str) -> dashboard.QueryVariable:
    """A variable with several values. `everything` is what "All" matches; empty: the existing values."""
    made = dashboard.QueryVariable(name).label(label).datasource(SOURCE)
    made.query({"qryType": 1, "query": asked, "refId": name})
    made.current(models.VariableOption(text=["All"], value=["$__all"])).include_all(True).multi(True)
    made.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)
    return made.all_value(everything) if everything else made


def _job() -> dashboard.QueryVariable:
    """The variable for one job among those with series in the time range, shown with name, organisation and id."""
    known = f"max by (org, job_id, name) (last_over_time(finetune_job_info{{{ORG}}}[$__range]))"
    asked = f'query_result(label_join({known}, "title", " ", "name", "org", "job_id"))'
    made = dashboard.QueryVariable("job").label("Job").datasource(SOURCE)
    made.query({"qryType": 3, "query": asked, "refId": "job"})
    made.regex('/job_id="(?<value>[^"]*)".*title="\\s*(?<text>[^"]*)"/')
    return made.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)


def _top() -> dashboard.CustomVariable:
    """The variable for the number of jobs in loss panels."""
    chosen = models.VariableOption(text="10", value="10", selected=True)
    return dashboard.CustomVariable("top").label("Jobs in loss panels").values("5,10,25,50").current(chosen)


def _siblings() -> dashboard.DashboardLink:
    """Links to the other dashboards with the same time range and variables."""
    return (
        dashboard.DashboardLink("Fine-tuning")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .icon("external link")
        .tooltip("")
        .url("")
        .as_dropdown(False)
        .include_vars(True)
        .keep_time(True)
    )


def _builtin() -> dict[str, Any]:
    return {
        "builtIn": 1,
        "type": "dashboard",
        "name": "Annotations & Alerts",
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": True,
        "hide": True,
        "iconColor": "rgba(0, 211, 255, 1)",
    }


def _annotations(board: Board) -> Iterator[dict[str, Any]]:
    """The annotations of time series, as JSON: the typed builder lacks their titles and texts."""
    asked = 'ALERTS{alertname=~"Finetune.*", alertstate="firing"}'
    if board.of_one_job:
        asked = 'ALERTS{alertname=~"Finetune.*", alertstate="firing", job_id="$job"}'
        status = f"finetune_job_status{{{JOB}}}"
        fresh = f"max by (org, job_id, status) ({status})\nunless max by (org, job_id, status) ({status} offset 1m)"
        yield _annotation("Status", fresh, "blue", "{{status}}", "{{org}} {{job_id}}")
    yield _annotation("Alerts", asked, "red", "{{alertname}}", "{{org}} {{job_id}} {{notifier}}")


def _annotation(name: str, asked: str, colour: str, title: str, text: str) -> dict[str, Any]:
    return {
        "name": name,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "enable": True,
        "iconColor": colour,
        "expr": asked,
        "titleFormat": title,
        "textFormat": text,
        "step": "60s",
    }
