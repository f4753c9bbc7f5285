"""The whole business: from what was known and what was seen to what is stored and announced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from monitor.domain.cards import card_changes
from monitor.domain.costs import Spending, TunedModel
from monitor.domain.counters import increments
from monitor.domain.diff import at_rest, doubted, enriched, first_sight, moved, track, vanished
from monitor.domain.episodes import StallAfter, episode, on_clock
from monitor.domain.flow import (
    SLICE,
    Change,
    CounterIncrement,
    EventsRead,
    Known,
    Observation,
    Tracked,
    Transition,
    TransitionKind,
)
from monitor.domain.model import Job, JobEvent, JobKind, Status
from monitor.domain.news import CardChange, Delivery
from monitor.domain.pricing import EMPTY, Prices, batch_price, estimate, price, shutdown
from monitor.domain.render import Labelling, build_delivery
from monitor.domain.routing import Rule, route_job
from monitor.domain.stall import Usual
from monitor.domain.training import in_order
from monitor.domain.verdict import Verdict, judge

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_HORIZON_STEP: Final = timedelta(hours=1)


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
    """Everything that one poll changes, as one value to commit. The same poll gives the same change."""
    stored, known = known, _shifted(known, seen.shift)
    whole = seen.last and seen.listed  # what reads event streams alone ends no first sight
    history, horizon = _history(known, seen, policy.lookback)
    found = _steps(known, seen, history, policy.stall_after)
    steps = [_judged(_priced(_sized(step, seen), policy.prices), seen) for step in found]
    return Change(
        org=known.org,
        based_on=known.version,
        at=seen.at,
        tracked=tuple(step.now for step in steps if step.now != stored.jobs.get(step.now.job.id, step.was)),
        events=tuple(event for step in steps for event in step.events),
        transitions=tuple(step.transition for step in steps if step.transition is not None),
        deliveries=tuple(delivery for step in steps for delivery in _deliveries(step, policy)),
        cards=tuple(changed for step in steps for changed in _cards(step, policy)),
        counters=tuple(increment for step in steps for increment in _counters(step)),
        spendings=tuple(spending for step in steps for spending in _spendings(step)),
        tuned=tuple(model for step in steps for model in _tuned(step, policy.prices)),
        horizon=horizon,
        more=known.first_sight and not whole,
        completes=known.partial and whole,
    )


def slices(seen: Observation) -> Iterator[Observation]:
    """The poll in parts that are committed one by one, the oldest jobs first.

    A program that is killed between two of them has the older ones; the next poll finds the others where it looks for
    news, in front of what is known.
    """
    if len(seen.jobs) <= SLICE:
        yield seen
        return
    jobs = sorted(seen.jobs, key=lambda job: job.created_at or _LONG_AGO)
    parts = [tuple(jobs[start : start + SLICE]) for start in range(0, len(jobs), SLICE)]
    for number, part in enumerate(parts[:-1]):
        shift = timedelta(0) if number else seen.shift  # all that is known moves with the first part, once
        yield replace(seen, jobs=part, reads=(), missing=frozenset(), sizes={}, shift=shift, trouble=None, last=False)
    yield replace(seen, jobs=parts[-1], shift=timedelta(0))


def singles(seen: Observation, change: Change) -> Iterator[tuple[str | None, Observation]]:
    """The same poll by the jobs that its change is about, one by one; with None what concerns no single job."""
    nothing = replace(seen, jobs=(), reads=(), missing=frozenset(), sizes={}, disputed={}, shift=timedelta(0))
    if seen.shift:
        yield None, replace(nothing, shift=seen.shift, last=False)
    for id_ in sorted({tracked.job.id for tracked in change.tracked} | {event.job for event in change.events}):
        yield (
            id_,
            replace(
                nothing,
                jobs=tuple(job for job in seen.jobs if job.id == id_),
                reads=tuple(read for read in seen.reads if read.job == id_),
                missing=seen.missing & {id_},
                sizes={job: size for job, size in seen.sizes.items() if job == id_},
                disputed={job: stored for job, stored in seen.disputed.items() if job == id_},
                last=False,
            ),
        )
    yield None, nothing


def evolve(known: Known, change: Change) -> Known:
    """What is known once the change is committed."""
    open_ = {one.job.id: one for one in change.tracked if not one.finalized}
    over = {one.job.id: one.job.status for one in change.tracked if one.finalized}
    jobs = {**known.jobs, **open_}
    for id_ in over.keys() & jobs.keys():
        del jobs[id_]
    final = known.final  # as long as history: copied only where it changes
    if over or any(id_ in final for id_ in open_):
        final = {id_: status for id_, status in final.items() if id_ not in open_} | over
    return Known(
        org=known.org,
        version=change.based_on + 1,
        jobs=jobs,
        final=final,
        horizon=change.horizon or known.horizon,
        partial=change.more,
    )


def _shifted(known: Known, shift: timedelta) -> Known:
    """The same knowledge on a clock that was set: silence is measured in time that passed, not in dates."""
    if not shift:
        return known
    jobs = {
        id_: replace(
            tracked,
            since=tracked.since + shift,
            last_activity_at=tracked.last_activity_at and tracked.last_activity_at + shift,
            stall=tracked.stall and replace(tracked.stall, since=tracked.stall.since + shift),
            headway=tracked.headway and on_clock(tracked.headway, shift),
        )
        for id_, tracked in known.jobs.items()
    }
    return replace(known, jobs=jobs)


def _history(known: Known, seen: Observation, lookback: timedelta) -> tuple[frozenset[str], datetime | None]:
    """The listed jobs that are history, neither followed nor notified; and the horizon, where it moves.

    At first sight those that ended before the lookback. Later those that nobody knew and that had ended when we came,
    or when an earlier poll had seen all there was: a list that suddenly shows them is another project's, or was
    incomplete. Both are told by the provider's own times, whatever clock we have.
    """
    now = seen.provider_now or seen.at
    ends = {
        job.id: end
        for job in seen.jobs
        if job.status.final and job.id not in known.jobs and (end := job.finished_at or job.created_at) is not None
    }
    if known.first_sight:
        old = frozenset(id_ for id_, end in ends.items() if end < now - lookback)
        return old, _before_its_second(now) if seen.last and seen.listed else None
    limits = [limit for limit in (known.horizon, seen.settled_until) if limit is not None]
    if not limits:
        return frozenset(), None
    horizon = max(limits)
    moved = known.horizon is None or horizon - known.horizon >= _HORIZON_STEP
    return frozenset(id_ for id_, end in ends.items() if end <= horizon), horizon if moved else None


def _before_its_second(now: datetime) -> datetime:
    """The last moment before: ends are told in whole seconds, and one of this second may have come after the look."""
    return now.replace(microsecond=0) - timedelta(milliseconds=1)


def _steps(known: Known, seen: Observation, history: frozenset[str], stall_after: StallAfter) -> Iterator[_Step]:
    reads = {read.job: read for read in seen.reads}
    listed = {job.id: job for job in seen.jobs if job.id not in history and job.id not in known.final}
    for job in listed.values():
        yield _step(known, job, reads.get(job.id), seen, stall_after)
    yield from _disputed(seen)
    for id_, was in known.jobs.items():
        if id_ in listed:
            continue
        if id_ in seen.missing and not was.job.status.final:
            now, transition = vanished(was, seen.at)
            yield _Step(was=was, now=now, transition=transition)
        elif id_ in reads:
            step = _step(known, was.job, reads[id_], seen, stall_after)
            # events say nothing of whether the job is still there
            yield replace(step, now=replace(step.now, missing=was.missing, doubt=was.doubt))
        elif seen.shift or id_ in seen.sizes:
            yield _Step(was=was, now=was, transition=None)


def _disputed(seen: Observation) -> Iterator[_Step]:
    """What becomes of ended jobs that are listed with another status now."""
    for job in seen.jobs:
        if (was := seen.disputed.get(job.id)) is not None:
            yield _known_step(was, job, None, seen, {})


def _step(known: Known, job: Job, read: EventsRead | None, seen: Observation, stall_after: StallAfter) -> _Step:
    was, at = known.jobs.get(job.id), seen.at
    if was is not None:
        return _known_step(was, job, read, seen, stall_after)
    job = enriched(job, None, read, at)
    transition = first_sight(job, at, baseline=known.first_sight)
    events = in_order(read.events) if read is not None else ()
    return _Step(was=None, now=track(None, job, read, transition, at), transition=transition, events=events)


def _known_step(was: Tracked, found: Job, read: EventsRead | None, seen: Observation, stall_after: StallAfter) -> _Step:
    at, usual = seen.at, Usual() if found.batch is not None else seen.usual.get(found.model, Usual())
    ahead = at - seen.provider_now if seen.provider_now is not None else timedelta(0)
    if at_rest(was, found, read):
        now, transition = episode(was, was, at, stall_after, usual, ahead) if read is not None else (was, None)
        return _Step(was=was, now=now, transition=transition)
    job = enriched(found, was, read, at)
    transition = moved(was, job, at)
    now = track(was, job, read, transition, at)
    if read is not None and transition is None:  # who has not looked at its events cannot say that it is stuck
        now, transition = episode(was, now, at, stall_after, usual, ahead)
    contradicts = was.job.status.final and found.status is not was.job.status and transition is None
    now = replace(now, doubt=doubted(was, found, at) if contradicts and not was.corrected else None)
    if now.finalized and job.started_at is None and now.ran_at is not None:  # nobody will say any more
        now = replace(now, job=replace(job, started_at=now.ran_at))
    known_ids = was.recent_ids.lookup()
    events = in_order(event for event in read.events if event.id not in known_ids) if read is not None else ()
    return _Step(was=was, now=now, transition=transition, events=events)


def _sized(step: _Step, seen: Observation) -> _Step:
    """The size of its training file is read once and kept."""
    size = seen.sizes.get(step.now.job.id)
    return step if size is None else replace(step, now=replace(step.now, size=size))


def _priced(step: _Step, prices: Prices) -> _Step:
    """An active job gets an estimate, an ended one its cost; where that was unknown, when the quantity comes late.

    A job that is gone from the provider counts for nothing.
    """
    now, job = step.now, step.now.job
    if now.computed_usd is not None and not _corrected(step):
        return step
    if job.status.final:
        batch = job.kind is JobKind.BATCH
        cost = batch_price(job, prices) if batch else price(job, prices.training, settled=now.finalized)
        return replace(step, now=replace(now, cost=cost))
    estimated = None
    if not now.gone and job.kind is JobKind.FINE_TUNING:
        estimated = estimate(job, now.size, prices.training, paused=now.paused, naming=prices.naming)
    return replace(step, now=replace(now, cost=estimated))


def _judged(step: _Step, seen: Observation) -> _Step:
    """A job that succeeded is judged by its curve: at its end by what is known, once finalized by all of it."""
    now, was = step.now, step.was
    id_ = now.job.id
    if now.job.status is not Status.SUCCEEDED:
        return step if now.verdict is None else replace(step, now=replace(now, verdict=None))
    if now.finalized and was is not None and not was.finalized:
        events = [event for read in seen.reads if read.job == id_ for event in read.events]
    elif id_ in seen.curves and step.transition is not None:
        events = [*seen.curves[id_]]
    else:
        return step
    return replace(step, now=replace(now, verdict=_verdict(events)))


def _verdict(events: Sequence[JobEvent]) -> Verdict | None:
    points = [event.metrics for event in events if event.metrics is not None]
    checkpoints = {one.step: one.name for event in events if (one := event.checkpoint) is not None}
    return judge(points, checkpoints)


def wants_checkpoints(events: Sequence[JobEvent]) -> bool:
    """Whether a run has a step that is better than its end, and no checkpoint is known that could be used instead."""
    verdict = _verdict(events)
    return verdict is not None and verdict.best_step is not None and verdict.best_checkpoint is None


def _corrected(step: _Step) -> bool:
    return step.transition is not None and step.transition.kind is TransitionKind.CORRECTED


def _counters(step: _Step) -> Iterator[CounterIncrement]:
    baseline = step.transition is not None and step.transition.kind is TransitionKind.BASELINE
    if not baseline:
        yield from increments(step.was, step.now)


def _spendings(step: _Step) -> Iterator[Spending]:
    """What was spent on training, when that becomes known or is corrected.

    What a batch costs is not among it: it is use of a model, which budgets know from the provider's usage report.
    History is recorded like news, at the time it is of. What has no time at all is recorded on no day: today's budget
    is not for it.
    """
    now, usd, job = step.now, step.now.computed_usd, step.now.job
    before = step.was.computed_usd if step.was is not None else None
    if _corrected(step) and before is not None:
        usd = usd or Decimal(0)
    elif usd is None or before is not None:
        return
    if job.kind is JobKind.BATCH:
        return
    at = now.ended_at or now.started_at or job.created_at
    if at is None or usd is None:
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


def _cards(step: _Step, policy: Policy) -> Iterator[CardChange]:
    yield from card_changes(step.was, step.now, step.transition, policy.rules, policy.labelling.labels)


def _deliveries(step: _Step, policy: Policy) -> Iterator[Delivery]:
    if step.transition is None:
        return
    labelling = policy.labelling
    for to, recipient in route_job(step.transition, step.now, policy.rules, labelling.labels).items():
        yield build_delivery(step.transition, step.now, to=to, recipient=recipient, labelling=labelling)
