"""Increments of the stored counters that follow from a changed job. Each fact counts once, when it becomes known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import timedelta
from decimal import Decimal
from typing import Final

from monitor.domain.buckets import QUEUE_BUCKETS, RUN_BUCKETS, bucket
from monitor.domain.flow import CounterIncrement, Tracked
from monitor.domain.model import Batch, Job, JobKind, Status, TokenCount
from monitor.domain.triage import triage

MOST_NAMES: Final[Mapping[str, int]] = {"model": 1000, "endpoint": 20}
"""How many names from outside have stored counters of their own per organisation, by label."""
OTHER_NAME: Final = "other"
"""The name under which all others are counted."""
_NANO: Final = Decimal(1_000_000_000)
Labels = tuple[tuple[str, str], ...]


def increments(was: Tracked | None, now: Tracked) -> Iterator[CounterIncrement]:
    """The increments for a job that was `was` before (None: unknown) and is `now`. A corrected end counts again."""
    yield from _of_training(was, now) if now.job.kind is JobKind.FINE_TUNING else _of_batch(was, now)


def _of_training(was: Tracked | None, now: Tracked) -> Iterator[CounterIncrement]:
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


def _of_batch(was: Tracked | None, now: Tracked) -> Iterator[CounterIncrement]:
    job, batch = now.job, now.job.batch or Batch()
    if not job.status.final:
        return
    labels: Labels = (("org", job.org), ("model", job.model))
    by_status = ("status", job.status.value)
    if was is None or was.job.status is not job.status:
        ended = (*labels, ("endpoint", batch.endpoint or "unknown"), by_status)
        yield CounterIncrement(metric="batches_finished", labels=ended, amount=1)
        if job.total_time is not None:
            yield from _duration("batch", job.total_time, (*labels, by_status))
    over = was if was is not None and was.job.status.final else None
    before = _quantities(over.job.batch) if over is not None and over.job.batch is not None else {}
    for (metric, label), amount in _quantities(batch).items():
        if (metric, label) not in before:
            yield CounterIncrement(metric=metric, labels=(*labels, label), amount=amount)
    if (cost := now.computed_usd) is not None and (over is None or over.computed_usd is None):
        yield CounterIncrement(metric="batch_cost_nanodollars", labels=labels, amount=int(cost * _NANO))


def _quantities(batch: Batch) -> dict[tuple[str, tuple[str, str]], int]:
    """The known request and token counts of a finished batch, by metric name and label."""
    requests = {"completed": batch.completed, "failed": batch.failed}
    tokens = {field.name: getattr(batch.tokens, field.name) for field in fields(TokenCount)} if batch.tokens else {}
    found = {("batch_requests", ("result", result)): count for result, count in requests.items() if count is not None}
    return {**found, **{("batch_tokens", ("kind", kind)): count for kind, count in tokens.items()}}


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
    if now.job.tuning.trained_tokens is not None and (ended is None or ended.job.tuning.trained_tokens is None):
        yield CounterIncrement(metric="trained_tokens", labels=labels, amount=now.job.tuning.trained_tokens)
    cost = now.computed_usd
    if cost is not None and (ended is None or ended.computed_usd is None):
        yield CounterIncrement(metric="cost_nanodollars", labels=labels, amount=int(cost * _NANO))
