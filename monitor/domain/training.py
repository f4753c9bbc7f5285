"""What a job's events tell of its training: folded into one value, however often and in whatever order they come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from datetime import UTC, datetime

from monitor.domain.model import EventKind, JobEvent, Metrics, Training

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def in_order(events: Iterable[JobEvent]) -> tuple[JobEvent, ...]:
    """Oldest first. Events share seconds, so that within one the provider's order (newest first) decides."""
    placed = sorted(enumerate(events), key=lambda place: (place[1].at or _LONG_AGO, -place[0]))
    return tuple(event for _, event in placed)


def fold(training: Training, events: Iterable[JobEvent]) -> Training:
    """What is known after these events, oldest first, given what was known before."""
    events = tuple(events)
    for event in events:
        training = _hear(training, event)
    figures = [event.metrics for event in events if event.metrics is not None]
    # Of a step that is told twice, in words and in figures, what has its seconds counts.
    for metrics in sorted(figures, key=lambda metrics: (metrics.step or 0, metrics.loop_seconds is None)):
        training = _count(training, metrics)
    for metrics in sorted(figures, key=lambda metrics: metrics.step or 0):
        training = measured(training, metrics)
    return training


def _hear(training: Training, event: JobEvent) -> Training:
    if event.at is not None:
        heard = training.last_event_at
        training = replace(training, last_event_at=event.at if heard is None else max(heard, event.at))
    if event.kind is EventKind.STARTED and event.at is not None:
        first = training.started_at
        training = replace(training, started_at=event.at if first is None else min(first, event.at))
    return training


def _count(training: Training, metrics: Metrics) -> Training:
    if metrics.step is None or metrics.step <= training.counted_step:
        return training
    seconds = training.loop_seconds + (metrics.loop_seconds or 0.0)
    timed = training.timed_steps + (metrics.loop_seconds is not None)
    return replace(training, loop_seconds=seconds, counted_step=metrics.step, timed_steps=timed)


def measured(training: Training, metrics: Metrics) -> Training:
    """What is known after one measurement."""
    step = metrics.step if metrics.step is not None else training.counted_step
    newer = step >= (training.latest.step or 0)
    return replace(training, latest=_merged(training.latest, metrics, newer=newer))


def _merged(old: Metrics, new: Metrics, *, newer: bool) -> Metrics:
    first, second = (new, old) if newer else (old, new)
    values = {}
    for field in fields(Metrics):
        value = getattr(first, field.name)
        values[field.name] = value if value is not None else getattr(second, field.name)
    return Metrics(**values)
