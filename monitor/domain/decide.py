"""The decision of a poll: from the known state and an observation to the change that is stored and announced."""

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
    ManyJobs,
    Observation,
    Tracked,
    Transition,
    TransitionKind,
)
from monitor.domain.model import Cost, Job, JobEvent, JobKind, Status
from monitor.domain.news import CardChange, Delivery
from monitor.domain.pricing import EMPTY, Prices, batch_price, estimate, price, shutdown
from monitor.domain.render import Labelling, build_delivery
from monitor.domain.routing import Rule, route_job
from monitor.domain.stall import Usual
from monitor.domain.training import in_order
from monitor.domain.verdict import Verdict, judge

_ANY_CLOCK: Final = timedelta(days=1)  # by which the clocks of one provider may differ
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_HORIZON_STEP: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The operator's settings for one organisation."""

    labelling: Labelling = field(default_factory=Labelling)
    stall_after: StallAfter = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    prices: Prices = EMPTY
    lookback: timedelta = timedelta(days=30)
    place: str | None = None
    """Identifies the list of jobs; see `Known.place`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """The part of a change that concerns one job."""

    was: Tracked | None
    now: Tracked
    transition: Transition | None
    events: tuple[JobEvent, ...] = ()


def decide(known: Known, seen: Observation, policy: Policy) -> Change:
    """Everything that one poll changes, as one value to commit. The same arguments give the same change."""
    stored, known = known, _shifted(known, seen.shift)
    if known.moved(policy.place, seen):
        known = replace(known, partial=True)  # other jobs are a new baseline
    whole = seen.last and seen.listed  # reading event streams alone does not complete a first sight
    history, horizon = _history(known, seen, policy.lookback)
    found = _steps(known, seen, history, policy.stall_after)
    steps = [_with_verdict(_with_cost(_with_size(step, seen), policy.prices), seen) for step in found]
    return Change(
        org=known.org,
        based_on=known.version,
        at=seen.at,
        tracked=tuple(step.now for step in steps if _differs(step.now, stored.jobs.get(step.now.job.id, step.was))),
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
        place=policy.place if seen.listed and policy.place != stored.place else None,
    )


def _differs(now: Tracked, was: Tracked | None) -> bool:
    return now is not was and now != was


def slices(seen: Observation) -> Iterator[Observation]:
    """Split a poll into parts of at most SLICE jobs, to be committed one by one, the oldest jobs first.

    If the process is killed between two commits, the older jobs are stored, and the next poll finds the rest where
    every poll finds new jobs: at the newest end of the list.
    """
    if len(seen.jobs) <= SLICE:
        yield seen
        return
    many = isinstance(seen.jobs, ManyJobs)
    jobs = seen.jobs if many else sorted(seen.jobs, key=lambda job: job.created_at or _LONG_AGO)
    *starts, last = range(0, len(jobs), SLICE)
    for start in starts:
        shift = timedelta(0) if start else seen.shift  # the first part shifts all stored times, and only once
        part = tuple(jobs[start : start + SLICE])
        yield replace(seen, jobs=part, reads=(), missing=frozenset(), sizes={}, shift=shift, trouble=None, last=False)
    yield replace(seen, jobs=tuple(jobs[last:]), shift=timedelta(0))


def singles(seen: Observation, change: Change) -> Iterator[tuple[str | None, Observation]]:
    """Split a poll by the jobs that its change is about, as pairs of job id and observation.

    The id is None for the parts that concern no single job.
    """
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
    """The known state after a change is committed."""
    open_ = {one.job.id: one for one in change.tracked if not one.finalized}
    over = {one.job.id: one.job.status for one in change.tracked if one.finalized}
    jobs = {**known.jobs, **open_}
    for id_ in over.keys() & jobs.keys():
        del jobs[id_]
    final = known.final  # it grows with history, and is therefore copied only if it changes
    if over or any(id_ in final for id_ in open_):
        final = {id_: status for id_, status in final.items() if id_ not in open_} | over
    return Known(
        org=known.org,
        version=change.based_on + 1,
        jobs=jobs,
        final=final,
        horizon=change.horizon or known.horizon,
        partial=change.more,
        place=change.place or known.place,
        lists=known.lists,
    )


def _shifted(known: Known, shift: timedelta) -> Known:
    """The known state with its local times moved by a jump of the clock, so that measured silences stay the same."""
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
    """The ids of listed jobs that are history, neither tracked nor announced, and the new horizon if it moves.

    At first sight, history is what ended before the lookback. Later it is every unknown job that ended before the
    first sight, or before an earlier poll that read the whole list: a list that contains it only now belongs to another
    project, or was incomplete. All comparisons use the provider's clock.
    """
    now = seen.provider_now or seen.at
    ends = {
        job.id: end
        for job in seen.jobs
        if job.status.final and job.id not in known.jobs and (end := _end(job, now)) is not None
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


def _end(job: Job, now: datetime) -> datetime | None:
    """When a job ended, as far as its times make sense: an end long before the creation does not."""
    end, created = job.finished_at, job.created_at
    if end is None or (created is not None and end < created - _ANY_CLOCK and created <= now + _ANY_CLOCK):
        return created
    return end


def _before_its_second(now: datetime) -> datetime:
    """The last millisecond before the current second.

    Providers give ends in whole seconds, so that a job that ended in this second may have ended after the poll.
    """
    return now.replace(microsecond=0) - timedelta(milliseconds=1)


def _steps(known: Known, seen: Observation, history: frozenset[str], stall_after: StallAfter) -> Iterator[_Step]:
    reads = {read.job: read for read in seen.reads}
    listed = {job.id: job for job in seen.jobs if job.id not in history and job.id not in known.final}
    for job in listed.values():
        yield _step(known, job, reads.get(job.id), seen, stall_after)
    yield from _disputed(seen)
    concerned = {*seen.missing, *reads, *seen.sizes}
    for id_ in known.jobs:
        if id_ in listed or not (seen.shift or id_ in concerned):
            continue
        was = known.jobs[id_]
        if id_ in seen.missing and not was.job.status.final:
            now, transition = vanished(was, seen.at)
            yield _Step(was=was, now=now, transition=transition)
        elif id_ in reads:
            step = _step(known, was.job, reads[id_], seen, stall_after)
            if step.now.missing != was.missing or step.now.doubt != was.doubt:
                # events do not show whether the provider still has the job
                step = replace(step, now=replace(step.now, missing=was.missing, doubt=was.doubt))
            yield step
        elif seen.shift or id_ in seen.sizes:
            yield _Step(was=was, now=was, transition=None)


def _disputed(seen: Observation) -> Iterator[_Step]:
    """The steps of finalized jobs that are listed with another status now."""
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
    if read is not None and transition is None:  # without its events, nobody knows whether a job is stalled
        now, transition = episode(was, now, at, stall_after, usual, ahead)
    contradicts = was.job.status.final and found.status is not was.job.status and transition is None
    doubt = doubted(was, found, at) if contradicts and not was.corrected else None
    if now.doubt != doubt:
        now = replace(now, doubt=doubt)
    if now.finalized and job.started_at is None and now.ran_at is not None:  # the provider will not be asked again
        now = replace(now, job=replace(job, started_at=now.ran_at))
    known_ids = was.recent_ids.lookup()
    events = in_order(event for event in read.events if event.id not in known_ids) if read is not None else ()
    return _Step(was=was, now=now, transition=transition, events=events)


def _with_size(step: _Step, seen: Observation) -> _Step:
    """The step with the size of the training file, where this poll read it."""
    size = seen.sizes.get(step.now.job.id)
    return step if size is None else replace(step, now=replace(step.now, size=size))


def _with_cost(step: _Step, prices: Prices) -> _Step:
    """The step with its cost: an estimate for an active job, the computed cost for a finished one.

    A computed cost is kept unless the end is corrected; an unknown cost is computed again at each step. A job that is
    gone from the provider has no estimate.
    """
    now, job = step.now, step.now.job
    if now.computed_usd is not None and not _corrected(step):
        return step
    if job.status.final:
        batch = job.kind is JobKind.BATCH
        return _costing(step, batch_price(job, prices) if batch else price(job, prices.training, settled=now.finalized))
    estimated = None
    if not now.gone and job.kind is JobKind.FINE_TUNING:
        estimated = estimate(job, now.size, prices.training, paused=now.paused, naming=prices.naming)
    return _costing(step, estimated)


def _costing(step: _Step, cost: Cost | None) -> _Step:
    return step if step.now.cost == cost else replace(step, now=replace(step.now, cost=cost))


def _with_verdict(step: _Step, seen: Observation) -> _Step:
    """The step with the verdict on the training curve, which only a succeeded job has.

    The curve is judged at the end by the metrics known then, and again by all of them when the job is finalized.
    """
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
    """Whether some step of a run is better than its end and no checkpoint is known that could be used instead."""
    verdict = _verdict(events)
    return verdict is not None and verdict.best_step is not None and verdict.best_checkpoint is None


def _corrected(step: _Step) -> bool:
    return step.transition is not None and step.transition.kind is TransitionKind.CORRECTED


def _counters(step: _Step) -> Iterator[CounterIncrement]:
    baseline = step.transition is not None and step.transition.kind is TransitionKind.BASELINE
    if not baseline:
        yield from increments(step.was, step.now)


def _spendings(step: _Step) -> Iterator[Spending]:
    """The cost of training, when it becomes known or is corrected.

    Batches are left out: their cost is usage of a model, which budgets take from the provider's usage report. Jobs of
    the baseline are recorded too, at the time they ended. A job without any time is not recorded, because it belongs to
    no budget period.
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
        fine_tuned_model=job.tuning.fine_tuned_model,
        metadata=job.metadata,
    )


def _tuned(step: _Step, prices: Prices) -> Iterator[TunedModel]:
    """The fine-tuned model of a succeeded job, when it becomes known."""
    job, was = step.now.job, step.was
    made = job.result_model
    if made is None or (was is not None and was.job.result_model is not None):
        return
    yield TunedModel(
        org=job.org,
        id=made,
        base=job.base,
        shutdown=shutdown(job.base, prices, tuned=True),
        shared=job.tuning.shared,
    )


def _cards(step: _Step, policy: Policy) -> Iterator[CardChange]:
    yield from card_changes(step.was, step.now, step.transition, policy.rules, policy.labelling.labels)


def _deliveries(step: _Step, policy: Policy) -> Iterator[Delivery]:
    if step.transition is None:
        return
    labelling = policy.labelling
    for to, recipient in route_job(step.transition, step.now, policy.rules, labelling.labels).items():
        yield build_delivery(step.transition, step.now, to=to, recipient=recipient, labelling=labelling)
