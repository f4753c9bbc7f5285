"""What readers show, read in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from monitor.domain.costs import TunedModel
from monitor.domain.flow import CounterIncrement, Tracked, Trouble
from monitor.domain.model import Status

_OVERDUE: Final = timedelta(minutes=10)  # a poll takes up to a minute, and what is the same is written seldom


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """How much of one notifier's outbox waits, and since when."""

    notifier: str
    pending: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchState:
    """How watching one organisation goes, as whoever holds its lease last said.

    It is written when `up` or the reason of its trouble changes, and else every minute and a half at most: then polls
    that changed nothing write nothing.
    """

    org: str
    """Or `ORG:costs`, of the import of its costs."""
    up: bool | None
    """Whether the last poll saw what it wanted to see; None before the first came to its end."""
    since: datetime
    """When `up` became what it is."""
    owner: str
    """The process that watches it."""
    trouble: Trouble | None = None
    last_success: datetime | None = None
    next_poll: datetime | None = None

    def current(self, now: datetime) -> bool:
        """Whether somebody still watches: the poll that was promised, or one after it, is not long overdue."""
        return self.next_poll is None or now - self.next_poll <= _OVERDUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that readers show, read in one transaction."""

    at: datetime
    jobs: tuple[Tracked, ...] = ()
    """Jobs and batches, active, and ended within the job retention; active first, then newest first.

    At most the asked number.
    """
    dropped: int = 0
    """How many more there were."""
    counts: Mapping[tuple[str, Status], int] = field(default_factory=dict)
    """Fine-tuning jobs by organisation and status, of all that are stored."""
    batches: Mapping[tuple[str, Status], int] = field(default_factory=dict)
    """The same of batches."""
    unpriced: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Ended jobs of unknown cost by organisation and model."""
    counters: tuple[CounterIncrement, ...] = ()
    billed: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)
    """The provider's bill, this UTC month to date, by organisation and line item."""
    trained: Mapping[str, Decimal] = field(default_factory=dict)
    """The computed cost of training, this month to date, by organisation."""
    used: Mapping[str, Decimal] = field(default_factory=dict)
    """What the use of tuned models cost, this month to date, by organisation, as far as there are prices."""
    models: tuple[TunedModel, ...] = ()
    backlogs: tuple[Backlog, ...] = ()
    watching: Mapping[str, WatchState] = field(default_factory=dict)
    """By organisation, of those that were ever watched."""
