"""The whole business: from what was known and what was seen to what is written and told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from monitor.domain.diff import StallAfter, enriched, first_sight, moved, stalled, track, vanished
from monitor.domain.flow import Change, Delivery, EventsRead, Kind, Known, Observation, Tally, Tracked, Transition
from monitor.domain.message import compose
from monitor.domain.model import Basis, Job, JobEvent
from monitor.domain.pricing import Rates, estimate, price
from monitor.domain.routing import Rule, route
from monitor.domain.tallies import tallies
from monitor.domain.training import in_order


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator wants for one organisation."""

    labels: Mapping[str, str] = field(default_factory=dict)
    stall_after: StallAfter = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    rates: Rates = ()
    lookback: timedelta = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One job's part of a change."""

    was: Tracked | None
    now: Tracked
    transition: Transition | None
    events: tuple[JobEvent, ...] = ()


def decide(known: Known, seen: Observation, policy: Policy) -> Change:
    """Everything that one look changes, as one value to commit. The same look gives the same change."""
    stored, known = known, _shifted(known, seen.shift)
    history, horizon = _history(known, seen, policy.lookback)
    steps = [_priced(step, policy.rates) for step in _steps(known, seen, history, policy.stall_after)]
    return Change(
        org=known.org,
        based_on=known.version,
        at=seen.at,
        tracked=tuple(step.now for step in steps if step.now != stored.jobs.get(step.now.job.id)),
        events=tuple(event for step in steps for event in step.events),
        transitions=tuple(step.transition for step in steps if step.transition is not None),
        deliveries=tuple(delivery for step in steps for delivery in _deliveries(step, policy)),
        tallies=tuple(tally for step in steps for tally in _tallies(step)),
        horizon=horizon,
    )


def evolve(known: Known, change: Change) -> Known:
    """What is known once the change is committed."""
    jobs = dict(known.jobs)
    settled = set()
    for tracked in change.tracked:
        if tracked.settled:
            jobs.pop(tracked.job.id, None)
            settled.add(tracked.job.id)
        else:
            jobs[tracked.job.id] = tracked
    return Known(
        org=known.org,
        version=change.based_on + 1,
        jobs=jobs,
        final=known.final | settled if settled else known.final,
        horizon=change.horizon or known.horizon,
    )


def _shifted(known: Known, shift: timedelta) -> Known:
    """The same knowledge on a clock that was set: silence is measured in time that passed, not in dates."""
    if not shift:
        return known
    jobs = {
        id_: replace(tracked, since=tracked.since + shift, stirred_at=tracked.stirred_at + shift)
        for id_, tracked in known.jobs.items()
    }
    return replace(known, jobs=jobs)


def _history(known: Known, seen: Observation, lookback: timedelta) -> tuple[frozenset[str], datetime | None]:
    """The listed jobs that are history, never followed nor told; and the horizon, where it moves.

    At first sight, jobs that ended before the lookback, and what lies behind the place where a broken list ended;
    later, unknown ended jobs from before that horizon.
    """
    unknown = [job for job in seen.jobs if job.id not in known.jobs and job.status.final and job.created_at is not None]
    if known.version == 0:
        old = {job.id: job.created_at for job in unknown if job.created_at and job.created_at < seen.at - lookback}
        unread = min((job.created_at for job in seen.jobs if job.created_at), default=None)
        limits = [*old.values(), *([] if seen.complete or unread is None else [unread])]
        return frozenset(old), max(limits, default=None)
    limit = known.horizon
    return frozenset(job.id for job in unknown if limit and job.created_at and job.created_at <= limit), None


def _steps(known: Known, seen: Observation, history: frozenset[str], stall_after: StallAfter) -> Iterator[_Step]:
    reads = {read.job: read for read in seen.reads}
    listed = {job.id: job for job in seen.jobs if job.id not in history and job.id not in known.final}
    for job in listed.values():
        yield _look(known, job, reads.get(job.id), seen.at, stall_after)
    for id_, was in known.jobs.items():
        if id_ in listed:
            continue
        if id_ in seen.missing and was.followed:
            now, transition = vanished(was, seen.at)
            yield _Step(was=was, now=now, transition=transition)
        elif id_ in reads:
            yield _look(known, was.job, reads[id_], seen.at, stall_after)
        elif seen.shift:
            yield _Step(was=was, now=was, transition=None)


def _look(known: Known, job: Job, read: EventsRead | None, at: datetime, stall_after: StallAfter) -> _Step:
    was = known.jobs.get(job.id)
    job = enriched(job, was, read, at)
    transition = (
        first_sight(job, at, baseline=known.version == 0)
        if was is None
        else moved(was, job, at) or (_quiet(was, job, read, at, stall_after))
    )
    now = track(was, job, read, transition, at)
    heard = frozenset(was.recent) if was is not None else frozenset()
    events = in_order(event for event in read.events if event.id not in heard) if read is not None else ()
    return _Step(was=was, now=now, transition=transition, events=events)


def _quiet(was: Tracked, job: Job, read: EventsRead | None, at: datetime, stall_after: StallAfter) -> Transition | None:
    """A stall is judged only when the job's events were just read and brought nothing, and the job is as it was."""
    heard = frozenset(was.recent)
    if read is None or job != was.job or any(event.id not in heard for event in read.events):
        return None
    return stalled(was, job, at, stall_after)


def _priced(step: _Step, rates: Rates) -> _Step:
    """An active job gets an estimate, an ended one its cost; where that was unknown, when the quantity comes late."""
    job, cost = step.now.job, step.now.cost
    if cost is not None and cost.basis is Basis.COMPUTED:
        return step
    return replace(step, now=replace(step.now, cost=(price if job.status.final else estimate)(job, rates)))


def _tallies(step: _Step) -> Iterator[Tally]:
    baseline = step.transition is not None and step.transition.kind is Kind.BASELINE
    if not baseline:
        yield from tallies(step.was, step.now)


def _deliveries(step: _Step, policy: Policy) -> Iterator[Delivery]:
    if step.transition is None:
        return
    job, transition = step.now.job, step.transition
    for notifier, word in route(transition, job, policy.rules, policy.labels):
        message = compose(transition, step.now, word, policy.labels)
        yield Delivery(org=job.org, job=job.id, seq=transition.seq, notifier=notifier, message=message)
