"""Jobs as rows of a table: unknown values are not invented."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from monitor.domain.flow import GONE_AFTER, Headway
from monitor.domain.model import Basis, Cost, Metrics, Status
from monitor.web.job_rows import job_row, money
from tests.builders import DAY, HOUR, MINUTE, NOON, job, tracked, trained


@pytest.mark.parametrize(
    ("status", "fields", "watched", "words"),
    [
        pytest.param("running", {"started_at": NOON - HOUR}, {}, "for 1h", id="since its start, not first sight"),
        pytest.param("running", {}, {}, "for at least 2m", id="it ran before it was first seen"),
        pytest.param("running", {}, {"seq": 2}, "for 2m", id="it was seen to begin"),
        pytest.param("running", {}, {"seq": 2, "stalled": True}, "for at least 2m", id="it ran before, and stalls"),
        pytest.param("queued", {}, {}, "for 1h", id="queued since it was created"),
        pytest.param("paused", {"started_at": NOON - HOUR}, {"seq": 3}, "for 2m", id="paused since it was seen so"),
        pytest.param("failed", {"finished_at": NOON - DAY}, {}, "1d ago", id="the provider says when it ended"),
        pytest.param("failed", {}, {"seq": 2}, "2m ago", id="it was seen to end"),
        pytest.param("failed", {}, {}, None, id="over when it was first seen"),
        pytest.param("failed", {"created_at": NOON - 3 * MINUTE}, {}, "2m ago", id="first seen soon after its start"),
        pytest.param("unknown", {}, {"missing": GONE_AFTER, "seq": 2}, "2m ago", id="gone"),
    ],
)
def test_a_job_shows_how_long_it_has_had_its_status(
    status: str, fields: dict[str, Any], watched: dict[str, Any], words: str | None
) -> None:
    row = job_row(tracked(job(status=Status(status), **fields), **watched), NOON)
    assert (row.since.words if row.since is not None else None) == words


@pytest.mark.parametrize(
    ("step", "fields", "words"),
    [
        pytest.param(100, {"started_at": NOON - HOUR}, "finishing", id="all steps are done"),
        pytest.param(100, {"estimated_finish": NOON + MINUTE}, "finishing", id="and the provider expects it soon"),
        pytest.param(50, {"estimated_finish": NOON + MINUTE}, "in 1m", id="as the provider expects"),
        pytest.param(50, {"estimated_finish": NOON - MINUTE}, "overdue", id="later than the provider expected"),
        pytest.param(50, {"started_at": NOON - HOUR}, None, id="that it is half done alone says nothing"),
    ],
)
def test_an_active_job_shows_its_expected_finish(step: int, fields: dict[str, Any], words: str | None) -> None:
    row = job_row(tracked(trained(job(**fields), latest=Metrics(step=step, steps=100))), NOON)
    assert (row.finish.words if row.finish is not None else None) == words


def test_without_the_providers_estimate_recent_steps_are_used() -> None:
    row = job_row(tracked(headway=Headway(finish=NOON + HOUR)), NOON)
    assert row.finish is not None
    assert row.finish.words == "in 1h"
    assert job_row(tracked(headway=Headway(finish=NOON)), NOON).finish is None, "no step came since: nobody knows"


def test_an_estimate_and_its_range_are_told_apart() -> None:
    band = {"usd": Decimal("1.74"), "low": Decimal("1.2"), "high": Decimal("2.4")}
    assert money(Cost(basis=Basis.ESTIMATED, **band)) == ("about $1.74", "$1.20 to $2.40")
    assert money(Cost(basis=Basis.COMPUTED, usd=Decimal("1.74"))) == ("$1.74", None)
    assert money(Cost(basis=Basis.UNKNOWN)) == (None, None)


def test_a_job_that_is_gone_is_labelled_and_has_no_estimate() -> None:
    row = job_row(tracked(job(status=Status.UNKNOWN, estimated_finish=NOON + HOUR), missing=GONE_AFTER), NOON)
    assert (row.status, row.finish) == ("gone", None)
