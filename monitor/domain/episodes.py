"""How a job gets on, read by read, and the episodes in which it is stuck."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from monitor.domain.eta import Sample
from monitor.domain.flow import EventsRead, Headway, Tracked, Transition, TransitionKind
from monitor.domain.model import Job, Status
from monitor.domain.stall import Promise, Stall, StallReason, Usual, Vitals, promised, stall_reason
from monitor.domain.training import in_order

StallAfter = Mapping[Status, timedelta]
_WHOLE: Final = 1000


def headway(was: Tracked | None, job: Job, read: EventsRead | None, at: datetime) -> Headway | None:
    """How the job gets on, once this is known of it; None where it does not run, or nothing tells of its steps."""
    if job.status is not Status.RUNNING:
        return _resting(was, job)
    before = was.headway if was is not None and was.headway is not None else Headway()
    again = was is not None and was.job.status is not Status.RUNNING
    if again:
        before = Headway(rate=before.rate.anew())
    (step, steps), known = _steps(job), _steps(was.job)[0] if was is not None else None
    samples = tuple(_samples(read)) if read is not None else ()
    if not samples and step is not None and step != known:
        samples = ((at, step),)  # the vendor tells it in the job itself
    rate = before.rate.after(samples) if samples else before.rate
    seen_at = at if step != known or again else before.step_at
    now = replace(before, rate=rate, step_at=seen_at if step is not None else None, finish=rate.finish(steps))
    return now if now != Headway() else None


def _resting(was: Tracked | None, job: Job) -> Headway | None:
    """Of a job that is paused, or queues after a pause, the steps are remembered: its warm-up is told from them."""
    before = was.headway if was is not None else None
    return Headway(rate=before.rate.anew()) if before is not None and not job.status.final else None


def _samples(read: EventsRead) -> Iterator[Sample]:
    for event in in_order(read.events):
        if event.at is not None and event.metrics is not None and event.metrics.step:
            yield event.at, event.metrics.step


def _steps(job: Job) -> tuple[int | None, int]:
    """The last step that is done, and how many there are; of a vendor that tells a share alone, thousandths of it."""
    latest, share = job.training.latest, job.reported_progress
    if latest.step is None and share is not None:
        return round(share * _WHOLE), _WHOLE
    return latest.step, latest.steps or 0


def on_clock(of: Headway, shift: timedelta) -> Headway:
    """The same on a clock that was set: what was measured on the old one is measured anew."""
    promise = of.promise if of.promise is not None and of.promise.slipping else None
    if promise is not None:  # it ends an episode; its finish is by the provider's clock
        promise = replace(promise, made_at=promise.made_at + shift)
    return Headway(rate=of.rate.anew(), step_at=of.step_at and of.step_at + shift, promise=promise)


def episode(
    was: Tracked, now: Tracked, at: datetime, stall_after: StallAfter, usual: Usual, ahead: timedelta
) -> tuple[Tracked, Transition | None]:
    """The job once it is judged whether it is stuck, and that an episode has begun or ended.

    To be asked when its events were read and its status is what it was. An episode is one, however its reason changes.
    `ahead` is how far our clock is ahead of the provider's.
    """
    now = _held(now, at)
    reason = stall_reason(_vitals(now, ahead), at, silence=stall_after, queue=usual.queue)
    if was.stall is not None and was.stall.reason is StallReason.QUEUED and now.job.status is Status.QUEUED:
        reason = StallReason.QUEUED  # that others wait as long by now moves nothing
    if reason is None and not was.stalled:
        return now, None
    if reason is None:
        return _notified(replace(now, stalled=False, stall=None), TransitionKind.MOVING, at)
    if was.stall is not None and was.stall.reason is reason:
        return now, None
    stuck = replace(now, stalled=True, stall=_stall(reason, was, now, usual, ahead))
    return (stuck, None) if was.stalled else _notified(stuck, TransitionKind.STALLED, at)


def _held(now: Tracked, at: datetime) -> Tracked:
    """The job with the promise that its expected finish comes to."""
    if now.job.status is not Status.RUNNING:
        return now
    before = now.headway or Headway()
    promise = promised(before.promise, now.expected_finish(at), at)
    return now if promise == before.promise else replace(now, headway=replace(before, promise=promise))


def _vitals(of: Tracked, ahead: timedelta) -> Vitals:
    now, (step, steps) = of.headway or Headway(), _steps(of.job)
    return Vitals(
        status=of.job.status,
        active_at=of.alive_at,
        queued_at=_queued_at(of, ahead),
        step=step,
        steps=steps or None,
        step_at=now.step_at,
        step_seconds=now.rate.step_seconds,
        longest_wait=now.rate.longest_wait,
        promise=now.promise,
    )


def _queued_at(of: Tracked, ahead: timedelta) -> datetime:
    """Since when it waits, on our clock: its creation, or when it was seen to queue again after a pause."""
    created = of.job.created_at
    return created + ahead if created is not None and of.started_at is None else of.since


def _stall(reason: StallReason, was: Tracked, now: Tracked, usual: Usual, ahead: timedelta) -> Stall:
    before, promise = now.headway or Headway(), _promise(was)
    match reason:
        case StallReason.QUEUED:
            return Stall(reason=reason, since=_queued_at(now, ahead), usual=usual)
        case StallReason.NO_STEP if before.step_at is not None:
            return Stall(reason=reason, since=before.step_at, usual=usual)
        case StallReason.SLIPPING if promise is not None:
            return Stall(reason=reason, since=promise.made_at, usual=usual, promised=promise.finish)
        case _:
            return Stall(reason=reason, since=now.alive_at, usual=usual)


def _promise(of: Tracked) -> Promise | None:
    return of.headway.promise if of.headway is not None else None


def _notified(now: Tracked, kind: TransitionKind, at: datetime) -> tuple[Tracked, Transition]:
    """The job and the transition that tells of it."""
    job, seq = now.job, now.seq + 1
    transition = Transition(org=job.org, job=job.id, seq=seq, at=at, kind=kind, before=job.status, after=job.status)
    return replace(now, seq=seq), transition
