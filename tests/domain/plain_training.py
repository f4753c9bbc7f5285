"""The folding of events in plain words, one copy per event: what the fast one must agree with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace

from monitor.domain.model import EventKind, JobEvent, Metrics, Training


def fold(training: Training, events: Iterable[JobEvent]) -> Training:
    """What is known after these events, oldest first, given what was known before."""
    events = tuple(events)
    for event in events:
        training = _date(training, event)
    measured = [event.metrics for event in events if event.metrics is not None]
    # Of a step that is reported twice, in words and in figures, what has its seconds counts.
    for metrics in sorted(measured, key=lambda metrics: (metrics.step or 0, metrics.loop_seconds is None)):
        training = _count(training, metrics)
    for metrics in sorted(measured, key=lambda metrics: metrics.step or 0):
        training = _measure(training, metrics)
    return training


def _date(training: Training, event: JobEvent) -> Training:
    if event.at is not None:
        before = training.last_event_at
        training = replace(training, last_event_at=event.at if before is None else max(before, event.at))
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


def _measure(training: Training, metrics: Metrics) -> Training:
    step = metrics.step if metrics.step is not None else training.counted_step
    newer = step >= (training.latest.step or 0)
    return replace(training, latest=_merged(training.latest, metrics, newer=newer))


def _merged(old: Metrics, new: Metrics, *, newer: bool) -> Metrics:
    first, second = (new, old) if newer else (old, new)
    values = {}
    for field in fields(Metrics):
        value = getattr(first, field.name)
        values[field.name] = value if value is not None else getattr(second, field.name)
    told = new.lost or new.train_loss is not None
    lost = new.lost if newer and told else old.lost
    return Metrics(**{**values, "lost": lost, "train_loss": None if lost else values["train_loss"]})
