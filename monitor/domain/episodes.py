"""Progress of a running job from read to read, and the stall episodes that follow from it."""

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
    """The progress of a job after a poll; None for a job that never ran, is over, or has no known steps.

    `at` is the local time of the poll.
    """
    if job.status is not Status.RUNNING:
        return _at_rest(was, job)
    before = was.headway if was is not None and was.headway is not None else Headway()
    again = was is not None and was.job.status is not Status.RUNNING
    if again:
        before = Headway(rate=before.rate.reset())
    (step, steps), known = _steps(job), _steps(was.job)[0] if was is not None else None
    samples = tuple(_samples(read)) if read is not None else ()
    if not samples and step is not None and step != known:
        samples = ((at, step),)  # the vendor reports the step in the job itself
    rate = before.rate.after(samples) if samples else before.rate
    seen_at = at if step != known or again else before.step_at
    now = replace(before, rate=rate, step_at=seen_at if step is not None else None, finish=rate.finish(steps))
    return now if now != Headway() else None


def _at_rest(was: Tracked | None, job: Job) -> Headway | None:
    """The progress of a job that does not run. It keeps the last step, where the warm-up after a pause starts."""
    before = was.headway if was is not None else None
    return Headway(rate=before.rate.reset()) if before is not None and not job.status.final else None


def _samples(read: EventsRead) -> Iterator[Sample]:
    for event in in_order(read.events):
        if event.at is not None and event.metrics is not None and event.metrics.step:
            yield event.at, event.metrics.step


def _steps(job: Job) -> tuple[int | None, int]:
    """The last completed step and the number of steps.

    A vendor that reports only a fraction is treated as one with 1000 steps.
    """
    latest, share = job.training.latest, job.reported_progress
    if latest.step is None and share is not None:
        return round(share * _WHOLE), _WHOLE
    return latest.step, latest.steps or 0


def on_clock(before: Headway, shift: timedelta) -> Headway:
    """The progress after the local clock jumped by `shift`: local times move, and the rate is measured anew."""
    promise = before.promise if before.promise is not None and before.promise.slipping else None
    if promise is not None:  # needed to end the episode; its finish is by the provider's clock and does not move
        promise = replace(promise, made_at=promise.made_at + shift)
    return Headway(rate=before.rate.reset(), step_at=before.step_at and before.step_at + shift, promise=promise)


def episode(
    was: Tracked, now: Tracked, at: datetime, stall_after: StallAfter, usual: Usual, ahead: timedelta
) -> tuple[Tracked, Transition | None]:
    """The job with its stall state updated, and the transition if an episode begins or ends.

    To be called when the events of the job were read and its status has not changed. A changed reason continues the
    same episode. `ahead` is how far the local clock is ahead of the provider's.
    """
    now = _with_promise(now, at)
    reason = stall_reason(_vitals(now, ahead, at, stall_after), at, silence=stall_after, queue=usual.queue)
    if was.stall is not None and was.stall.reason is StallReason.QUEUED and now.job.status is Status.QUEUED:
        reason = StallReason.QUEUED  # the usual wait has grown meanwhile, but the job still waits
    if reason is None and not was.stalled:
        return now, None
    if reason is None:
        return _with_transition(replace(now, stalled=False, stall=None), TransitionKind.MOVING, at)
    if was.stall is not None and was.stall.reason is reason:
        return now, None
    stuck = replace(now, stalled=True, stall=_stall(reason, was, now, usual, ahead))
    return (stuck, None) if was.stalled else _with_transition(stuck, TransitionKind.STALLED, at)


def _with_promise(now: Tracked, at: datetime) -> Tracked:
    """The running job with its promise updated from its expected finish."""
    if now.job.status is not Status.RUNNING:
        return now
    before = now.headway or Headway()
    promise = promised(before.promise, now.expected_finish(at), at)
    return now if promise == before.promise else replace(now, headway=replace(before, promise=promise))


def _vitals(tracked: Tracked, ahead: timedelta, at: datetime, stall_after: StallAfter) -> Vitals:
    progress, (step, steps) = tracked.headway or Headway(), _steps(tracked.job)
    limit = stall_after.get(tracked.job.status)
    # Most jobs have just taken a step: how long their steps take does not matter then.
    late = limit is not None and progress.step_at is not None and at - progress.step_at > limit
    return Vitals(
        status=tracked.job.status,
        active_at=tracked.alive_at,
        queued_at=_queued_at(tracked, ahead),
        step=step,
        steps=steps or None,
        step_at=progress.step_at,
        step_seconds=progress.rate.step_seconds if late else None,
        longest_wait=progress.rate.longest_wait if late else None,
        promise=progress.promise,
    )


def _queued_at(tracked: Tracked, ahead: timedelta) -> datetime:
    """The local time since which a job waits: its creation, or when it was seen to queue again after a pause."""
    created = tracked.job.created_at
    return created + ahead if created is not None and tracked.started_at is None else tracked.since


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


def _promise(tracked: Tracked) -> Promise | None:
    return tracked.headway.promise if tracked.headway is not None else None


def _with_transition(now: Tracked, kind: TransitionKind, at: datetime) -> tuple[Tracked, Transition]:
    """The job with the next number, and the transition of that number."""
    job, seq = now.job, now.seq + 1
    transition = Transition(org=job.org, job=job.id, seq=seq, at=at, kind=kind, before=job.status, after=job.status)
    return replace(now, seq=seq), transition
