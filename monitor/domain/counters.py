"""What a job's change adds to the counters that outlive the process: each fact once, when it becomes known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Final

from monitor.domain.buckets import QUEUE_BUCKETS, RUN_BUCKETS, bucket
from monitor.domain.flow import CounterIncrement, Tracked
from monitor.domain.model import Job, Status
from monitor.domain.triage import triage

_NANO: Final = Decimal(1_000_000_000)
Labels = tuple[tuple[str, str], ...]


def counters(was: Tracked | None, now: Tracked) -> Iterator[CounterIncrement]:
    """What to add for one job, given what it was before."""
    old, job = was.job if was is not None else None, now.job
    if job.queue_time is not None and (old is None or old.queue_time is None):
        yield from _queued(job, job.queue_time)
    if not job.status.final:
        return
    if old is None or not old.status.final:
        yield from _ended(job)
    if job.run_time is not None and (old is None or old.run_time is None):
        yield from _ran(job, job.run_time)
    yield from _consumed(was, now)


def _queued(job: Job, queue_time: timedelta) -> Iterator[CounterIncrement]:
    labels = (("org", job.org), ("model", job.model))
    yield CounterIncrement(
        metric="queue_seconds_bucket",
        labels=(*labels, ("le", bucket(queue_time.total_seconds(), QUEUE_BUCKETS))),
        amount=1,
    )
    yield CounterIncrement(metric="queue_milliseconds", labels=labels, amount=_milliseconds(queue_time))


def _ended(job: Job) -> Iterator[CounterIncrement]:
    labels = (("org", job.org), ("model", job.model))
    ended = (*labels, ("method", job.method.value), ("status", job.status.value))
    yield CounterIncrement(metric="jobs_finished", labels=ended, amount=1)
    if job.status is Status.FAILED:
        reason = triage(job.error).cls.value
        yield CounterIncrement(metric="job_failures", labels=(*labels, ("reason", reason)), amount=1)


def _ran(job: Job, run_time: timedelta) -> Iterator[CounterIncrement]:
    labels = (("org", job.org), ("model", job.model), ("status", job.status.value))
    yield CounterIncrement(
        metric="run_seconds_bucket",
        labels=(*labels, ("le", bucket(run_time.total_seconds(), RUN_BUCKETS))),
        amount=1,
    )
    yield CounterIncrement(metric="run_milliseconds", labels=labels, amount=_milliseconds(run_time))


def _consumed(was: Tracked | None, now: Tracked) -> Iterator[CounterIncrement]:
    labels: Labels = (("org", now.job.org), ("model", now.job.model), ("method", now.job.method.value))
    ended = was if was is not None and was.job.status.final else None
    if now.job.trained_tokens is not None and (ended is None or ended.job.trained_tokens is None):
        yield CounterIncrement(metric="trained_tokens", labels=labels, amount=now.job.trained_tokens)
    cost = _computed(now)
    if cost is not None and (ended is None or _computed(ended) is None):
        yield CounterIncrement(metric="cost_nanodollars", labels=labels, amount=int(cost * _NANO))


def _computed(tracked: Tracked) -> Decimal | None:
    return tracked.cost.computed if tracked.cost is not None else None


def _milliseconds(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
