"""What a job's events say of its training: folded into one value, however often and in whatever order they come."""

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
    """Oldest first. Events share seconds, so that within one the provider's order (newest first) decides."""
    placed = sorted(enumerate(events), key=lambda place: (place[1].at or _LONG_AGO, -place[0]))
    return tuple(event for _, event in placed)


def fold(training: Training, events: Iterable[JobEvent]) -> Training:
    """What is known after these events, oldest first, given what was known before.

    Events of a busy job come by the hundred: they are gathered in plain variables, and one value is made at the end.
    """
    last, started, figures = training.last_event_at, training.started_at, []
    for event in events:
        if event.metrics is not None:
            figures.append(event.metrics)
        if event.at is None:
            continue
        last = event.at if last is None or event.at > last else last
        if event.kind is EventKind.STARTED:
            started = event.at if started is None or event.at < started else started
    if not figures:
        if last == training.last_event_at and started == training.started_at:
            return training
        return replace(training, last_event_at=last, started_at=started)
    seconds, counted, timed = _counted(training, figures)
    return replace(
        training,
        last_event_at=last,
        started_at=started,
        loop_seconds=seconds,
        counted_step=counted,
        timed_steps=timed,
        latest=_latest(training.latest, counted, figures),
    )


def measured(training: Training, metrics: Metrics) -> Training:
    """What is known after a measurement that is no event."""
    return replace(training, latest=_latest(training.latest, training.counted_step, (metrics,)))


def _counted(training: Training, measured: Sequence[Metrics]) -> tuple[float, int, int]:
    """The seconds of all steps, the last step, and how many steps have their seconds.

    Of a step that is reported twice, in words and in figures, what has its seconds counts.
    """
    seconds, counted, timed = training.loop_seconds, training.counted_step, training.timed_steps
    for metrics in sorted(measured, key=lambda metrics: (metrics.step or 0, metrics.loop_seconds is None)):
        if metrics.step is not None and metrics.step > counted:
            seconds += metrics.loop_seconds or 0.0
            timed += metrics.loop_seconds is not None
            counted = metrics.step
    return seconds, counted, timed


def _latest(before: Metrics, counted: int, measured: Sequence[Metrics]) -> Metrics:
    """The newest value of each figure; one that is of no step is of the last."""
    values, lost = [getattr(before, name) for name in _FIGURES], before.lost
    for metrics in sorted(measured, key=lambda metrics: metrics.step or 0):
        newer = (metrics.step if metrics.step is not None else counted) >= (values[_STEP] or 0)
        for place, value in enumerate(map(metrics.__getattribute__, _FIGURES)):
            if value is not None and (newer or values[place] is None):
                values[place] = value
        if newer and (metrics.lost or metrics.train_loss is not None):
            lost = metrics.lost
    if lost:
        values[_LOSS] = None  # that of an earlier step is not the newest
    return Metrics(**dict(zip(_FIGURES, values, strict=True)), lost=lost)
