"""Stall detection: a job is silent, its steps do not advance, its finish slips, or it queues unusually long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import median, quantiles
from typing import Final

from monitor.domain.model import Status

_PATIENCE: Final = 20  # mean steps without a new one: slow storage makes single steps up to 18 times the median
_GAPS: Final = 3  # longest waits between reported steps without a new one: not every provider reports each step
_FEWEST_QUEUES: Final = 20  # waits needed for a 95th percentile
_FEWEST_RUNS: Final = 5  # runs needed for a median
_SHORT: Final = timedelta(minutes=5)  # shorter delays are never a stall, because nobody acts on them
_HELD: Final = 0.1  # fraction of the remaining time for which a new estimate must hold before it is believed


class StallReason(StrEnum):
    """Why a job counts as stalled."""

    QUEUED = "queued"
    SILENT = "silent"
    NO_STEP = "no_step"
    SLIPPING = "slipping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """The expected finish that later estimates of a job are compared with. `promised` updates it."""

    made_at: datetime
    finish: datetime
    slipping: bool = False
    """Whether the finish has slipped by more than half of the remaining time, and no new estimate has held since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """How long recent jobs of one organisation and model took."""

    queue: timedelta | None = None
    """The 95th percentile of their queue times, but at least 5 minutes; None if fewer than 20 are known."""
    queued: int = 0
    """Number of known queue times."""
    run: timedelta | None = None
    """The median of their run times; None if fewer than 5 are known."""
    ran: int = 0
    """Number of known run times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """One stall episode of a job, which lasts until the job is seen to move."""

    reason: StallReason
    since: datetime
    """The local time of the last activity, of the last step, since which it queues, or when the promise was made."""
    usual: Usual = Usual()
    promised: datetime | None = None
    """The expected finish before it slipped; None for other reasons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """The properties of a job that stall detection needs. Times are on the local clock."""

    status: Status
    active_at: datetime
    """The last activity of any kind."""
    queued_at: datetime | None = None
    """Since when it queues: its creation, or the end of a pause."""
    step: int | None = None
    steps: int | None = None
    step_at: datetime | None = None
    """When the newest step was first seen."""
    step_seconds: float | None = None
    """Mean seconds of a recent step; see `StepRate.step_seconds`."""
    longest_wait: float | None = None
    """The most seconds between two recent steps; see `StepRate.longest_wait`."""
    promise: Promise | None = None


def stall_reason(
    vitals: Vitals, now: datetime, *, silence: Mapping[Status, timedelta], queue: timedelta | None = None
) -> StallReason | None:
    """Why the job counts as stalled now; None if it does not, and in any status that has no limit.

    `silence` limits how long a job may be without activity, by status. `queue` is the usual queue time of similar jobs
    (see `usual`). If it is known, it replaces the limit for queued jobs, because a queued job never shows activity.
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
    """Whether the step has not advanced for too long, regardless of other activity; never after the last step."""
    if vitals.step_at is None or (vitals.step is not None and vitals.steps is not None and vitals.step >= vitals.steps):
        return False
    usual = max(_PATIENCE * (vitals.step_seconds or 0.0), _GAPS * (vitals.longest_wait or 0.0))
    return (now - vitals.step_at).total_seconds() > max(limit.total_seconds(), usual)


def promised(promise: Promise | None, finish: datetime | None, now: datetime) -> Promise | None:
    """The promise after another estimate of the finish; None if there is no promise yet and no estimate in the future.

    The first estimate becomes the promise. It slips when the job is expected to finish later by more than half of the
    time that was left when the promise was made, and by more than five minutes. An estimate that has passed or is
    missing counts as `now`. The new estimate then replaces the promise and counts as slipping until it has held, within
    a tenth, for a tenth of the time that it leaves.
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
    """The usual times, given the queue time and the run time of each recent job, each None if unknown."""
    known = [*times]
    waits = [wait.total_seconds() for wait, _ in known if wait is not None]
    runs = [ran.total_seconds() for _, ran in known if ran is not None]
    longest = quantiles(waits, n=20, method="inclusive")[-1] if len(waits) >= _FEWEST_QUEUES else None
    return Usual(
        queue=max(timedelta(seconds=longest), _SHORT) if longest is not None else None,
        queued=len(waits),
        run=timedelta(seconds=median(runs)) if len(runs) >= _FEWEST_RUNS else None,
        ran=len(runs),
    )
