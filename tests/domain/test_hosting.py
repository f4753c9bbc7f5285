"""Hosting is charged for the time for which a deployment is known to have existed."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from monitor.domain.hosting import Deployment, Hosting, daily, observe
from tests.builders import DAY, HOUR, MINUTE, NOON, SECOND

PRICE = Decimal("1.70")
TODAY = NOON.date()


def seen(name: str = "d", model: str = "m", **over: Any) -> Deployment:
    return Deployment(name=name, model=model, **{"usd_per_hour": PRICE, **over})


def hosted(since: timedelta, until: timedelta = timedelta(0), **over: Any) -> Hosting:
    """From so long before noon until so long before noon."""
    fields: dict[str, Any] = {"org": "a", "deployment": "d", "model": "m", "usd_per_hour": PRICE, **over}
    return Hosting(since=NOON - since, until=NOON - until, **fields)


@pytest.mark.parametrize(
    ("known", "found", "expected"),
    [
        pytest.param([], [seen()], [hosted(timedelta(0))], id="new, of unknown age"),
        pytest.param([], [seen(created_at=NOON - DAY)], [hosted(DAY)], id="new, of known age"),
        pytest.param([], [seen(created_at=NOON + DAY)], [hosted(timedelta(0))], id="created in the future"),
        pytest.param([], [seen(usd_per_hour=None)], [], id="not charged by the hour"),
        pytest.param([hosted(DAY, MINUTE)], [seen()], [hosted(DAY)], id="still there"),
        pytest.param([hosted(DAY, MINUTE)], [], [], id="not there any more"),
        pytest.param([hosted(DAY, 2 * HOUR)], [seen()], [hosted(timedelta(0))], id="missing for long, of unknown age"),
        pytest.param(
            [hosted(DAY, 2 * HOUR)], [seen(created_at=NOON - DAY)], [hosted(DAY)], id="not looked at for long"
        ),
        pytest.param(
            [hosted(DAY, MINUTE)], [seen(created_at=NOON - SECOND)], [hosted(SECOND)], id="deleted and made anew"
        ),
        pytest.param(
            [hosted(DAY, MINUTE)], [seen(model="n")], [hosted(timedelta(0), model="n")], id="another model"
        ),
        pytest.param(
            [hosted(3 * DAY, 2 * DAY), hosted(DAY, MINUTE)], [seen()], [hosted(DAY)], id="the latest of several"
        ),
        pytest.param(
            [hosted(DAY, MINUTE)], [seen(usd_per_hour=Decimal(2))], [hosted(DAY, usd_per_hour=Decimal(2))],
            id="another price",
        ),
        pytest.param([hosted(DAY, -300 * DAY)], [seen()], [hosted(DAY)], id="a clock that was ahead has set nothing"),
    ],
)  # fmt: skip
def test_what_is_known_of_a_deployment_goes_on(
    known: list[Hosting], found: list[Deployment], expected: list[Hosting]
) -> None:
    assert list(observe("a", known, found, NOON)) == expected


def test_it_costs_by_the_second_and_only_within_the_time_that_is_asked_for() -> None:
    of = hosted(2 * HOUR)
    assert of.usd(NOON - DAY, NOON + DAY) == Decimal("3.40")
    assert of.usd(NOON - HOUR, NOON - 30 * MINUTE) == Decimal("0.85")
    assert of.usd(NOON - SECOND, NOON) == PRICE / 3600
    assert of.usd(NOON, NOON + DAY) == 0
    assert of.usd(NOON - 2 * DAY, NOON - DAY) == 0


def test_each_utc_day_has_its_share() -> None:
    found = daily([hosted(36 * HOUR), hosted(HOUR, org="b"), hosted(9 * DAY, 8 * DAY)], TODAY - DAY, TODAY)
    assert found == {
        ("a", TODAY - DAY): 24 * PRICE,
        ("a", TODAY): 12 * PRICE,
        ("b", TODAY): PRICE,
    }
    assert daily([hosted(36 * HOUR)], TODAY + DAY, TODAY + DAY) == {}
