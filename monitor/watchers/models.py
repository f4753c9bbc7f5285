"""Watches the fine-tuned models of one organisation: stores the provider's list and announces shutdowns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

from monitor.clock import Clock
from monitor.domain.notices import shutdown_news
from monitor.domain.pricing import Prices
from monitor.domain.retirement import inventory, with_shutdown_dates
from monitor.domain.routing import OrgRef, Rule
from monitor.log import get_logger
from monitor.providers.base import AuthFailed, NotFound
from monitor.source import Source
from monitor.source.models import listed_models
from monitor.store import CostStore, Leases, Outbox
from monitor.watchers.repeat import repeat
from monitor.watchers.retries import ListRetries

log = get_logger()

_OFTEN: Final = 3600.0  # seconds between two checks for shutdowns: days pass, and jobs produce models


@dataclass(slots=True)
class _Memory:
    """The state between two steps."""

    # A key that may not list models, or a missing list, is not retried early: models are also known from jobs.
    retries: ListRetries = field(
        default_factory=partial(
            ListRetries, failed="models.not_listed", recovered="models.listed_again", lasting=(AuthFailed, NotFound)
        )
    )
    due: float = 0.0
    """When to read the list again, in monotonic seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWatcher:
    """Watches one organisation's models, independently of its jobs: their list may be readable when jobs are not."""

    source: Source
    org: OrgRef
    rules: tuple[Rule, ...]
    prices: Prices
    """Gives shutdown dates of models for which the provider's list has none."""
    costs: CostStore
    outbox: Outbox
    leases: Leases
    clock: Clock
    jitter: Callable[[], float]
    page: str = ""
    """The URL of the status page; empty: messages do not link to it."""
    interval: float = 21_600.0
    """Seconds between two reads of the list."""
    _memory: _Memory = field(default_factory=_Memory)

    async def run(self, first: float = 0.0) -> None:
        """Read the list and announce shutdowns for ever, beginning in `first` seconds."""
        await repeat(self._step, self.clock, first=first, org=self.org.org, watcher="models")

    async def list_once(self) -> None:
        """One step: read the list and store its fine-tuned models, unless another replica holds the lease.

        A list without fine-tuned models changes nothing, because the key may not be allowed to see them. Raises
        SourceError if the list could not be read completely, and StoreError if it could not be stored.
        """
        if not await self.leases.take(self.org.org):
            return
        listed = await listed_models(self.source)
        if models := inventory(self.org.org, listed, self.prices):
            await self.costs.replace_models(self.org.org, models)

    async def announce_once(self, now: datetime) -> tuple[str, ...]:
        """One step: announce shutdowns that reached a milestone. Returns the ids of the news. Raises StoreError."""
        known = await self.costs.tuned_models([self.org.org])
        models = tuple(with_shutdown_dates(known, self.prices))
        await self.costs.date_models([model for was, model in zip(known, models, strict=True) if was != model])
        former = [(was, self.org.org) for was in self.org.was]
        notified = await self.outbox.notified([self.org.org], former)
        news = tuple(shutdown_news(self.org, models, rules=self.rules, notified=notified, now=now, page=self.page))
        return await self.outbox.announce(news)

    async def _step(self) -> float:
        if self.clock.monotonic() >= self._memory.due:
            self._memory.due = self.clock.monotonic() + await self._list()
        for id_ in await self.announce_once(self.clock.now()):
            log.info("models.shutdown_near", org=self.org.org, news=id_)
        return min(self._memory.due - self.clock.monotonic(), _OFTEN)

    async def _list(self) -> float:
        """Read the list. Returns the seconds until it is to be read again. Raises StoreError."""
        retries, org = self._memory.retries, self.org.org
        return await retries.attempt(self.list_once, org=org, interval=self.interval, jitter=self.jitter)
