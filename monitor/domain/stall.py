"""Whether a job is stuck: silent, without steps, ever later than it promised, or queued for unusually long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import quantiles
from typing import Final

from monitor.domain.model import Status

_PATIENCE: Final = 20  # steps: slow storage makes single ones 18 times longer than the median, and that is no stall
_FEWEST_QUEUES: Final = 20
_SHORT: Final = timedelta(minutes=5)  # nobody acts on a delay that is shorter
_HELD: Final = 0.1  # of what is left: for so long an estimate has to hold before it is believed again


class StallReason(StrEnum):
    """Why a job counts as stalled; a closed set."""

    QUEUED = "queued"
    SILENT = "silent"
    NO_STEP = "no_step"
    SLIPPING = "slipping"


class EpisodeChange(StrEnum):
    """What to report of an episode: its beginning and its end, each once."""

    STALLED = "stalled"
    MOVING = "moving"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """The finish a job is held to, folded one estimate at a time."""

    made_at: datetime
    finish: datetime
    slipping: bool = False
    """It has slipped by more than half of what was left, and since then the new one has not held yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What a job shows of its life. Times are on our clock."""

    status: Status
    active_at: datetime
    """Its last sign of life of any kind."""
    queued_at: datetime | None = None
    """Since when it waits for its turn: its creation, or the end of a pause."""
    step: int | None = None
    steps: int | None = None
    step_at: datetime | None = None
    """When its newest step was seen."""
    step_seconds: float | None = None
    """How long a recent step took on the mean; see `StepRate.step_seconds`."""
    promise: Promise | None = None


def stall_reason(
    vitals: Vitals, now: datetime, *, silence: Mapping[Status, timedelta], queue: timedelta | None = None
) -> StallReason | None:
    """Why the job counts as stalled now; None while it moves, and in any status that has no limit.

    `silence` is how long a job may show no sign of life, by status; `queue` is the usual longest wait of jobs like it
    (see `queue_limit`), which counts instead of the silence of a queue where it is known: a queue is always silent.
    """
    limit = silence.get(vitals.status)
    if limit is None:
        return None
    if vitals.status is Status.QUEUED and vitals.queued_at is not None and queue is not None:
        return StallReason.QUEUED if now - vitals.queued_at > queue else None
    if now - vitals.active_at > limit:
        return StallReason.SILENT
    if vitals.status is not Status.RUNNING:
        return None
    if _without_step(vitals, now, limit):
        return StallReason.NO_STEP
    return StallReason.SLIPPING if vitals.promise is not None and vitals.promise.slipping else None


def _without_step(vitals: Vitals, now: datetime, limit: timedelta) -> bool:
    """Whether its step does not advance, other signs of life or not; after the last one, there is none to come."""
    if vitals.step_at is None or (vitals.step is not None and vitals.steps is not None and vitals.step >= vitals.steps):
        return False
    return (now - vitals.step_at).total_seconds() > max(
        limit.total_seconds(), _PATIENCE * (vitals.step_seconds if vitals.step_seconds is not None else 0.0)
    )


def promised(promise: Promise | None, finish: datetime | None, now: datetime) -> Promise | None:
    """The promise after another look at the estimated finish; None where there is no estimate now.

    The first estimate is the promise. It slips when the job is expected later than that by more than half of what was
    left when it was made (and by five minutes at least): by the newest estimate, or because that has passed or is gone.
    Then the new estimate takes its place, and when it has held for a tenth of what it leaves, the job moves again.
    """
    if promise is None:
        return Promise(made_at=now, finish=finish) if finish is not None and finish > now else None
    left = promise.finish - promise.made_at
    expected = now if finish is None else max(finish, now)
    late = expected - promise.finish
    if not promise.slipping:
        return Promise(made_at=now, finish=expected, slipping=True) if late > max(left / 2, _SHORT) else promise
    if late > left * _HELD:
        return Promise(made_at=now, finish=expected, slipping=True)
    if finish is not None and finish > now and now - promise.made_at >= left * _HELD:
        return Promise(made_at=now, finish=finish)
    return promise


def queue_limit(waits: Sequence[timedelta]) -> timedelta | None:
    """The 95th percentile of the waits of the last jobs of one organisation and model; None below twenty jobs."""
    if len(waits) < _FEWEST_QUEUES:
        return None
    seconds = [wait.total_seconds() for wait in waits]
    return max(timedelta(seconds=quantiles(seconds, n=20, method="inclusive")[-1]), _SHORT)


def episode_change(was: StallReason | None, reason: StallReason | None) -> EpisodeChange | None:
    """What to report, given the reason at the last look: an episode is one, however its reason changes."""
    if (was is None) == (reason is None):
        return None
    return EpisodeChange.STALLED if reason is not None else EpisodeChange.MOVING
