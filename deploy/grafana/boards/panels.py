"""The style of each kind of panel: units, colours, legends and thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import QueryEditorMode

Panel = TypeVar("Panel", bound=Any)
Query = prometheus.Dataquery
Steps = Sequence[tuple[float | None, str]]

SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
STATUSES: Final[Mapping[str, str]] = {
    "validating": "light-blue",
    "queued": "yellow",
    "running": "blue",
    "paused": "purple",
    "cancelling": "light-orange",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "orange",
    "unknown": "text",
}
GOOD_AT_ZERO: Final[Steps] = ((None, "green"), (1, "red"))
SPENT: Final[Steps] = ((None, "green"), (0.8, "orange"), (1, "red"))


def query(expression: str, legend: str, *, instant: bool = False, ref: str = "A") -> Query:
    """A Prometheus query, over the time range or, if `instant`, at its end."""
    asked = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(ref).datasource(SOURCE)
    asked.editor_mode(QueryEditorMode.CODE)
    return asked.instant() if instant else asked.range()


def described(panel: Panel, title: str, text: str, unit: str, queries: Sequence[Query]) -> Panel:
    """Set what every panel has. Queries are named by letters in order, unless they have names."""
    panel.title(title).description(text).datasource(SOURCE).unit(unit)
    for number, asked in enumerate(queries):
        if asked.build().ref_id == "A":
            asked.ref_id(chr(ord("A") + number))
        panel.with_target(asked)
    return panel


def steps(*given: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    """Thresholds: each colour applies from its value on, the first one below all."""
    made = [models.Threshold(value=value, color=colour) for value, colour in given]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)


def fixed(colour: str) -> dashboard.FieldColor:
    """A fixed colour for all values."""
    return dashboard.FieldColor().mode(models.FieldColorModeId.FIXED).fixed_color(colour)


def by_status(panel: Panel) -> Panel:
    """Colour the series that are named after a status."""
    for status, colour in STATUSES.items():
        panel.override_by_name(
            status, [models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})]
        )
    return panel


def number(
    title: str, text: str, *queries: Query, unit: str = "short", colours: Steps = ((None, "blue"),), **over: Any
) -> stat.Panel:
    """A panel with the latest value above its graph."""
    panel = described(stat.Panel(), title, text, unit, queries)
    panel.thresholds(steps(*colours)).color_scheme(
        dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS)
    ).color_mode(looks.BigValueColorMode.VALUE).graph_mode(looks.BigValueGraphMode.AREA)
    panel.text_mode(looks.BigValueTextMode.VALUE if len(queries) == 1 else looks.BigValueTextMode.VALUE_AND_NAME)
    panel.wide_layout(True).orientation(looks.VizOrientation.AUTO).justify_mode(looks.BigValueJustifyMode.AUTO)
    panel.reduce_options(_latest()).no_value(over.pop("nothing", "–"))
    return _more(panel, over)


def word(title: str, text: str, *queries: Query, unit: str = "short") -> stat.Panel:
    """A panel with the name of the series, for values that are labels."""
    panel = number(title, text, *queries, unit=unit)
    panel.text(common.VizTextDisplayOptions().title_size(28).value_size(28))
    return panel.text_mode(looks.BigValueTextMode.NAME).graph_mode(looks.BigValueGraphMode.NONE)


def lines(title: str, text: str, *queries: Query, unit: str = "short", stacked: bool = False, **over: Any) -> Any:
    """A time series panel with a legend. Stacked ones show counts as filled steps."""
    panel = described(timeseries.Panel(), title, text, unit, queries)
    panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
    panel.thresholds(steps((None, "green"))).line_width(1).show_points(looks.VisibilityMode.AUTO).min(
        over.pop("min", 0)
    )
    panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(looks.LegendDisplayMode.LIST)
        .placement(looks.LegendPlacement.BOTTOM)
        .calcs([])
    )
    panel.tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING))
    panel.span_nulls(False).fill_opacity(30 if stacked else 8)
    if stacked:
        panel.line_interpolation(looks.LineInterpolation.STEP_AFTER)
        panel.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL).group("A"))
    return _more(panel, over)


def bars(
    title: str, text: str, *queries: Query, unit: str = "currencyUSD", colours: Steps = ((None, "blue"),), **over: Any
) -> bargauge.Panel:
    """A panel with one bar per series, for its latest value."""
    panel = described(bargauge.Panel(), title, text, unit, queries)
    panel.thresholds(steps(*colours)).color_scheme(
        dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS)
    ).display_mode(looks.BarGaugeDisplayMode.BASIC).orientation(looks.VizOrientation.HORIZONTAL)
    panel.value_mode(looks.BarGaugeValueMode.TEXT).show_unfilled(True).min_viz_height(40).min_viz_width(8)
    panel.name_placement(looks.BarGaugeNamePlacement.TOP)
    panel.text(common.VizTextDisplayOptions().title_size(13).value_size(14))
    panel.sizing(looks.BarGaugeSizing.AUTO).reduce_options(_latest()).min(0)
    return _more(panel, over)


def states(title: str, text: str, *queries: Query) -> statetimeline.Panel:
    """A panel with one row per status, filled while the job had it."""
    panel = described(statetimeline.Panel(), title, text, "short", queries)
    panel.show_value(looks.VisibilityMode.NEVER).row_height(0.8).merge_values(True).fill_opacity(80).line_width(0)
    panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
    panel.legend(common.VizLegendOptions().show_legend(False).calcs([]))
    panel.tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.SINGLE).sort(looks.SortOrder.NONE))
    return by_status(panel)


def _latest() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)


def _more(panel: Panel, over: Mapping[str, Any]) -> Panel:
    """Apply further settings by the names of the builder's methods."""
    for name, value in over.items():
        getattr(panel, name)(value)
    return panel
