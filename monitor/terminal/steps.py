"""How far a run is, read off the events of its stream: the step, the latest figures, and when it will be through."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from monitor.terminal.answers import Event, Job, Metrics


def latest(events: Sequence[Event]) -> Metrics | None:
    """The measurement of the highest step; None where nothing was measured."""
    measured = [event.metrics for event in events if event.metrics is not None and event.metrics.step is not None]
    return max(measured, key=lambda metrics: metrics.step or 0, default=None)


def step(events: Sequence[Event]) -> str:
    """`step 420 of 1,000`; empty where nothing was measured."""
    metrics = latest(events)
    if metrics is None or metrics.step is None:
        return ""
    return f"step {metrics.step:,}" + (f" of {metrics.steps:,}" if metrics.steps else "")


def remaining(job: Job, events: Sequence[Event], now: datetime) -> timedelta | None:
    """How long a running job has still to go: by the provider's own estimate, else by the pace of its steps.

    An estimate that has passed is none any more.
    """
    if job.status != "running":
        return None
    if job.estimated_finish is not None and job.estimated_finish > now:
        return job.estimated_finish - now
    return _by_pace(job, events, now)


def _by_pace(job: Job, events: Sequence[Event], now: datetime) -> timedelta | None:
    done = sorted(
        (event.metrics.step, event.at, event.metrics.steps)
        for event in events
        if event.at is not None and event.metrics is not None and event.metrics.step and event.metrics.steps
    )
    if not done:
        return None
    newest, at, steps = done[-1]
    first, since, _ = done[0]
    if at <= since and job.started_at is not None:
        first, since = 0, job.started_at
    if at <= since or newest <= first:
        return None
    # As a number: an hour for each of 2**53 steps is no timedelta.
    seconds = (at - since).total_seconds() / (newest - first) * max(steps - newest, 0) - (now - at).total_seconds()
    return timedelta(seconds=max(seconds, 0.0)) if seconds < timedelta.max.total_seconds() / 2 else None
