"""The state that the page, the API and the metrics show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from monitor.domain.costs import TunedModel
from monitor.domain.flow import CounterIncrement, Tracked, Trouble
from monitor.domain.model import Status

MODELS: Final = 5000
"""The number of fine-tuned models that readers show one by one, over all organisations."""
_OVERDUE: Final = timedelta(minutes=10)  # a poll takes up to a minute, and an unchanged state is written rarely


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The pending deliveries of one notifier."""

    notifier: str
    pending: int
    oldest: datetime | None
    """The time of the oldest pending delivery; None if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchState:
    """The state of watching one organisation, as the holder of its lease last stored it.

    It is stored when `up` or the reason of its trouble changes, and otherwise at most every 90 seconds, so that a poll
    without changes usually writes nothing.
    """

    org: str
    """The organisation, or `ORG:costs` for the import of its costs."""
    up: bool | None
    """Whether the last poll succeeded; None before the first one has ended."""
    since: datetime
    """When `up` last changed."""
    owner: str
    """The process that watches the organisation."""
    trouble: Trouble | None = None
    last_success: datetime | None = None
    next_poll: datetime | None = None

    def current(self, now: datetime) -> bool:
        """Whether the state is current: its next poll is not overdue by more than ten minutes."""
        return self.next_poll is None or now - self.next_poll <= _OVERDUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that the page, the API and the metrics show, read in one transaction."""

    at: datetime
    jobs: tuple[Tracked, ...] = ()
    """Active jobs and batches, then those that ended within the job retention, newest first, up to a given number."""
    dropped: int = 0
    """Number of jobs and batches that are left out of `jobs`."""
    counts: Mapping[tuple[str, Status], int] = field(default_factory=dict)
    """Number of all stored fine-tuning jobs, by organisation and status."""
    batches: Mapping[tuple[str, Status], int] = field(default_factory=dict)
    """Number of all stored batches, by organisation and status."""
    unpriced: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Number of finished jobs of unknown cost, by organisation and model."""
    counters: tuple[CounterIncrement, ...] = ()
    """The totals of all stored counters."""
    billed: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)
    """US dollars on the provider's bill of this UTC month so far, by organisation and line item."""
    trained: Mapping[str, Decimal] = field(default_factory=dict)
    """US dollars of computed training cost of this UTC month so far, by organisation."""
    used: Mapping[str, Decimal] = field(default_factory=dict)
    """US dollars of priced requests to fine-tuned models in this UTC month so far, by organisation."""
    hosted: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)
    """US dollars of computed hosting cost of this UTC month so far, by organisation and model."""
    models: tuple[TunedModel, ...] = ()
    """Fine-tuned models with a known shutdown, up to MODELS: the next ones first, then the latest of the past."""
    shutdowns: Mapping[date, int] = field(default_factory=dict)
    """Number of all fine-tuned models with a known shutdown, by day."""
    backlogs: tuple[Backlog, ...] = ()
    watching: Mapping[str, WatchState] = field(default_factory=dict)
    """The state of watching, by organisation, of those that were ever watched."""
