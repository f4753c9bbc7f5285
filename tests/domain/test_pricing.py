"""Prices, as tables."""

from dataclasses import replace
from datetime import date, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from monitor.domain.model import Basis, Cost, Method, Metrics, Status, Training
from monitor.domain.money import dollars
from monitor.domain.pricing import Rate, estimate, price
from tests.builders import HOUR, NOON, job

TOKENS = frozenset({Method.SUPERVISED, Method.DPO})
RATES = (
    Rate(models=("gpt-3.5-turbo", "gpt-3.5-turbo-0613"), methods=TOKENS, per_million=Decimal(8)),
    Rate(models=("mini",), methods=TOKENS, per_million=Decimal(3), valid_until=date(2026, 11, 21)),
    Rate(models=("mini",), methods=TOKENS, per_million=Decimal(4), valid_from=date(2026, 11, 22)),
    Rate(models=("o4-mini",), methods=frozenset({Method.REINFORCEMENT}), per_hour=Decimal(100)),
)
WEST = timezone(timedelta(hours=-8))
RFT: dict[str, Any] = {"model": "o4-mini", "method": Method.REINFORCEMENT}


@pytest.mark.parametrize(
    ("over", "usd"),
    [
        pytest.param(
            {"model": "gpt-3.5-turbo-0613", "trained_tokens": 300_000}, "2.4", id="the announcement's example"
        ),
        pytest.param(
            {"model": "ft:gpt-3.5-turbo:acme::x", "trained_tokens": 300_000}, "2.4", id="a tuned model's base"
        ),
        pytest.param({"model": "gpt-3.5-turbo", "method": Method.DPO, "trained_tokens": 1}, "0.000008", id="one token"),
        pytest.param({"model": "gpt-3.5-turbo", "trained_tokens": None}, None, id="no tokens, no cost"),
        pytest.param({"model": "gpt-3.5-turbo-9999", "trained_tokens": 5}, None, id="no price, no cost"),
        pytest.param({"model": "mini", "trained_tokens": 10**6, "finished_at": NOON}, "4", id="the price of the day"),
        pytest.param({"model": "mini", "trained_tokens": 10**6, "finished_at": NOON - 24 * HOUR}, "3", id="of its day"),
        pytest.param({**RFT, "training": Training(loop_seconds=14_400.0)}, "400", id="four hours of core training"),
        pytest.param({**RFT, "training": Training(loop_seconds=100.0)}, "3", id="hours have two decimals"),
        pytest.param({**RFT, "trained_tokens": 10**6}, None, id="hours unknown"),
        pytest.param(
            {"model": "gpt-3.5-turbo", "method": Method.REINFORCEMENT, "trained_tokens": 5}, None, id="method"
        ),
        pytest.param({"model": "gpt-3.5-turbo", "provider": "azure", "trained_tokens": 5}, None, id="provider"),
        pytest.param(
            {"model": "gpt-3.5-turbo", "method": Method.UNKNOWN, "trained_tokens": 5}, None, id="nobody knows what for"
        ),
        pytest.param(
            {"model": "mini", "trained_tokens": 10**6, "created_at": NOON, "started_at": NOON - 24 * HOUR},
            "3",
            id="the day it started, where it has no end",
        ),
        pytest.param(
            {"model": "mini", "trained_tokens": 10**6, "created_at": NOON - 24 * HOUR},
            "3",
            id="or the day it was created",
        ),
        pytest.param({"model": "mini", "trained_tokens": 10**6, "created_at": None}, "3", id="or the first that fits"),
        pytest.param(
            {"model": "mini", "trained_tokens": 10**6, "finished_at": (NOON - 11 * HOUR).astimezone(WEST)},
            "4",
            id="days are those of UTC",
        ),
        pytest.param({"model": "mini", "trained_tokens": 0}, "0", id="nothing costs nothing"),
        pytest.param({**RFT, "training": Training(loop_seconds=1.0)}, "0", id="a second of an hour"),
        pytest.param({"model": "mini", "trained_tokens": 10**15}, None, id="tokens that nobody could pay"),
        pytest.param({**RFT, "training": Training(loop_seconds=1e15)}, None, id="hours that nobody could pay"),
        pytest.param({**RFT, "training": Training(loop_seconds=1e290)}, None, id="hours with 300 digits"),
    ],
)
def test_a_job_costs(over: dict[str, Any], usd: str | None) -> None:
    cost = price(job(status=Status.SUCCEEDED, **over), RATES)
    assert cost.usd == (Decimal(usd) if usd is not None else None)
    assert cost.basis is (Basis.UNKNOWN if usd is None else Basis.COMPUTED)


@pytest.mark.parametrize(
    ("usd", "text"), [("2.4", "2.40"), ("400", "400.00"), ("0.000008", "0.000008"), ("1E+3", "1000.00"), ("0", "0.00")]
)
def test_dollars(usd: str, text: str) -> None:
    assert dollars(Decimal(usd)) == text


HALF = Training(latest=Metrics(step=5, steps=10), loop_seconds=1800.0, counted_step=5)


@pytest.mark.parametrize(
    ("over", "usd"),
    [
        pytest.param({"model": "gpt-3.5-turbo", "trained_tokens": 300_000}, "2.4", id="tokens that are told already"),
        pytest.param({"model": "gpt-3.5-turbo"}, None, id="no tokens"),
        pytest.param({**RFT, "training": HALF}, "100", id="half of the steps"),
        pytest.param({**RFT, "training": replace(HALF, latest=Metrics(step=5))}, None, id="of nobody knows how many"),
        pytest.param({**RFT, "training": replace(HALF, counted_step=0)}, None, id="no step"),
        pytest.param(
            {**RFT, "training": replace(HALF, latest=Metrics(step=5, steps=2))}, "50", id="more steps than there are"
        ),
        pytest.param(
            {**RFT, "training": replace(HALF, latest=Metrics(step=5, steps=10**15))}, None, id="steps without end"
        ),
        pytest.param({"model": "mini", "trained_tokens": 10**15}, None, id="tokens that nobody could pay"),
    ],
)
def test_an_active_job_will_cost(over: dict[str, Any], usd: str | None) -> None:
    expected = Cost(basis=Basis.ESTIMATED, usd=Decimal(usd)) if usd is not None else None
    assert estimate(job(**over), None, RATES) == expected
