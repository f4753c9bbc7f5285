"""Replays: which stored transitions are redelivered, by the current routes."""

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
"""The most deliveries that the result of a replay lists; the rest is only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequest:
    """Which transitions to redeliver."""

    since: timedelta
    """The age of the oldest transition to redeliver."""
    notifier: str | None = None
    """The only notifier to redeliver to; None for all."""
    dry_run: bool = False
    """Whether to report only what would be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDelivery:
    """A delivery in the outbox."""

    key: str
    type: str
    title: str
    waits: bool
    """Whether it is pending: neither sent nor a dead letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A stored transition with its job and its deliveries."""

    transition: Transition
    tracked: Tracked
    """The job as it is now."""
    stored: Mapping[str, StoredDelivery] = field(default_factory=dict)
    """The deliveries of the transition by address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedDelivery:
    """One delivery of a replay, without its payload."""

    org: str
    job: str
    seq: int
    address: str
    type: str
    title: str
    new: bool
    """Whether the outbox has no such delivery, because its route or notifier was added later."""
    key: str
    """The key of the delivery, which may end with a former name of the notifier."""

    @property
    def notifier(self) -> str:
        """The notifier that sends it."""
        return self.address.partition("#")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a replay of some transitions will do."""

    deliveries: tuple[ReplayedDelivery, ...] = ()
    """The deliveries to send, in the order of their transitions."""
    new: tuple[Delivery, ...] = ()
    """The new ones among these deliveries, with their content."""
    waiting: int = 0
    """Number of deliveries that are pending anyway and stay as they are."""

    @property
    def again(self) -> tuple[str, ...]:
        """The keys of the stored deliveries that are sent again."""
        return tuple(delivery.key for delivery in self.deliveries if not delivery.new)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The result of a replay or a dry run. At most MOST_LISTED deliveries are listed; all are counted."""

    deliveries: tuple[ReplayedDelivery, ...] = ()
    again: int = 0
    new: int = 0
    waiting: int = 0

    def plus(self, deliveries: Iterable[ReplayedDelivery], waiting: int) -> Replayed:
        """The result with further deliveries added."""
        more = tuple(deliveries)
        new = sum(delivery.new for delivery in more)
        return Replayed(
            deliveries=(self.deliveries + more)[:MOST_LISTED],
            again=self.again + len(more) - new,
            new=self.new + new,
            waiting=self.waiting + waiting,
        )


def plan(pasts: Iterable[Past], policies: Mapping[str, Policy], notifier: str | None = None) -> Plan:
    """The plan to redeliver some transitions by the current routes, to all notifiers or to one.

    Stored deliveries are sent again with the same key and content. Missing ones are rendered as `decide` would have
    rendered them. Transitions of organisations without a policy, which are no longer watched, are left out.
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
    """Each transition with one address that the routes name for it, its recipient and its labels and links."""
    for past in pasts:
        policy, tracked = policies.get(past.transition.org), as_of(past.tracked, past.transition)
        if policy is not None:
            routed = route_job(past.transition, tracked, policy.rules, policy.labelling.labels)
            for to, recipient in routed.items():
                yield replace(past, tracked=tracked), to, recipient, policy.labelling


def _replayed(
    transition: Transition, to: str, content: Message | StoredDelivery, *, key: str, new: bool
) -> ReplayedDelivery:
    return ReplayedDelivery(
        org=transition.org,
        job=transition.job,
        seq=transition.seq,
        address=to,
        type=content.type,
        title=content.title,
        new=new,
        key=key,
    )


def as_of(tracked: Tracked, transition: Transition) -> Tracked:
    """The job as it may be shown with one of its transitions.

    With its newest transition it is shown as it is now. With an earlier one, later facts would be wrong ("started",
    with an end and a cost). It then has the status that the transition led to, what never changes (name, model, method,
    metadata, creation), and its start if it had started. Progress, tokens, cost, error, fine-tuned model and end at
    that time are no longer known and left out.
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
    """The fields of a batch that never change."""
    if batch is None:
        return None
    return Batch(endpoint=batch.endpoint, input_file=batch.input_file, expires_at=batch.expires_at)


def _had_started(job: Job, transition: Transition) -> bool:
    """Whether the job had started by the time of the transition."""
    ran = transition.after is Status.RUNNING or transition.restarted
    return ran and job.started_at is not None and job.started_at <= transition.at
