"""What a job's change adds to the counters that outlive the process."""

from dataclasses import replace
from decimal import Decimal

import pytest

from monitor.domain.counters import increments
from monitor.domain.flow import CounterIncrement, Tracked
from monitor.domain.model import UNKNOWN_COST, Basis, Cost, JobError, Method, Status
from tests.builders import MINUTE, NOON, job, tracked, tuned

ORG, MODEL = ("org", "research"), ("model", "gpt-4o-mini-2024-07-18")
METHOD, FAILED = ("method", "supervised"), ("status", "failed")
PAID = Cost(basis=Basis.COMPUTED, usd=Decimal("0.0000003"))
WAITS = tracked(job(status=Status.QUEUED))
RUNS = tracked(job(started_at=NOON - 30 * MINUTE))
ENDED = tracked(
    job(
        status=Status.FAILED,
        started_at=NOON - 30 * MINUTE,
        finished_at=NOON,
        trained_tokens=9,
        error=JobError(code="server_error"),
    ),
    cost=PAID,
)
BARE = tracked(job(status=Status.CANCELLED))


def one(metric: str, amount: int, *labels: tuple[str, str]) -> CounterIncrement:
    return CounterIncrement(metric=metric, labels=(ORG, MODEL, *labels), amount=amount)


QUEUED = [one("queue_seconds_bucket", 1, ("le", "1800.0")), one("queue_milliseconds", 1_800_000)]
OVER = [
    one("jobs_finished", 1, METHOD, FAILED),
    one("job_failures", 1, ("reason", "provider")),
]
TOOK = [one("total_seconds_bucket", 1, FAILED, ("le", "3600.0")), one("total_milliseconds", 3_600_000, FAILED)]
RAN = [one("run_seconds_bucket", 1, FAILED, ("le", "1800.0")), one("run_milliseconds", 1_800_000, FAILED)]
USED = [one("trained_tokens", 9, METHOD), one("cost_nanodollars", 300, METHOD)]


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        pytest.param(None, WAITS, [], id="a job that waits"),
        pytest.param(WAITS, RUNS, QUEUED, id="a start tells the queue"),
        pytest.param(None, RUNS, QUEUED, id="also of a job that is new"),
        pytest.param(RUNS, RUNS, [], id="once"),
        pytest.param(RUNS, ENDED, [*OVER, *TOOK, *RAN, *USED], id="an end tells the rest"),
        pytest.param(WAITS, ENDED, [*QUEUED, *OVER, *TOOK, *RAN, *USED], id="or all, where the start was not seen"),
        pytest.param(None, ENDED, [*QUEUED, *OVER, *TOOK, *RAN, *USED], id="also of a job that came and ended"),
        pytest.param(ENDED, replace(ENDED, finalized=True), [], id="an end is told once"),
        pytest.param(
            tracked(tuned(RUNS.job, trained_tokens=9), cost=replace(PAID, basis=Basis.ESTIMATED)),
            ENDED,
            [*OVER, *TOOK, *RAN, *USED],
            id="what was told of an active job counts at its end",
        ),
        pytest.param(
            replace(ENDED, job=tuned(ENDED.job, trained_tokens=None), cost=UNKNOWN_COST),
            ENDED,
            USED,
            id="tokens and cost may come later",
        ),
        pytest.param(
            replace(ENDED, job=replace(ENDED.job, started_at=None)), ENDED, [*QUEUED, *RAN], id="times may come later"
        ),
        pytest.param(
            None,
            BARE,
            [one("jobs_finished", 1, METHOD, ("status", "cancelled"))],
            id="a cancelled job of which nothing is known is no failure",
        ),
        pytest.param(
            RUNS,
            replace(RUNS, job=tuned(RUNS.job, trained_tokens=9), cost=PAID),
            [],
            id="nothing of an active job is used up",
        ),
    ],
)
def test_a_change_adds(was: Tracked | None, now: Tracked, expected: list[CounterIncrement]) -> None:
    assert list(increments(was, now)) == expected


def test_costs_and_tokens_are_told_by_method() -> None:
    now = replace(ENDED, job=replace(ENDED.job, method=Method.DPO))
    assert {dict(tally.labels).get("method") for tally in increments(RUNS, now)} == {None, "dpo"}


def test_a_part_of_a_millisecond_is_cut() -> None:
    quick = tracked(job(created_at=NOON, started_at=NOON + MINUTE / 7))
    assert [tally.amount for tally in increments(None, quick)] == [1, 8571]
