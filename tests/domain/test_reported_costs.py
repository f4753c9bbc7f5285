"""What a vendor says that a job costs is believed, where it can be."""

from __future__ import annotations

from decimal import Decimal

import pytest

from monitor.domain.curve import noise_of
from monitor.domain.model import UNKNOWN_COST, Basis, Cost, Status
from monitor.domain.pricing import estimate, price
from tests.builders import job


@pytest.mark.parametrize(
    ("usd", "cost"),
    [
        ("4.8", Cost(basis=Basis.REPORTED, usd=Decimal("4.8"))),
        ("0", Cost(basis=Basis.REPORTED, usd=Decimal(0))),
        ("1e12", UNKNOWN_COST),
    ],
)
def test_the_vendor_s_figure_is_the_cost_of_an_ended_job(usd: str, cost: Cost) -> None:
    assert price(job(status=Status.SUCCEEDED, reported_usd=Decimal(usd)), ()) == cost


def test_before_the_end_it_is_an_estimate() -> None:
    found = estimate(job(reported_usd=Decimal("4.8")), None, ())
    assert found == Cost(basis=Basis.ESTIMATED, usd=Decimal("4.8"))


def test_one_value_has_no_noise() -> None:
    assert noise_of([1.5]) == 0.0
