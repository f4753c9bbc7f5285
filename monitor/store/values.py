"""What the store hands out besides the values of the domain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Generic, TypeVar

from monitor.domain.costs import Bill, Spending, Usage
from monitor.domain.flow import Tracked, Transition
from monitor.domain.news import Card, Delivery, Subject

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDelivery:
    """A delivery that is ours to send until its lease ends."""

    delivery: Delivery
    attempts: int
    """This attempt's number, from 1."""
    created_at: datetime
    ambiguous: bool
    """An earlier attempt may have arrived: its answer was lost, or nobody said what became of it."""
    owner: str
    generation: str = ""
    """What its key carries where it came after a restored backup; see `key`."""
    others: int = 0
    """How many other deliveries its message stands for."""
    card: Card | None = None
    """The card of its subject, below which it goes; None where there is none yet, or it belongs to none."""
    readable: bool = True
    """Whether its message is what was rendered; else it can only be dead-lettered."""

    @property
    def key(self) -> str:
        """What the receiver knows it by: the delivery's key. After a restored backup a number may be given to another
        event than it had been given to, so it is marked: `research/ftjob-1/3~6921a4c0@ops`. What tells of more than
        one has a key of its own: `research/ftjob-1/3+19@ops`."""
        event, at, address = outward_key(self.delivery.key, self.generation).rpartition("@")
        return f"{event}+{self.others}{at}{address}" if self.others else f"{event}{at}{address}"


def outward_key(key: str, generation: str) -> str:
    """The key that a receiver sees, from that of the row."""
    event, at, notifier = key.rpartition("@")
    return f"{event}~{generation}{at}{notifier}" if generation else key


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedCard:
    """A card that is ours to edit until its lease ends."""

    subject: Subject
    notifier: str
    channel: str | None
    """`#channel`, where that is another than the notifier's own."""
    card: Card | None
    """Where it stands; None where it was lost and is to be posted anew."""
    shown: str | None
    """The appearance of what it says."""
    tracked: Tracked | None
    """Its job, as it is now; None where there is none any more, or it was posted anew often enough."""
    owner: str
    attempts: int
    """This attempt's number, from 1, since it was last edited well."""
    posts: int
    """How often it was posted anew since it was lost, this time included."""
    changes: int
    """How often its job had changed when it was claimed."""
    edited_at: int | None
    """When it was edited before this, in milliseconds."""
    charts: int = 0
    """How often its job's curve was to be shown below it."""

    @property
    def key(self) -> str:
        """What names it in the log: `research/ftjob-1/card@ops`."""
        return f"{self.subject.key}/card@{self.notifier}{self.channel or ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySummary:
    """A delivery of the outbox, for people."""

    key: str
    notifier: str
    org: str
    job: str
    seq: int
    type: str
    title: str
    state: str
    """`pending`, `sent` or `dead`."""
    attempts: int
    created_at: datetime
    due_at: datetime
    settled_at: datetime | None
    reason: str | None
    """Why the last attempt failed, or why it was given up: a closed word."""
    answer: str | None = None
    """What the target answered then: its status and at most 300 characters, redacted."""

    @property
    def why(self) -> str:
        """The reason and the answer, for people; empty where there is neither."""
        return ": ".join(filter(None, (self.reason, self.answer)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultPage(Generic[T]):
    """One page; `next` is the cursor of the following one, None at the end."""

    items: tuple[T, ...]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """All that is kept of one job, but its events."""

    tracked: Tracked
    transitions: tuple[Transition, ...]
    """Oldest first."""
    deliveries: tuple[DeliverySummary, ...]
    """In the order of their transitions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportState:
    """The last days of an organisation's usage and bill that were read whole; None where none was."""

    usage_until: date | None = None
    bill_until: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was spent since some moment, and what is being spent now."""

    spendings: tuple[Spending, ...] = ()
    active: tuple[Tracked, ...] = ()
    """Jobs that are not over, with their estimates."""
    usages: tuple[Usage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRecords:
    """Everything that computed and billed costs are compared by."""

    spendings: tuple[Spending, ...] = ()
    usages: tuple[Usage, ...] = ()
    bills: tuple[Bill, ...] = ()
