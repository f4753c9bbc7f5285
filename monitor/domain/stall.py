"""Whether a job is stuck: silent, without steps, ever later than it promised, or queued for unusually long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import median, quantiles
from typing import Final

from monitor.domain.model import Status

_PATIENCE: Final = 20  # steps: slow storage makes single ones 18 times longer than the median, and that is no stall
_GAPS: Final = 3  # times the longest wait between two steps: not every provider tells of every step
_FEWEST_QUEUES: Final = 20
_FEWEST_RUNS: Final = 5
_SHORT: Final = timedelta(minutes=5)  # nobody acts on a delay that is shorter
_HELD: Final = 0.1  # of what is left: for so long an estimate has to hold before it is believed again


class StallReason(StrEnum):
    """Why a job counts as stalled; a closed set."""

    QUEUED = "queued"
    SILENT = "silent"
    NO_STEP = "no_step"
    SLIPPING = "slipping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """The finish a job is held to, folded one estimate at a time."""

    made_at: datetime
    finish: datetime
    slipping: bool = False
    """It has slipped by more than half of what was left, and since then the new one has not held yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """How long the last jobs of one organisation and model took."""

    queue: timedelta | None = None
    """The 95th percentile of their waits; None where there are too few."""
    queued: int = 0
    """How many waits that is of."""
    run: timedelta | None = None
    """The median of the time that they ran; None where there are too few."""
    ran: int = 0
    """How many runs that is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """One episode: from the look that found a job stuck to the one that sees it move."""

    reason: StallReason
    since: datetime
    """The last sign of life, the last step, the moment from which it queues, or when a promise was made; our clock."""
    usual: Usual = Usual()
    promised: datetime | None = None
    """When it was expected to finish, before that slipped."""


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
    longest_wait: float | None = None
    """The most seconds between two recent steps; see `StepRate.longest_wait`."""
    promise: Promise | None = None


def stall_reason(
    vitals: Vitals, now: datetime, *, silence: Mapping[Status, timedelta], queue: timedelta | None = None
) -> StallReason | None:
    """Why the job counts as stalled now; None while it moves, and in any status that has no limit.

    `silence` is how long a job may show no sign of life, by status; `queue` is the usual longest wait of jobs like it
    (see `usual`), which counts instead of the silence of a queue where it is known: a queue is always silent.
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
    usual = max(_PATIENCE * (vitals.step_seconds or 0.0), _GAPS * (vitals.longest_wait or 0.0))
    return (now - vitals.step_at).total_seconds() > max(limit.total_seconds(), usual)


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


def usual(times: Iterable[tuple[timedelta | None, timedelta | None]]) -> Usual:
    """What is usual, given how long each of the last jobs of one organisation and model waited and ran, where known."""
    each = [*times]
    waits = [wait.total_seconds() for wait, _ in each if wait is not None]
    runs = [ran.total_seconds() for _, ran in each if ran is not None]
    longest = quantiles(waits, n=20, method="inclusive")[-1] if len(waits) >= _FEWEST_QUEUES else None
    return Usual(
        queue=max(timedelta(seconds=longest), _SHORT) if longest is not None else None,
        queued=len(waits),
        run=timedelta(seconds=median(runs)) if len(runs) >= _FEWEST_RUNS else None,
        ran=len(runs),
    )
