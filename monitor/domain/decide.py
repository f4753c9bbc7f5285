"""The whole business: from what was known and what was seen to what is written and told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from monitor.domain.costs import Spending, TunedModel
from monitor.domain.counters import counters
from monitor.domain.diff import StallAfter, enriched, first_sight, moved, stalled, track, vanished
from monitor.domain.flow import (
    Change,
    CounterIncrement,
    EventsRead,
    Known,
    Observation,
    Tracked,
    Transition,
    TransitionKind,
)
from monitor.domain.model import Job, JobEvent, Status
from monitor.domain.news import Delivery
from monitor.domain.pricing import EMPTY, Prices, estimate, price, shutdown
from monitor.domain.render import Labelling, build_delivery
from monitor.domain.routing import Rule, route_job
from monitor.domain.training import in_order


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator wants for one organisation."""

    labelling: Labelling = field(default_factory=Labelling)
    stall_after: StallAfter = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    prices: Prices = EMPTY
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
    looked = _steps(known, seen, history, policy.stall_after)
    steps = [_priced(_sized(step, seen), policy.prices) for step in looked]
    return Change(
        org=known.org,
        based_on=known.version,
        at=seen.at,
        tracked=tuple(step.now for step in steps if step.now != stored.jobs.get(step.now.job.id)),
        events=tuple(event for step in steps for event in step.events),
        transitions=tuple(step.transition for step in steps if step.transition is not None),
        deliveries=tuple(delivery for step in steps for delivery in _deliveries(step, policy)),
        counters=tuple(tally for step in steps for tally in _tallies(step)),
        spendings=tuple(spending for step in steps for spending in _spendings(step)),
        tuned=tuple(model for step in steps for model in _tuned(step, policy.prices)),
        horizon=horizon,
    )


def evolve(known: Known, change: Change) -> Known:
    """What is known once the change is committed."""
    jobs = dict(known.jobs)
    finalized = set()
    for tracked in change.tracked:
        if tracked.finalized:
            jobs.pop(tracked.job.id, None)
            finalized.add(tracked.job.id)
        else:
            jobs[tracked.job.id] = tracked
    return Known(
        org=known.org,
        version=change.based_on + 1,
        jobs=jobs,
        final=known.final | finalized if finalized else known.final,
        horizon=change.horizon or known.horizon,
        partial=change.more,
    )


def _shifted(known: Known, shift: timedelta) -> Known:
    """The same knowledge on a clock that was set: silence is measured in time that passed, not in dates."""
    if not shift:
        return known
    jobs = {
        id_: replace(tracked, since=tracked.since + shift, last_activity_at=tracked.last_activity_at + shift)
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
        if id_ in seen.missing and was.active:
            now, transition = vanished(was, seen.at)
            yield _Step(was=was, now=now, transition=transition)
        elif id_ in reads:
            step = _look(known, was.job, reads[id_], seen.at, stall_after)
            # events say nothing of whether the job is still there
            yield replace(step, now=replace(step.now, missing=was.missing))
        elif seen.shift or id_ in seen.sizes:
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


def _sized(step: _Step, seen: Observation) -> _Step:
    """The size of its training file is read once and kept."""
    size = seen.sizes.get(step.now.job.id)
    return step if size is None else replace(step, now=replace(step.now, size=size))


def _priced(step: _Step, prices: Prices) -> _Step:
    """An active job gets an estimate, an ended one its cost; where that was unknown, when the quantity comes late."""
    now, job = step.now, step.now.job
    if _computed(now) is not None:
        return step
    if job.status.final:
        cost = price(job, prices.training, settled=now.finalized)
        return replace(step, now=replace(now, cost=cost))
    return replace(
        step, now=replace(now, cost=estimate(job, now.size, prices.training, paused=now.paused, naming=prices.naming))
    )


def _computed(tracked: Tracked | None) -> Decimal | None:
    return tracked.cost.computed if tracked is not None and tracked.cost is not None else None


def _tallies(step: _Step) -> Iterator[CounterIncrement]:
    baseline = step.transition is not None and step.transition.kind is TransitionKind.BASELINE
    if not baseline:
        yield from counters(step.was, step.now)


def _spendings(step: _Step) -> Iterator[Spending]:
    """What was spent on a job, when that becomes known; history is booked like news."""
    now, usd = step.now, _computed(step.now)
    if usd is None or _computed(step.was) is not None:
        return
    job = now.job
    at = job.finished_at or _ended(step)
    if at is None:
        return
    yield Spending(
        org=job.org,
        job=job.id,
        provider=job.provider,
        model=job.model,
        method=job.method,
        at=at,
        usd=usd,
        base_model=job.base_model,
        fine_tuned_model=job.fine_tuned_model,
        metadata=job.metadata,
    )


def _ended(step: _Step) -> datetime | None:
    """When a job ended whose end has no time: when we saw it; of history, what is known of its time at all.

    What was over at first sight and has no time is of no day that we know: its costs are not those of today.
    """
    job, transition = step.now.job, step.transition
    told = job.started_at or job.created_at
    if transition is not None and transition.kind is TransitionKind.BASELINE:
        return told
    return None if step.was is None and told is None else step.now.since


def _tuned(step: _Step, prices: Prices) -> Iterator[TunedModel]:
    """The model that a job has brought forth, when that becomes known."""
    job, was = step.now.job, step.was
    made = _made(job)
    if made is None or (was is not None and _made(was.job) is not None):
        return
    yield TunedModel(
        org=job.org,
        id=made,
        base=job.base,
        shutdown=shutdown(job.base, prices, tuned=True),
        shared=job.shared,
    )


def _made(job: Job) -> str | None:
    """The model that is there: some servers give it its name when the job is created."""
    return job.fine_tuned_model if job.status is Status.SUCCEEDED else None


def _deliveries(step: _Step, policy: Policy) -> Iterator[Delivery]:
    if step.transition is None:
        return
    job, transition = step.now.job, step.transition
    for notifier, event in route_job(transition, job, policy.rules, policy.labelling.labels).items():
        yield build_delivery(transition, step.now, notifier=notifier, event=event, labelling=policy.labelling)
