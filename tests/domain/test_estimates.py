"""What active jobs will cost, as tables: by their training files, by their steps, by the time they have run."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from monitor.domain.model import UNKNOWN_COST, Basis, Cost, Method, Metrics, Status, Training, TrainingSize
from monitor.domain.pricing import Rate, estimate, format_cost, price
from monitor.domain.render import job_view
from monitor.providers.openai.naming import NAMING, auto_epochs
from tests.builders import HOUR, MINUTE, NOON, job

EIGHT = Rate(models=("turbo",), methods=frozenset({Method.SUPERVISED, Method.DPO}), per_million=Decimal(8))
HOURLY = Rate(models=("o4",), methods=frozenset({Method.REINFORCEMENT}), per_hour=Decimal(100))
NEITHER = Rate(models=("gift",), methods=frozenset({Method.SUPERVISED}))
RATES = (EIGHT, HOURLY, NEITHER)
COUNTED = TrainingSize(tokens=100_000, low=100_000, high=100_000, examples=100, exact=True)
ROUGH = TrainingSize(tokens=100_000, low=60_000, high=165_000, examples=100, exact=False)
GUESSED = TrainingSize(tokens=100_000, low=40_000, high=250_000, examples=None, exact=False)


def about(usd: str, low: str | None = None, high: str | None = None) -> Cost:
    return Cost(
        basis=Basis.ESTIMATED,
        usd=Decimal(usd),
        low=Decimal(low) if low is not None else None,
        high=Decimal(high) if high is not None else None,
    )


@pytest.mark.parametrize(
    ("over", "size", "cost"),
    [
        pytest.param({}, COUNTED, about("2.40"), id="the announcement's example: auto is three epochs"),
        pytest.param({"epochs": 3}, COUNTED, about("2.40"), id="three epochs as the API shows them"),
        pytest.param({"epochs": 1}, COUNTED, about("0.80"), id="what the API shows replaces auto"),
        pytest.param({"method": Method.DPO, "epochs": 2}, COUNTED, about("1.60"), id="preferences"),
        pytest.param({"status": Status.VALIDATING}, COUNTED, about("2.40"), id="before it runs"),
        pytest.param({}, replace(COUNTED, examples=10), about("8.00"), id="ten epochs over ten examples"),
        pytest.param({}, replace(COUNTED, examples=20_000), about("0.80"), id="one epoch over many"),
        pytest.param({}, ROUGH, about("2.40", "1.44", "3.96"), id="a count that is not exact has a band"),
        pytest.param({"epochs": 2}, GUESSED, about("1.60", "0.64", "4.00"), id="a guess from the length has one"),
        pytest.param({}, GUESSED, about("2.40", "0.32", "20.00"), id="with auto it may be one epoch or ten"),
        pytest.param(
            {},
            replace(GUESSED, tokens=10**7, low=26 * 65_536, high=25 * 10**6),
            about("240", "13.631488", "600"),
            id="no example is so long that a long file has but ten",
        ),
        pytest.param(
            {},
            replace(GUESSED, tokens=50_000, low=20_000, high=83_330),
            about("1.2", "0.48", "6.6664"),
            id="nor so short that a short file has very many",
        ),
        pytest.param(
            {},
            replace(GUESSED, tokens=50_000, low=20_000, high=83_340),
            about("1.2", "0.32", "6.6672"),
            id="one more, and it may be two epochs",
        ),
        pytest.param({}, None, None, id="nothing is known"),
        pytest.param({"model": "gift"}, COUNTED, None, id="a price for nothing we can count"),
        pytest.param({"model": "else"}, COUNTED, None, id="no price"),
        pytest.param({"trained_tokens": 10**6}, None, about("8"), id="tokens that are told early"),
        pytest.param({"trained_tokens": 300_000}, COUNTED, about("2.4"), id="the whole is told early"),
        pytest.param({"trained_tokens": 299_999}, COUNTED, about("2.4"), id="less than the file is only a part"),
        pytest.param({"trained_tokens": 300_001}, COUNTED, about("2.400008"), id="more than the file is believed"),
        pytest.param({"trained_tokens": 180_000}, ROUGH, about("1.44"), id="told tokens have no band"),
        pytest.param({"trained_tokens": 179_999}, ROUGH, about("2.40", "1.44", "3.96"), id="below the band: a part"),
        pytest.param({"trained_tokens": 500_000}, replace(ROUGH, examples=10), about("8", "4.8", "13.2"), id="so, too"),
    ],
)
def test_a_job_that_is_paid_by_tokens_will_cost(
    over: dict[str, Any], size: TrainingSize | None, cost: Cost | None
) -> None:
    assert estimate(job(**{"model": "turbo", **over}), size, RATES, naming=NAMING) == cost


def rft(**training: Any) -> Any:
    latest = {"step": 5, "steps": 10} | training.pop("latest", {})
    fields: dict[str, Any] = {"last_event_at": NOON + HOUR, "counted_step": 5} | training
    return job(
        model="o4", method=Method.REINFORCEMENT, started_at=NOON, training=Training(latest=Metrics(**latest), **fields)
    )


@pytest.mark.parametrize(
    ("of", "paused", "usd"),
    [
        pytest.param(rft(loop_seconds=1800.0, timed_steps=5), 0, "100", id="half of the steps took half an hour"),
        pytest.param(rft(loop_seconds=1800.0), 0, "100", id="as older documents have it"),
        pytest.param(rft(loop_seconds=1800.0, timed_steps=2), 0, "250", id="the steps that tell stand for the others"),
        pytest.param(rft(loop_seconds=1800.0, timed_steps=5), 9999, "100", id="pauses are not in the loop's time"),
        pytest.param(rft(loop_seconds=1.0, timed_steps=5), 0, "0", id="a second is a time as well"),
        pytest.param(rft(), 0, "200", id="no step tells: all the time it has run"),
        pytest.param(rft(), 30, "100", id="without its pauses"),
        pytest.param(rft(), 60, None, id="nothing is left of it"),
        pytest.param(rft(), 61, None, id="less than nothing"),
        pytest.param(rft(latest={"step": 0}), 0, None, id="no step is done"),
        pytest.param(rft(latest={"step": None}), 0, None, id="no step is told"),
        pytest.param(rft(latest={"steps": None}), 0, None, id="of nobody knows how many"),
        pytest.param(replace(rft(), started_at=None), 0, None, id="nobody knows since when"),
        pytest.param(rft(last_event_at=None), 0, None, id="nor until when"),
        pytest.param(rft(loop_seconds=1800.0, timed_steps=5, latest={"steps": 4}), 0, "50", id="more than all"),
    ],
)
def test_a_job_that_is_paid_by_the_hour_will_cost(of: Any, paused: int, usd: str | None) -> None:
    found = estimate(of, COUNTED, RATES, paused=paused * MINUTE)
    assert found == (about(usd) if usd is not None else None)


def six_hours(**training: Any) -> Any:
    """Six hours on the wall, four of them in the core training loop."""
    fields: dict[str, Any] = {"counted_step": 8, "loop_seconds": 14_400.0, "timed_steps": 8} | training
    over: dict[str, Any] = {
        "model": "o4",
        "method": Method.REINFORCEMENT,
        "started_at": NOON - 6 * HOUR,
        "finished_at": NOON,
    }
    return job(status=Status.SUCCEEDED, training=Training(latest=Metrics(step=8, steps=8), **fields), **over)


@pytest.mark.parametrize(
    ("of", "settled", "cost"),
    [
        pytest.param(six_hours(), True, Cost(basis=Basis.COMPUTED, usd=Decimal(400)), id="the core loop is paid"),
        pytest.param(six_hours(), False, Cost(basis=Basis.COMPUTED, usd=Decimal(400)), id="every step has told"),
        pytest.param(six_hours(counted_step=7, timed_steps=7), False, about("400"), id="a step may yet be told"),
        pytest.param(
            six_hours(counted_step=7, timed_steps=7),
            True,
            Cost(basis=Basis.COMPUTED, usd=Decimal(400)),
            id="it was stopped before its last step",
        ),
        pytest.param(
            six_hours(loop_seconds=360_000.0),
            True,
            Cost(basis=Basis.COMPUTED, usd=Decimal(10_000)),
            id="an hour has 3600 seconds",
        ),
        pytest.param(six_hours(timed_steps=7), True, UNKNOWN_COST, id="a step that kept its time to itself"),
        pytest.param(six_hours(timed_steps=7), False, UNKNOWN_COST, id="nor is a part a guess"),
        pytest.param(six_hours(loop_seconds=0.0, timed_steps=0), True, UNKNOWN_COST, id="the wall clock is no bill"),
        pytest.param(replace(six_hours(), model="gift"), True, UNKNOWN_COST, id="no price"),
    ],
)
def test_a_job_that_was_paid_by_the_hour_cost(of: Any, settled: bool, cost: Cost) -> None:
    assert price(of, RATES, settled=settled) == cost


def test_a_price_for_nothing_we_can_count_is_unknown() -> None:
    assert price(job(model="gift", status=Status.SUCCEEDED, trained_tokens=5), RATES) == UNKNOWN_COST


@pytest.mark.parametrize(
    ("examples", "epochs"),
    [(1, 25), (3, 25), (4, 25), (5, 20), (10, 10), (33, 3), (34, 3), (8333, 3), (8334, 2), (12_501, 1), (10**6, 1)],
)
def test_auto_epochs_follow_the_cookbook(examples: int, epochs: int) -> None:
    assert auto_epochs(examples) == epochs


def test_no_examples_are_taken_for_one() -> None:
    assert auto_epochs(0) == 25


@pytest.mark.parametrize(
    ("cost", "words", "view"),
    [
        pytest.param(
            about("2.4", "2.1", "2.9"),
            "about $2.40 (between $2.10 and $2.90)",
            {"usd": "2.40", "basis": "estimated", "low": "2.10", "high": "2.90"},
            id="a guess shows its band",
        ),
        pytest.param(about("2.4"), "about $2.40", {"usd": "2.40", "basis": "estimated"}, id="an estimate"),
        pytest.param(
            Cost(basis=Basis.COMPUTED, usd=Decimal("2.4")), "$2.40", {"usd": "2.40", "basis": "computed"}, id="computed"
        ),
        pytest.param(
            about("2.4", "2.1"), "about $2.40", {"usd": "2.40", "basis": "estimated"}, id="half a band is none"
        ),
        pytest.param(
            about("2.4", None, "2.9"), "about $2.40", {"usd": "2.40", "basis": "estimated"}, id="nor the other half"
        ),
        pytest.param(UNKNOWN_COST, "unknown", {"usd": None, "basis": "unknown"}, id="unknown"),
        pytest.param(
            about("0.004", "0", "0.012"),
            "about $0.004 (between $0.00 and $0.01)",
            {"usd": "0.004", "basis": "estimated", "low": "0.00", "high": "0.012"},
            id="less than a cent",
        ),
    ],
)
def test_people_and_receivers_are_told(cost: Cost, words: str, view: dict[str, Any]) -> None:
    assert format_cost(cost) == words
    assert job_view(job(), cost)["cost"] == view


def test_what_is_not_estimated_is_unknown_to_receivers() -> None:
    assert job_view(job(), None)["cost"] == {"usd": None, "basis": "unknown"}


def test_only_a_computed_cost_counts_as_spent() -> None:
    assert Cost(basis=Basis.COMPUTED, usd=Decimal(3)).computed == Decimal(3)
    assert about("3").computed is None
    assert UNKNOWN_COST.computed is None


def test_a_job_was_not_paused_unless_that_is_said() -> None:
    assert estimate(rft(), None, RATES) == about("200")
