"""What is told, and that it has the shape of the contract."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest

from monitor.domain.flow import Kind, Severity, Transition
from monitor.domain.message import compose, span
from monitor.domain.model import Basis, Cost, JobError, Status
from monitor.domain.triage import triage
from tests.builders import HOUR, MINUTE, NOON, SECOND, job, tracked


def moved(after: Status) -> Transition:
    return Transition(
        org="research", job="ftjob-1", seq=3, at=NOON, kind=Kind.MOVED, before=Status.RUNNING, after=after
    )


FAILED = job(
    status=Status.FAILED,
    name="support-bot",
    started_at=NOON - 31 * MINUTE,
    finished_at=NOON - SECOND,
    error=JobError(code="server_error", message="The job failed due to an internal error"),
    metadata={"env": "prod"},
    url="https://platform.openai.com/finetune/ftjob-1",
)


def test_the_payload_is_the_contract_s() -> None:
    message = compose(moved(Status.FAILED), tracked(FAILED), "failed", {"team": "search"})
    assert message.type == "finetune.job.failed"
    assert json.loads(message.data) == {
        "org": "research",
        "provider": "openai",
        "labels": {"team": "search"},
        "transition": {
            "id": "research/ftjob-1/3",
            "seq": 3,
            "from": "running",
            "to": "failed",
            "observed_at": "2026-11-22T12:00:00Z",
        },
        "job": {
            "id": "ftjob-1",
            "name": "support-bot",
            "model": "gpt-4o-mini-2024-07-18",
            "method": "supervised",
            "status": "failed",
            "fine_tuned_model": None,
            "created_at": "2026-11-22T11:00:00Z",
            "started_at": "2026-11-22T11:29:00Z",
            "finished_at": "2026-11-22T11:59:59Z",
            "queue_seconds": 1740,
            "run_seconds": 1859,
            "trained_tokens": None,
            "progress": None,
            "cost": {"usd": None, "basis": "unknown"},
            "error": {
                "code": "server_error",
                "message": "The job failed due to an internal error",
                "param": None,
                "class": "provider",
                "hint": triage(FAILED.error).hint,
                "retryable": True,
            },
            "metadata": {"env": "prod"},
            "url": "https://platform.openai.com/finetune/ftjob-1",
        },
    }


def test_people_read_what_it_cost_and_how_long_it_took() -> None:
    done = job(
        status=Status.SUCCEEDED,
        started_at=NOON - 2 * HOUR,
        finished_at=NOON - 55 * MINUTE,
        trained_tokens=300_000,
        fine_tuned_model="ft:x",
    )
    cost = Cost(basis=Basis.COMPUTED, usd=Decimal("2.4"))
    message = compose(moved(Status.SUCCEEDED), tracked(done, cost=cost), "succeeded", {})
    assert message.title == "ftjob-1 succeeded"
    assert message.severity is Severity.GOOD
    assert dict(message.facts) | {"Duration": "1h 5m", "Trained tokens": "300,000", "Cost": "$2.40"} == dict(
        message.facts
    )
    assert json.loads(message.data)["job"]["cost"] == {"usd": "2.40", "basis": "computed"}


def test_a_job_without_a_given_reason_says_so() -> None:
    message = compose(moved(Status.FAILED), tracked(job(status=Status.FAILED)), "failed", {})
    assert message.error == "no reason given"
    assert message.hint is not None


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=31), "31s"),
        (timedelta(minutes=2), "2m"),
        (timedelta(hours=2, minutes=5, seconds=59), "2h 5m"),
        (timedelta(days=3, minutes=5), "3d"),
    ],
)
def test_durations_for_people(time: timedelta, text: str) -> None:
    assert span(time) == text
