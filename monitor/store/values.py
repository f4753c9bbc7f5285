"""The values that the store returns besides those of the domain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Generic, TypeVar

from monitor.domain.costs import Bill, Spending, TrainingDay, Usage
from monitor.domain.flow import Tracked, Transition
from monitor.domain.hosting import Hosting
from monitor.domain.news import Card, Delivery, Subject

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDelivery:
    """A delivery that this process has claimed and may send until its lease ends."""

    delivery: Delivery
    attempts: int
    """The number of this attempt, from 1."""
    created_at: datetime
    ambiguous: bool
    """Whether an earlier attempt may have arrived, because its response was lost or its outcome was not stored."""
    owner: str
    generation: str = ""
    """A mark in its key if it was created after a restore; see `key`."""
    others: int = 0
    """Number of other deliveries in its bundle."""
    card: Card | None = None
    """The card that it is a reply to; None if there is none yet, or if it belongs to no card."""
    readable: bool = True
    """Whether its message could be decoded. If not, it can only become a dead letter."""

    @property
    def key(self) -> str:
        """The idempotency key for the receiver.

        After a restore, sequence numbers are used again for other events, so that keys are marked, as in
        `research/ftjob-1/3~6921a4c0@ops`. A bundle has a key of its own, such as `research/ftjob-1/3+19@ops`.
        """
        event, at, address = outward_key(self.delivery.key, self.generation).rpartition("@")
        return f"{event}+{self.others}{at}{address}" if self.others else f"{event}{at}{address}"


def outward_key(key: str, generation: str) -> str:
    """The key for the receiver, given the key in the outbox."""
    event, at, notifier = key.rpartition("@")
    return f"{event}~{generation}{at}{notifier}" if generation else key


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedCard:
    """A card that this process has claimed and may edit until its lease ends."""

    subject: Subject
    notifier: str
    channel: str | None
    """The `#channel` if it is not the notifier's own."""
    card: Card | None
    """The location of the card; None if it was lost and has to be posted again."""
    shown: str | None
    """The hash of what it shows; see `appearance`."""
    tracked: Tracked | None
    """The current state of its job; None if the job is deleted, or if the card was posted too often."""
    owner: str
    attempts: int
    """The number of this attempt since the last successful edit, from 1."""
    posts: int
    """Number of posts since it was lost, including this attempt."""
    changes: int
    """Number of changes of its job when it was claimed."""
    edited_at: int | None
    """The time of the previous edit in milliseconds since 1970."""
    charts: int = 0
    """Number of attempts to attach a chart."""

    @property
    def key(self) -> str:
        """Its name in the log, such as `research/ftjob-1/card@ops`."""
        return f"{self.subject.key}/card@{self.notifier}{self.channel or ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySummary:
    """A delivery in the outbox, for display."""

    key: str
    notifier: str
    org: str
    job: str
    seq: int
    type: str
    title: str
    state: str
    """The state: `pending`, `sent` or `dead`."""
    attempts: int
    created_at: datetime
    due_at: datetime
    settled_at: datetime | None
    reason: str | None
    """Why the last attempt failed, or why it is a dead letter, as one of a closed set of words."""
    answer: str | None = None
    """The last response of the target: its status and at most 300 characters, redacted."""

    @property
    def why(self) -> str:
        """The reason and the answer as text; empty without both."""
        return ": ".join(filter(None, (self.reason, self.answer)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultPage(Generic[T]):
    """One page of a listing."""

    items: tuple[T, ...]
    next: str | None
    """The cursor of the next page; None at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """A job with its transitions and deliveries."""

    tracked: Tracked
    transitions: tuple[Transition, ...]
    """The transitions, oldest first."""
    deliveries: tuple[DeliverySummary, ...]
    """The deliveries in the order of their transitions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportState:
    """How far an organisation's costs are imported."""

    usage_until: date | None = None
    """The last day of usage that was read completely; None before the first import."""
    bill_until: date | None = None
    """The last day of the bill that was read completely; None before the first import."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """The costs since some moment, and the active jobs."""

    spendings: tuple[Spending, ...] = ()
    active: tuple[Tracked, ...] = ()
    """Active jobs with their estimates."""
    usages: tuple[Usage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRecords:
    """The records that computed and billed costs are compared by."""

    trained: tuple[TrainingDay, ...] = ()
    usages: tuple[Usage, ...] = ()
    bills: tuple[Bill, ...] = ()
    hostings: tuple[Hosting, ...] = ()
