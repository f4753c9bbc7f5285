"""Tables whose columns are labels and query results, joined by the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grafana_foundation_sdk.builders import common, table
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.boards.panels import STATUSES, described, query, steps

Labels = Mapping[str, str]
"""Label names with the titles of their columns, in order."""

TO_JOB = (
    "/d/finetune-job?${datasource:queryparam}&${cluster:queryparam}&${monitor:queryparam}&var-org=${__data.fields.Organisation}&var-job=${__value.raw}"
    "&${__url_time_range}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The results of one query. Without a title they only determine the rows."""

    title: str = ""
    ask: str
    unit: str = "short"
    decimals: int | None = None
    bar: float | None = None
    """Show the value as a bar that is full at this value."""
    words: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The text and colour shown for a value."""
    colours: Sequence[tuple[float | None, str]] = ()


def rows(title: str, text: str, labels: Labels, columns: Sequence[Column], *, sort: tuple[str, bool]) -> table.Panel:
    """A table. `sort` is the column to sort by, and whether in descending order."""
    names = [_reference(column, number) for number, column in enumerate(columns)]
    queries = [
        query(column.ask, "__auto", instant=True, ref=name).format(PromQueryFormat.TABLE)
        for name, column in zip(names, columns, strict=True)
    ]
    panel = described(table.Panel(), title, text, "short", queries)
    panel.thresholds(steps((None, "green"))).show_header(True).cell_height(looks.TableCellHeight.SM)
    panel.min_width(60).align(looks.FieldTextAlignment.AUTO).cell_options(looks.TableAutoCellOptions())
    panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(_organised(labels, dict(zip(names, columns, strict=True))))
    panel.sort_by([_sorted(*sort)])
    for column in columns:
        if column.title and (properties := _properties(column)):
            panel.override_by_name(column.title, properties)
    return _labels(panel, labels)


def _labels(panel: table.Panel, labels: Labels) -> table.Panel:
    if "job_id" in labels:
        link = {"title": "The job's dashboard", "url": TO_JOB, "targetBlank": False}
        panel.override_by_name(labels["job_id"], [_property("links", [link])])
    if "status" in labels:
        words = {status: (status, colour) for status, colour in STATUSES.items()}
        panel.override_by_name(labels["status"], _worded(words))
    return panel


def _organised(labels: Labels, columns: Mapping[str, Column]) -> models.DataTransformerConfig:
    """The titles and the order of columns.

    Grafana names results `Value #name`, or `Value` if there is only one query.
    """
    values = {
        key: column.title
        for name, column in columns.items()
        for key in ([f"Value #{name}", "Value"] if len(columns) == 1 else [f"Value #{name}"])
    }
    shown = {**labels, **{key: title for key, title in values.items() if title}}
    hidden = {"Time": True, **{key: True for key, title in values.items() if not title}}
    options = {
        "excludeByName": hidden,
        "includeByName": {},
        "indexByName": {key: place for place, key in enumerate(shown)},
        "renameByName": shown,
    }
    return models.DataTransformerConfig(id_val="organize", options=options)


def _properties(column: Column) -> list[models.DynamicConfigValue]:
    found = [] if column.unit == "short" else [_property("unit", column.unit)]
    if column.decimals is not None:
        found.append(_property("decimals", column.decimals))
    if column.bar is not None:
        gauge = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
        found += [_property("min", 0), _property("max", column.bar), _property("custom.cellOptions", gauge)]
    if column.colours:
        made = [{"value": value, "color": colour} for value, colour in column.colours]
        found.append(_property("thresholds", {"mode": "absolute", "steps": made}))
        found.append(_property("color", {"mode": "thresholds"}))
        if column.bar is None:
            found.append(_property("custom.cellOptions", {"type": "color-text"}))
    elif column.bar is not None:
        found.append(_property("color", {"mode": "fixed", "fixedColor": "blue"}))
    return found + (_worded(column.words) if column.words else [])


def _worded(words: Mapping[str, tuple[str, str]]) -> list[models.DynamicConfigValue]:
    options = {
        value: {"text": text, "color": colour, "index": place}
        for place, (value, (text, colour)) in enumerate(words.items())
    }
    return [
        _property("mappings", [{"type": "value", "options": options}]),
        _property("custom.cellOptions", {"type": "color-text"}),
    ]


def _property(name: str, value: Any) -> models.DynamicConfigValue:
    return models.DynamicConfigValue(id_val=name, value=value)


def _sorted(title: str, descending: bool) -> common.TableSortByFieldState:
    return common.TableSortByFieldState().display_name(title).desc(descending)


def _reference(column: Column, number: int) -> str:
    return column.title.lower().replace(" ", "_").replace(",", "") or f"rows{number}"
