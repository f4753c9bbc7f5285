"""Which models are there, when they stop, and how near that is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from monitor.domain.costs import TunedModel
from monitor.domain.pricing import ModelEnd, Prices
from monitor.domain.retirement import ListedModel, inventory, retirements, with_shutdown_dates
from monitor.providers.openai.naming import NAMING

BASE = "gpt-4o-mini-2024-07-18"
END = date(2027, 1, 14)
BOOK = Prices(ends=(ModelEnd(models=(BASE,), base=date(2027, 1, 10), fine_tuned=END),))


def tuned(name: str = f"ft:{BASE}:acme:bot:abc", **over: object) -> TunedModel:
    fields: dict[str, object] = {"org": "research", "id": name, "base": BASE, "shutdown": END}
    return TunedModel(**{**fields, **over})  # type: ignore[arg-type]  # fields of any type


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        pytest.param({"own": date(2027, 3, 1), "base": date(2027, 2, 1)}, date(2027, 3, 1), id="its own day"),
        pytest.param({"own": None, "base": date(2027, 2, 1)}, date(2027, 2, 1), id="the day of its base"),
        pytest.param({"own": None, "base": None}, END, id="the packaged day"),
        pytest.param({"own": None}, END, id="the packaged day, where the base is not listed"),
    ],
)
def test_a_listed_model_ends_on_the_day_that_is_nearest_to_the_truth(
    listed: dict[str, date | None], expected: date
) -> None:
    names = {"own": f"ft:{BASE}:acme:bot:abc", "base": BASE}
    lines = [replace(line(names[key]), shutdown=day) for key, day in listed.items()]
    [found] = inventory("research", lines, BOOK)
    assert found == tuned(shutdown=expected, listed=True)


def line(name: str) -> ListedModel:
    """As its vendor names it."""
    base = NAMING.base_model(name) if NAMING.is_tuned(name) else None
    return ListedModel(id=name, base=base, family=NAMING.family_of(name), snapshot=NAMING.is_snapshot(name))


def test_base_models_and_snapshots_of_a_listed_model_are_none_of_the_inventory() -> None:
    names = [
        BASE,
        "gpt-5",
        f"ft:{BASE}:acme:bot:abc",
        f"ft:{BASE}:acme:bot:def:ckpt-step-10",
        f"ft:{BASE}:acme:lost:ghi:ckpt-step-10",
        "ft:nonsense",
    ]
    found = [model.id for model in inventory("research", map(line, names), Prices())]
    assert found == [f"ft:{BASE}:acme:bot:abc", f"ft:{BASE}:acme:lost:ghi:ckpt-step-10"]


def test_models_of_jobs_get_the_packaged_day_and_keep_their_own() -> None:
    models = [tuned("ours", shutdown=None), tuned("theirs", shutdown=date(2030, 1, 1)), tuned(base="x", shutdown=None)]
    assert [model.shutdown for model in with_shutdown_dates(models, BOOK)] == [END, date(2030, 1, 1), None]


@pytest.mark.parametrize(
    ("days", "milestone"),
    [
        pytest.param(91, None, id="too far"),
        pytest.param(90, 1, id="90 days"),
        pytest.param(52, 1, id="between"),
        pytest.param(31, 1, id="31 days"),
        pytest.param(30, 2, id="30 days"),
        pytest.param(7, 3, id="7 days"),
        pytest.param(5, 3, id="5 days"),
        pytest.param(1, 4, id="the last day"),
        pytest.param(0, 4, id="the day itself"),
        pytest.param(-1, None, id="over"),
    ],
)
def test_the_latest_milestone_counts(days: int, milestone: int | None) -> None:
    now = datetime(2027, 1, 14, 23, 59, tzinfo=UTC) - timedelta(days=days)
    found = retirements([tuned()], now)
    assert [(one.days_left, one.milestone) for one in found] == ([] if milestone is None else [(days, milestone)])


def test_models_are_grouped_by_day_the_nearest_first() -> None:
    later = date(2027, 2, 1)
    models = [tuned("c", shutdown=later), tuned("b"), tuned("a"), tuned("d", shutdown=None), tuned("e", org="legal")]
    found = retirements(models, datetime(2026, 11, 23, tzinfo=UTC))
    assert [(one.org, one.subject, [model.id for model in one.models]) for one in found] == [
        ("legal", "shutdown:2027-01-14", ["e"]),
        ("research", "shutdown:2027-01-14", ["a", "b"]),
        ("research", "shutdown:2027-02-01", ["c"]),
    ]
