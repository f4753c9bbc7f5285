"""The comparison of a known job with what a poll saw: the merged job, and its transition if there is one."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Final

from monitor.domain.episodes import headway
from monitor.domain.event_ids import NONE_YET, RecentIds
from monitor.domain.flow import (
    BELIEVED_AFTER,
    DOUBT_GAP,
    GONE_AFTER,
    Doubt,
    EventsRead,
    Tracked,
    Transition,
    TransitionKind,
)
from monitor.domain.model import Batch, FineTuning, Job, Metrics, Status, Training
from monitor.domain.training import fold, in_order, with_metrics

GONE: Final = "gone"
_WAITING: Final = frozenset({Status.VALIDATING, Status.QUEUED})
_SKEW: Final = timedelta(minutes=1)  # the provider's clock may be behind, and its times are in whole seconds


def enriched(job: Job, was: Tracked | None, read: EventsRead | None, at: datetime) -> Job:
    """The listed job, completed from its events, with a time of its end if the provider gives none.

    Known times and figures of a finished job are never overwritten: a later poll, which a stale cache may have
    answered, only fills in what is missing.
    """
    training = was.job.training if was is not None else job.training
    if job.training.latest != Metrics():
        training = with_metrics(training, job.training.latest)  # some vendors report steps and losses in the job itself
    if read is not None:
        before = replace(training, loop_seconds=0.0, counted_step=0, timed_steps=0) if read.whole else training
        training = fold(before, in_order(read.events))
    started = was.job.started_at if was is not None else None
    if started is None and was is not None and job.status.final and training.last_event_at is None:
        started = was.ran_at  # a finished job without events has no better source for its start
    if started is None and job.status.final:
        started = job.taken_up_at
    job = replace(job, training=training, started_at=job.started_at or training.started_at or started)
    if was is not None and was.job.status.final:
        return _completed(was, job, at)
    if job.status.final and job.finished_at is None:
        return replace(job, finished_at=training.last_event_at or (at if was is not None else None))
    return job


def _completed(was: Tracked, seen: Job, at: datetime) -> Job:
    """A finished job, with missing fields filled in from a later poll that agrees on its end.

    If the provider has corrected the end, it is the job as the poll saw it.
    """
    if believed(was, seen, at):
        return seen
    ended = replace(was.job, training=seen.training, started_at=was.job.started_at or seen.training.started_at)
    if seen.status is not ended.status:
        return ended
    return replace(
        ended,
        summary_only=ended.summary_only and seen.summary_only,
        error=ended.error or seen.error,
        reported_usd=seen.reported_usd if ended.reported_usd is None else ended.reported_usd,
        tuning=_merged_tuning(ended.tuning, seen.tuning),
        batch=_merged_batch(ended.batch, seen.batch),
    )


def _merged_tuning(was: FineTuning, seen: FineTuning) -> FineTuning:
    """The fine-tuning part of a finished job, with missing results filled in from a later poll."""
    return replace(
        was,
        epochs=seen.epochs if was.epochs is None else was.epochs,
        trained_tokens=seen.trained_tokens if was.trained_tokens is None else was.trained_tokens,
        fine_tuned_model=was.fine_tuned_model or seen.fine_tuned_model,
        result_files=was.result_files or seen.result_files,
    )


def _merged_batch(was: Batch | None, seen: Batch | None) -> Batch | None:
    """A finished batch, with missing fields filled in from a later poll: its files and tokens may come late."""
    if was is None or seen is None:
        return was or seen
    known = {field.name: value for field in fields(Batch) if (value := getattr(was, field.name)) is not None}
    return replace(seen, **known)


def believed(was: Tracked, seen: Job, at: datetime) -> bool:
    """Whether the provider has contradicted the end of a job often enough to be believed, at most once per job."""
    if was.corrected or not was.job.status.final or seen.status is was.job.status or seen.status is Status.UNKNOWN:
        return False
    return doubted(was, seen, at).polls >= BELIEVED_AFTER


def doubted(was: Tracked, seen: Job, at: datetime) -> Doubt:
    """The doubt about the end of a job after one more poll that contradicts it."""
    doubt = was.doubt
    if doubt is None or doubt.status is not seen.status:
        return Doubt(status=seen.status, polls=1, at=at)
    return replace(doubt, polls=doubt.polls + 1, at=at) if at - doubt.at >= DOUBT_GAP else doubt


def first_sight(job: Job, at: datetime, *, baseline: bool) -> Transition:
    """The transition of an unknown job: part of the baseline at first sight of its organisation, otherwise news."""
    kind = TransitionKind.BASELINE if baseline else TransitionKind.APPEARED
    return Transition(org=job.org, job=job.id, seq=1, at=at, kind=kind, before=None, after=job.status)


def moved(was: Tracked, job: Job, at: datetime) -> Transition | None:
    """The transition of a known job; None if its status is unchanged.

    The status of a finished job differs here only if its end is corrected; see `enriched`.
    """
    before, after = was.job.status, job.status
    if before is after:
        return None
    back = was.gone and not after.final
    kind = TransitionKind.CORRECTED if before.final else TransitionKind.BACK if back else TransitionKind.MOVED
    return Transition(
        org=job.org,
        job=job.id,
        seq=was.seq + 1,
        at=at,
        kind=kind,
        before=before,
        after=after,
        resumed=before is Status.PAUSED and after in (Status.QUEUED, Status.VALIDATING, Status.RUNNING),
        restarted=before is Status.PAUSED or (was.started_at is not None and not _starts(was, after)),
    )


def _starts(was: Tracked, after: Status) -> bool:
    """Whether a waiting job runs for the first time though its start is known: events may report it before the list
    shows the job as running. A start from before it waited is an earlier one."""
    start = was.job.started_at
    waited = was.job.status in _WAITING and was.ran_at is None
    return waited and after is Status.RUNNING and start is not None and start >= was.since - _SKEW


def vanished(was: Tracked, at: datetime) -> tuple[Tracked, Transition | None]:
    """The job after a poll in which the provider did not know it. GONE_AFTER such polls in a row make it gone."""
    if was.gone:
        return was, None
    missing = was.missing + 1
    if missing != GONE_AFTER:
        return replace(was, missing=missing), None
    job = replace(was.job, status=Status.UNKNOWN, raw_status=GONE)
    transition = Transition(
        org=job.org,
        job=job.id,
        seq=was.seq + 1,
        at=at,
        kind=TransitionKind.GONE,
        before=was.job.status,
        after=job.status,
    )
    return replace(was, job=job, missing=missing, seq=transition.seq, since=at), transition


def at_rest(was: Tracked, found: Job, read: EventsRead | None) -> bool:
    """Whether a poll shows nothing new of an active job, which is the usual case.

    `track` would return the job unchanged then, and only the passing of time can have made it stall.
    """
    if was.job.status.final or was.missing or was.doubt is not None:
        return False
    if read is not None and (read.events or read.whole):
        return False
    job, training = was.job, was.job.training
    if job.started_at != (found.started_at or training.started_at or job.started_at):
        return False
    if found is job:
        return True
    return found.training == Training() and replace(found, training=training, started_at=job.started_at) == job


def track(
    was: Tracked | None, job: Job, read: EventsRead | None, transition: Transition | None, at: datetime
) -> Tracked:
    """The state of a job that is stored after a poll."""
    recent = _recent(was, read)
    if was is None:
        baseline = transition is not None and transition.kind is TransitionKind.BASELINE
        return Tracked(
            job=job,
            seq=1,
            since=at,
            last_activity_at=_last_reported(job),
            finalized=baseline and job.status.final and not job.summary_only,
            recent_ids=recent,
            headway=headway(None, job, read, at),
        )
    corrects = transition is not None and transition.kind is TransitionKind.CORRECTED
    changed = job != was.job or recent != was.recent_ids
    begins = job.status is Status.RUNNING and was.job.status in _WAITING
    stays = job.status is was.job.status
    return replace(
        was,
        job=job,
        seq=transition.seq if transition is not None else was.seq,
        since=was.since if stays and not corrects else at,
        last_activity_at=at if changed else was.last_activity_at,
        ran_at=was.ran_at or (at if begins else None),
        stalled=was.stalled and stays,  # a change of status ends a stall
        stall=was.stall if stays else None,
        headway=headway(was, job, read, at) if changed else was.headway,
        missing=0,
        paused=was.paused + (at - was.since if _unpaused(was, job) else timedelta(0)),
        finalized=(was.finalized and not corrects) or (was.ready_to_finalize(at) and read is not None and read.whole),
        recent_ids=recent,
        corrected=was.corrected or corrects,
    )


def _last_reported(job: Job) -> datetime | None:
    """The last activity of a job that was not known before, by the provider's clock."""
    times = (job.created_at, job.started_at, job.finished_at, job.training.last_event_at)
    return max((time for time in times if time is not None), default=None)


def _unpaused(was: Tracked, job: Job) -> bool:
    return was.job.status is Status.PAUSED and job.status is not Status.PAUSED


def _recent(was: Tracked | None, read: EventsRead | None) -> RecentIds:
    known = was.recent_ids if was is not None else NONE_YET
    if read is None or not (read.events or read.whole):
        return known
    reported_ids = dict.fromkeys(event.id for event in in_order(read.events))
    if read.whole:
        newest = RecentIds.of(reported_ids, read.span)
        return known if newest.same(known) else newest
    return known.followed_by(reported_ids, read.span)
