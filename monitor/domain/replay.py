"""What a replay sends: stored transitions, told again to whom the present routes name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from monitor.domain.decide import Policy
from monitor.domain.flow import Delivery, Message, Tracked, Transition
from monitor.domain.model import Job, Status
from monitor.domain.render import build_delivery
from monitor.domain.routing import route

MOST_LISTED: Final = 10_000
"""Envelopes of one replay that are named; the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest:
    """What is to be told again."""

    since: timedelta
    """What was observed within this time."""
    notifier: str | None = None
    """To this notifier alone; None: to all."""
    dry_run: bool = False
    """Only say what would be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDelivery:
    """An envelope that the outbox has."""

    type: str
    title: str
    waits: bool
    """It was neither sent nor given up yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A stored transition, its job as that is now, and by notifier the envelopes that tell it."""

    transition: Transition
    tracked: Tracked
    stored: Mapping[str, StoredDelivery] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedDelivery:
    """One envelope of a replay, without its content."""

    org: str
    job: str
    seq: int
    notifier: str
    type: str
    title: str
    new: bool
    """There was none for this notifier: a route or a notifier was added since."""

    @property
    def key(self) -> str:
        """That of the delivery."""
        return f"{self.org}/{self.job}/{self.seq}@{self.notifier}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What telling some transitions again comes to."""

    deliveries: tuple[ReplayedDelivery, ...] = ()
    """In the order of their transitions."""
    new: tuple[Delivery, ...] = ()
    """The envelopes of those letters that are new."""
    waiting: int = 0
    """Envelopes that go out anyhow, and are left as they are."""

    @property
    def again(self) -> tuple[str, ...]:
        """The keys of the envelopes that go out once more."""
        return tuple(delivery.key for delivery in self.deliveries if not delivery.new)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a replay has done, or would do. At most MOST_LISTED letters are named, all are counted."""

    deliveries: tuple[ReplayedDelivery, ...] = ()
    again: int = 0
    new: int = 0
    waiting: int = 0

    def plus(self, deliveries: Iterable[ReplayedDelivery], waiting: int) -> Replayed:
        """With these letters too."""
        more = tuple(deliveries)
        new = sum(delivery.new for delivery in more)
        return Replayed(
            deliveries=(self.deliveries + more)[:MOST_LISTED],
            again=self.again + len(more) - new,
            new=self.new + new,
            waiting=self.waiting + waiting,
        )


def plan(pasts: Iterable[Past], policies: Mapping[str, Policy], notifier: str | None = None) -> Plan:
    """Tell these transitions again, as the routes of today want it; to one notifier alone, where it is named.

    What the outbox has goes out with the key and the content it had. What it lacks is composed as `decide` would have
    done. Organisations without a policy are no longer watched, and nothing is told of them.
    """
    deliveries: list[ReplayedDelivery] = []
    new: list[Delivery] = []
    waiting = 0
    for past, name, word, labels in _hearers(pasts, policies):
        stored = past.stored.get(name)
        if notifier not in (None, name):
            continue
        if stored is None:
            new.append(build_delivery(past.transition, past.tracked, notifier=name, word=word, labels=labels))
            deliveries.append(_letter(past.transition, name, new[-1].message, new=True))
        elif stored.waits:
            waiting += 1
        else:
            deliveries.append(_letter(past.transition, name, stored, new=False))
    return Plan(deliveries=tuple(deliveries), new=tuple(new), waiting=waiting)


def _hearers(
    pasts: Iterable[Past], policies: Mapping[str, Policy]
) -> Iterator[tuple[Past, str, str, Mapping[str, str]]]:
    """Each notifier that the routes give a transition, with the word it goes by and the organisation's labels."""
    for past in pasts:
        policy, tracked = policies.get(past.transition.org), as_of(past.tracked, past.transition)
        if policy is not None:
            for notifier, word in route(past.transition, tracked.job, policy.rules, policy.labels):
                yield replace(past, tracked=tracked), notifier, word, policy.labels


def _letter(of: Transition, notifier: str, told: Message | StoredDelivery, *, new: bool) -> ReplayedDelivery:
    return ReplayedDelivery(
        org=of.org, job=of.job, seq=of.seq, notifier=notifier, type=told.type, title=told.title, new=new
    )


def as_of(tracked: Tracked, transition: Transition) -> Tracked:
    """The job as it may be told with a transition of its past.

    With its newest transition it is told as it is: it has not left that state. With an earlier one, what came later
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
        method=job.method,
        status=transition.after,
        name=job.name,
        created_at=job.created_at,
        started_at=job.started_at if _had_started(job, transition) else None,
        metadata=job.metadata,
        url=job.url,
    )
    return replace(tracked, job=before, cost=None)


def _had_started(job: Job, transition: Transition) -> bool:
    """Whether the start that we know of is one from before the transition."""
    ran = transition.after is Status.RUNNING or transition.restarted
    return ran and job.started_at is not None and job.started_at <= transition.at
