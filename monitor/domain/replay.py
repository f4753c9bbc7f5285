"""What a replay sends: stored transitions, redelivered to whom the present routes name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from monitor.domain.decide import Policy
from monitor.domain.flow import Tracked, Transition
from monitor.domain.model import Batch, Job, Status
from monitor.domain.news import Delivery, Message
from monitor.domain.render import Labelling, build_delivery
from monitor.domain.routing import Recipient, route_job

MOST_LISTED: Final = 10_000
"""Deliveries of one replay that are named; the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest:
    """Which transitions to redeliver."""

    since: timedelta
    """What was observed within this time."""
    notifier: str | None = None
    """To this notifier alone; None: to all."""
    dry_run: bool = False
    """Only say what would be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDelivery:
    """A delivery that the outbox has."""

    key: str
    type: str
    title: str
    waits: bool
    """It was neither sent nor given up yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A stored transition, its job as that is now, and by address the deliveries that it led to."""

    transition: Transition
    tracked: Tracked
    stored: Mapping[str, StoredDelivery] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedDelivery:
    """One delivery of a replay, without its content."""

    org: str
    job: str
    seq: int
    address: str
    type: str
    title: str
    new: bool
    """There was none for this notifier: a route or a notifier was added since."""
    key: str
    """That of the delivery; it may end with a former name of the notifier."""

    @property
    def notifier(self) -> str:
        """By whom it is sent."""
        return self.address.partition("#")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What redelivering some transitions comes to."""

    deliveries: tuple[ReplayedDelivery, ...] = ()
    """In the order of their transitions."""
    new: tuple[Delivery, ...] = ()
    """Those deliveries that are new."""
    waiting: int = 0
    """Deliveries that go out anyhow, and are left as they are."""

    @property
    def again(self) -> tuple[str, ...]:
        """The keys of the deliveries that go out once more."""
        return tuple(delivery.key for delivery in self.deliveries if not delivery.new)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay has done, or would do. At most MOST_LISTED deliveries are named, all are counted."""

    deliveries: tuple[ReplayedDelivery, ...] = ()
    again: int = 0
    new: int = 0
    waiting: int = 0

    def plus(self, deliveries: Iterable[ReplayedDelivery], waiting: int) -> Replayed:
        """With these deliveries too."""
        more = tuple(deliveries)
        new = sum(delivery.new for delivery in more)
        return Replayed(
            deliveries=(self.deliveries + more)[:MOST_LISTED],
            again=self.again + len(more) - new,
            new=self.new + new,
            waiting=self.waiting + waiting,
        )


def plan(pasts: Iterable[Past], policies: Mapping[str, Policy], notifier: str | None = None) -> Plan:
    """Redeliver these transitions as the routes of today want it; to one notifier alone, where it is named.

    What the outbox has goes out with the key and the content it had. What it lacks is rendered as `decide` would have
    done. Organisations without a policy are no longer watched, and nothing of them is redelivered.
    """
    deliveries: list[ReplayedDelivery] = []
    new: list[Delivery] = []
    waiting = 0
    for past, to, recipient, labelling in _recipients(pasts, policies):
        stored = past.stored.get(to)
        if notifier not in (None, to, to.partition("#")[0]):
            continue
        if stored is None:
            made = build_delivery(past.transition, past.tracked, to=to, recipient=recipient, labelling=labelling)
            new.append(replace(made, hold=None))
            deliveries.append(_replayed(past.transition, to, made.message, key=made.key, new=True))
        elif stored.waits:
            waiting += 1
        else:
            deliveries.append(_replayed(past.transition, to, stored, key=stored.key, new=False))
    return Plan(deliveries=tuple(deliveries), new=tuple(new), waiting=waiting)


def _recipients(
    pasts: Iterable[Past], policies: Mapping[str, Policy]
) -> Iterator[tuple[Past, str, Recipient, Labelling]]:
    """Each address that the routes give a transition, with how it gets it and what its message carries."""
    for past in pasts:
        policy, tracked = policies.get(past.transition.org), as_of(past.tracked, past.transition)
        if policy is not None:
            routed = route_job(past.transition, tracked, policy.rules, policy.labelling.labels)
            for to, recipient in routed.items():
                yield replace(past, tracked=tracked), to, recipient, policy.labelling


def _replayed(of: Transition, to: str, content: Message | StoredDelivery, *, key: str, new: bool) -> ReplayedDelivery:
    return ReplayedDelivery(
        org=of.org, job=of.job, seq=of.seq, address=to, type=content.type, title=content.title, new=new, key=key
    )


def as_of(tracked: Tracked, transition: Transition) -> Tracked:
    """The job as it may be shown with a transition of its past.

    With its newest transition it is shown as it is: it has not left that state. With an earlier one, what came later
    would be false ("started", with an end and a cost). Then it has the status that the transition led to, what never
    changes (name, model, method, metadata, creation), and its start, where it had started. Progress, tokens, cost,
    error, model and end of that moment are not known any more: they are absent, and never those of a later one.
    """
    if transition.seq >= tracked.seq:
        return tracked
    job = tracked.job
    before = Job(
        org=job.org,
        id=job.id,
        provider=job.provider,
        model=job.model,
        base_model=job.base_model,
        batch=_unchanging(job.batch),
        method=job.method,
        status=transition.after,
        name=job.name,
        created_at=job.created_at,
        started_at=job.started_at if _had_started(job, transition) else None,
        metadata=job.metadata,
        url=job.url,
    )
    return replace(tracked, job=before, cost=None, verdict=None, stall=None, headway=None)


def _unchanging(batch: Batch | None) -> Batch | None:
    """What never changes of a batch."""
    if batch is None:
        return None
    return Batch(endpoint=batch.endpoint, input_file=batch.input_file, expires_at=batch.expires_at)


def _had_started(job: Job, transition: Transition) -> bool:
    """Whether the start that we know of is one from before the transition."""
    ran = transition.after is Status.RUNNING or transition.restarted
    return ran and job.started_at is not None and job.started_at <= transition.at
