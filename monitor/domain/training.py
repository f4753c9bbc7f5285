"""Folds a job's events into the state of its training, however often and in whatever order they come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Final

from monitor.domain.model import EventKind, JobEvent, Metrics, Training

_FIGURES: Final = tuple(field.name for field in fields(Metrics) if field.name != "lost")
_STEP: Final = _FIGURES.index("step")
_LOSS: Final = _FIGURES.index("train_loss")
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


def in_order(events: Iterable[JobEvent]) -> tuple[JobEvent, ...]:
    """The events, oldest first. Those of the same second are reversed, because providers list the newest first."""
    numbered = sorted(enumerate(events), key=lambda pair: (pair[1].at or _LONG_AGO, -pair[0]))
    return tuple(event for _, event in numbered)


def fold(training: Training, events: Iterable[JobEvent]) -> Training:
    """The training after these events, which are sorted oldest first.

    Busy jobs have hundreds of new events: they are folded in local variables, and one value is built at the end.
    """
    last, started, measured = training.last_event_at, training.started_at, []
    for event in events:
        if event.metrics is not None:
            measured.append(event.metrics)
        if event.at is None:
            continue
        last = event.at if last is None or event.at > last else last
        if event.kind is EventKind.STARTED:
            started = event.at if started is None or event.at < started else started
    if not measured:
        if last == training.last_event_at and started == training.started_at:
            return training
        return replace(training, last_event_at=last, started_at=started)
    seconds, counted, timed = _step_times(training, measured)
    return replace(
        training,
        last_event_at=last,
        started_at=started,
        loop_seconds=seconds,
        counted_step=counted,
        timed_steps=timed,
        latest=_latest(training.latest, counted, measured),
    )


def with_metrics(training: Training, metrics: Metrics) -> Training:
    """The training after a measurement that does not come from an event."""
    return replace(training, latest=_latest(training.latest, training.counted_step, (metrics,)))


def _step_times(training: Training, measured: Sequence[Metrics]) -> tuple[float, int, int]:
    """The seconds of all steps so far, the last counted step, and the number of steps whose seconds are known.

    A step may be reported twice, as text and as metrics: the report with its seconds counts.
    """
    seconds, counted, timed = training.loop_seconds, training.counted_step, training.timed_steps
    for metrics in sorted(measured, key=lambda metrics: (metrics.step or 0, metrics.loop_seconds is None)):
        if metrics.step is not None and metrics.step > counted:
            seconds += metrics.loop_seconds or 0.0
            timed += metrics.loop_seconds is not None
            counted = metrics.step
    return seconds, counted, timed


def _latest(before: Metrics, counted: int, measured: Sequence[Metrics]) -> Metrics:
    """The newest value of each figure. One without a step belongs to the last counted step."""
    values, lost = [getattr(before, name) for name in _FIGURES], before.lost
    for metrics in sorted(measured, key=lambda metrics: metrics.step or 0):
        newer = (metrics.step if metrics.step is not None else counted) >= (values[_STEP] or 0)
        for place, value in enumerate(map(metrics.__getattribute__, _FIGURES)):
            if value is not None and (newer or values[place] is None):
                values[place] = value
        if newer and (metrics.lost or metrics.train_loss is not None):
            lost = metrics.lost
    if lost:
        values[_LOSS] = None  # the newest loss was not a number; that of an earlier step is out of date
    return Metrics(**dict(zip(_FIGURES, values, strict=True)), lost=lost)
