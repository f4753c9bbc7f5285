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


def increments(was: Tracked | None, now: Tracked) -> Iterator[CounterIncrement]:
    """What to add for one job, given what it was before. An end that is corrected counts as another end."""
    old, job = was.job if was is not None else None, now.job
    labels = (("org", job.org), ("model", job.model))
    by_status = (*labels, ("status", job.status.value))
    if job.queue_time is not None and (old is None or old.queue_time is None):
        yield from _duration("queue", job.queue_time, labels)
    if not job.status.final:
        return
    ends = old is None or old.status is not job.status
    if ends:
        yield from _ended(job, labels)
    if job.total_time is not None and ends:
        yield from _duration("total", job.total_time, by_status)
    if job.run_time is not None and (ends or old is None or old.run_time is None):
        yield from _duration("run", job.run_time, by_status)
    yield from _consumed(was, now)


def _duration(phase: str, time: timedelta, labels: Labels) -> Iterator[CounterIncrement]:
    buckets = QUEUE_BUCKETS if phase == "queue" else RUN_BUCKETS
    within = (*labels, ("le", bucket(time.total_seconds(), buckets)))
    yield CounterIncrement(metric=f"{phase}_seconds_bucket", labels=within, amount=1)
    yield CounterIncrement(metric=f"{phase}_milliseconds", labels=labels, amount=time // timedelta(milliseconds=1))


def _ended(job: Job, labels: Labels) -> Iterator[CounterIncrement]:
    ended = (*labels, ("method", job.method.value), ("status", job.status.value))
    yield CounterIncrement(metric="jobs_finished", labels=ended, amount=1)
    if job.status is Status.FAILED:
        reason = triage(job.error).cls.value
        yield CounterIncrement(metric="job_failures", labels=(*labels, ("reason", reason)), amount=1)


def _consumed(was: Tracked | None, now: Tracked) -> Iterator[CounterIncrement]:
    labels: Labels = (("org", now.job.org), ("model", now.job.model), ("method", now.job.method.value))
    ended = was if was is not None and was.job.status.final else None
    if now.job.trained_tokens is not None and (ended is None or ended.job.trained_tokens is None):
        yield CounterIncrement(metric="trained_tokens", labels=labels, amount=now.job.trained_tokens)
    cost = now.computed_usd
    if cost is not None and (ended is None or ended.computed_usd is None):
        yield CounterIncrement(metric="cost_nanodollars", labels=labels, amount=int(cost * _NANO))
