"""Changes and their parts, one line each, and a clock that stands where it is put."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from monitor.domain.flow import Change, CounterIncrement, Tracked, Transition, TransitionKind
from monitor.domain.model import Cost, Status
from monitor.domain.news import Delivery, EventType, Message, Severity, job_subject
from tests.builders import NOON, job, tracked
from tests.fakes import Waits

LEASE = timedelta(minutes=1)


class StillClock(Waits):
    """A clock that moves only when it is told."""

    def __init__(self, set_database: Callable[[datetime], None] = lambda time: None) -> None:
        self._time = NOON
        self._set_database = set_database

    @property
    def time(self) -> datetime:
        """The time, on this clock and on the database's."""
        return self._time

    @time.setter
    def time(self, time: datetime) -> None:
        self._time = time
        self._set_database(time)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def message(title: str = "It ended", **over: Any) -> Message:
    fields: dict[str, Any] = {
        "at": NOON,
        "subject": job_subject("research", "ftjob-1"),
        "event_type": EventType.SUCCEEDED,
    }
    return Message(
        type="finetune.job.succeeded", title=title, severity=Severity.GOOD, data='{"a": "é"}', **{**fields, **over}
    )


def delivery(job_id: str = "ftjob-1", seq: int = 1, notifier: str = "ops", org: str = "research") -> Delivery:
    return Delivery(
        subject=job_subject(org, job_id), seq=seq, notifier=notifier, message=message(subject=job_subject(org, job_id))
    )


def transition(job_id: str = "ftjob-1", seq: int = 1, org: str = "research", **over: Any) -> Transition:
    fields: dict[str, Any] = {
        "at": NOON,
        "kind": TransitionKind.MOVED,
        "before": Status.QUEUED,
        "after": Status.RUNNING,
    }
    return Transition(org=org, job=job_id, seq=seq, **{**fields, **over})


def change(based_on: int = 0, org: str = "research", **over: Any) -> Change:
    return Change(org=org, based_on=based_on, at=over.pop("at", NOON), **over)


def letters(*deliveries: Delivery, based_on: int = 0, at: datetime = NOON) -> Change:
    """A change that only tells."""
    return change(based_on, deliveries=deliveries, at=at)


def full(number: int, org: str = "research") -> Change:
    """A change with a row in every table: the organisation's `number`-th, from 0."""
    id_ = f"job-{number}"
    return change(
        number,
        org,
        tracked=(tracked(job(id_, org=org)),),
        transitions=(transition(id_, org=org),),
        deliveries=(delivery(id_, org=org),),
        counters=(CounterIncrement(metric="changes", labels=(("org", org),), amount=1),),
    )


def ended(
    id_: str = "ftjob-1", at: datetime = NOON, *, finalized: bool = True, cost: Cost | None = None, **over: Any
) -> Tracked:
    """A job that is over."""
    fields: dict[str, Any] = {"created_at": at - timedelta(hours=1), "finished_at": at}
    return tracked(job(id_, Status.SUCCEEDED, **{**fields, **over}), finalized=finalized, since=at, cost=cost)


def ids(items: Sequence[Tracked]) -> list[str]:
    return [one.job.id for one in items]
