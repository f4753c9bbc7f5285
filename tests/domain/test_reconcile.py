"""Computed beside billed: which line is for what, what a day comes to, and when a difference is told."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from monitor.domain.costs import Bill, TokenDollars, TrainingDay, Usage
from monitor.domain.hosting import Hosting
from monitor.domain.model import TokenCount
from monitor.domain.reconcile import DayCosts, Drift, LineItemKind, drift, with_hosting
from monitor.domain.reconcile import reconcile as _reconcile
from monitor.providers import line_item_kind

TODAY = date(2026, 11, 22)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
OLD = TODAY - 5 * DAY
TRAINING, INPUT = "gpt-4o-mini-2024-07-18 fine-tuning training", "ft-gpt-4o-mini-2024-07-18, input"

reconcile = partial(_reconcile, kinds=line_item_kind)


def trained(usd: str, day: date = OLD) -> TrainingDay:
    return TrainingDay(org="research", day=day, usd=Decimal(usd))


def usage(usd: str | None, day: date = OLD, **over: Any) -> Usage:
    cost = TokenDollars(input=Decimal(usd), cached_input=Decimal(0), output=Decimal(1)) if usd is not None else None
    fields: dict[str, Any] = {"org": "research", "project": "p", "model": "ft:m:o::x", "batch": False}
    return Usage(day=day, tokens=TokenCount(input=5), usd=cost, **{**fields, **over})


def bill(usd: str, line_item: str, day: date = OLD, org: str = "research") -> Bill:
    return Bill(org=org, project="p", line_item=line_item, day=day, usd=Decimal(usd))


@pytest.mark.parametrize(
    ("line_item", "kind"),
    [
        pytest.param("ft-gpt-4o-2024-08-06, input", LineItemKind.INFERENCE, id="the cookbook's spelling"),
        pytest.param("ft-gpt-4o-2024-08-06, cached input", LineItemKind.INFERENCE, id="cached"),
        pytest.param("ft-gpt-4o-2024-08-06, output_tokens", LineItemKind.INFERENCE, id="the newer spelling"),
        pytest.param("ft:gpt-4o-2024-08-06:acme::x, input", LineItemKind.INFERENCE, id="a model's own name"),
        pytest.param("Fine-tuned gpt-4o, output", LineItemKind.INFERENCE, id="in words"),
        pytest.param("gpt-4o-mini fine-tuning training", LineItemKind.TRAINING, id="training in words"),
        pytest.param("ft-gpt-4o-2024-08-06, training", LineItemKind.TRAINING, id="training of a tuned name"),
        pytest.param("Finetuning gpt-4o", LineItemKind.TRAINING, id="one word"),
        pytest.param("o4-mini fine tune hours", LineItemKind.TRAINING, id="two words"),
        pytest.param("gpt-4o-mini-2024-07-18, input", LineItemKind.OTHER, id="a base model"),
        pytest.param("gpt-6-astra, cached_input_tokens", LineItemKind.OTHER, id="a base model, newer"),
        pytest.param("web search tool calls", LineItemKind.UNKNOWN, id="something else"),
        pytest.param("ftx, hours", LineItemKind.UNKNOWN, id="a name that only begins alike"),
        pytest.param("unknown", LineItemKind.UNKNOWN, id="no name"),
    ],
)
def test_what_a_line_item_is_for(line_item: str, kind: LineItemKind) -> None:
    assert line_item_kind(line_item) is kind


def test_a_day_has_what_was_computed_beside_what_was_billed() -> None:
    (found,) = reconcile(
        [trained("3")],
        [usage("3"), usage(None, model="ft:new")],
        [
            bill("3.10", TRAINING),
            bill("4.50", INPUT),
            bill("-1", "ft-gpt-4o, output"),
            bill("9", "gpt-4o, input"),
            bill("1", "hours"),
        ],
        TODAY - 30 * DAY,
        TODAY,
    )
    assert found == DayCosts(
        org="research",
        day=OLD,
        settled=True,
        computed_training=Decimal("3.00"),
        computed_use=Decimal(4),
        unpriced=1,
        billed_training=Decimal("3.10"),
        billed_inference=Decimal("3.50"),
        billed_other=Decimal(10),
        unknown=("hours",),
    )


def test_a_bill_without_such_a_line_says_nothing_of_it() -> None:
    (found,) = reconcile([trained("1")], [], [], OLD, TODAY)
    assert (found.billed_training, found.billed_inference, found.billed_other) == (None, None, None)


@pytest.mark.parametrize(("age", "settled"), [(0, False), (1, False), (2, False), (3, True), (20, True)])
def test_a_day_is_settled_when_it_is_three_days_old(age: int, settled: bool) -> None:
    (found,) = reconcile([], [], [bill("1", INPUT, TODAY - age * DAY)], TODAY - 30 * DAY, TODAY)
    assert found.settled is settled


def test_days_and_organisations_are_kept_apart_and_those_outside_are_left_out() -> None:
    lines = [bill("1", INPUT, OLD - DAY), bill("2", INPUT, OLD), bill("4", INPUT, OLD + DAY), bill("8", INPUT, org="b")]
    found = reconcile([], [], lines, OLD, OLD)
    assert [(one.org, one.day) for one in found] == [("b", OLD), ("research", OLD)]
    assert [one.billed_inference for one in found] == [Decimal(8), Decimal(2)]


def drifts(*lines: Any, days: int = 30) -> dict[LineItemKind, Drift]:
    """By kind, of these days of training, usages and bills."""
    books = reconcile(
        [one for one in lines if isinstance(one, TrainingDay)],
        [one for one in lines if isinstance(one, Usage)],
        [one for one in lines if isinstance(one, Bill)],
        TODAY - 60 * DAY,
        TODAY,
    )
    return {one.kind: one for one in drift(books, TODAY, days=days)}


def test_drift_is_what_was_billed_beyond_what_was_computed() -> None:
    found = drifts(trained("8"), bill("10", TRAINING), usage("3"), bill("3", INPUT))
    assert found[LineItemKind.TRAINING].usd == 2
    assert found[LineItemKind.TRAINING].ratio == Decimal("0.25")
    assert found[LineItemKind.INFERENCE].usd == -1
    assert found[LineItemKind.INFERENCE].ratio == Decimal("-0.25")


@pytest.mark.parametrize(
    ("lines", "kinds"),
    [
        pytest.param([trained("8")], set(), id="nothing billed"),
        pytest.param([bill("1", TRAINING)], {LineItemKind.TRAINING}, id="billed, not computed"),
        pytest.param([trained("8"), bill("1", INPUT)], {LineItemKind.INFERENCE}, id="the other kind billed"),
        pytest.param([trained("8", TODAY), bill("1", TRAINING, TODAY)], set(), id="a day that is not settled"),
        pytest.param([bill("1", TRAINING, TODAY - 30 * DAY)], set(), id="a day before the window"),
    ],
)
def test_drift_is_absent_where_nothing_is_known(lines: list[Any], kinds: set[LineItemKind]) -> None:
    assert set(drifts(*lines)) == kinds


def test_nothing_computed_has_no_ratio() -> None:
    assert drifts(bill("1", TRAINING))[LineItemKind.TRAINING].ratio is None


def test_what_was_computed_before_the_first_bill_is_no_drift() -> None:
    found = drifts(trained("100", OLD - 10 * DAY), trained("5"), bill("5", TRAINING))
    assert found[LineItemKind.TRAINING].usd == 0


def test_a_late_bill_of_a_settled_day_counts_with_the_days_around_it() -> None:
    found = drifts(trained("5", OLD), trained("7", OLD + DAY), bill("12", TRAINING, OLD))
    assert found[LineItemKind.TRAINING].usd == 0


def test_hosting_is_added_to_its_days_and_to_days_that_have_nothing_else() -> None:
    noon = datetime(OLD.year, OLD.month, OLD.day, 12, tzinfo=UTC)
    hosting = Hosting(
        org="research", deployment="d", model="m", since=noon, until=noon + 24 * HOUR, usd_per_hour=Decimal(2)
    )
    days = reconcile([trained("1")], [], [], OLD, TODAY)
    first, second = with_hosting(days, [hosting], OLD, TODAY)
    assert (first.day, first.computed_training, first.computed_hosting) == (OLD, Decimal(1), Decimal(24))
    assert second == DayCosts(org="research", day=OLD + DAY, settled=True, computed_hosting=Decimal(24))
    assert with_hosting(days, [], OLD, TODAY) == days
