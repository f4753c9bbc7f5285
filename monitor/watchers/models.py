"""Watches the fine-tuned models of one organisation: read the list, store it, announce their shutdowns, wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from monitor.clock import Clock
from monitor.domain.flow import Trouble
from monitor.domain.notices import shutdown_news
from monitor.domain.pricing import Prices
from monitor.domain.retirement import dated, inventory
from monitor.domain.routing import OrgRef, Rule
from monitor.log import get_logger
from monitor.providers.base import AuthFailed, NotFound, SourceError
from monitor.source import Source
from monitor.source.models import listed_models
from monitor.store import CostStore, Leases, Outbox
from monitor.watchers.repeat import repeat
from monitor.watchers.retries import ListRetries

log = get_logger()

_OFTEN: Final = 3600.0  # seconds between two looks at the calendar: days pass, and jobs bring forth models


@dataclass(slots=True)
class _Memory:
    """What is remembered from one step to the next."""

    retries: ListRetries = field(default_factory=ListRetries)
    due: float = 0.0
    """When the list is to be read again, in monotonic seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWatcher:
    """One organisation's models. That its list cannot be read says nothing of its jobs."""

    source: Source
    org: OrgRef
    rules: tuple[Rule, ...]
    prices: Prices
    """Asked about the organisation's provider: shutdown dates of models whose list has none."""
    costs: CostStore
    outbox: Outbox
    leases: Leases
    clock: Clock
    jitter: Callable[[], float]
    interval: float = 21_600.0
    """Seconds between two readings of the list."""
    _memory: _Memory = field(default_factory=_Memory)

    async def run(self, first: float = 0.0) -> None:
        """Look at the list and at the calendar for ever, `first` seconds from now on."""
        await repeat(self._step, self.clock, first=first, org=self.org.org, watcher="models")

    async def list_once(self) -> None:
        """One step: read the list and keep what is on it; nothing when another replica holds the lease.

        A list without any tuned model may be one that the key may not see them on: it takes away nothing that was there
        before. Raises SourceError when it was not read whole, StoreError when it was not stored.
        """
        if not await self.leases.take(self.org.org):
            return
        listed = await listed_models(self.source)
        if models := inventory(self.org.org, listed, self.prices):
            await self.costs.replace_models(self.org.org, models)

    async def announce_once(self, now: datetime) -> tuple[str, ...]:
        """One step: announce what is shut down soon; gives the ids of the news it made. Raises StoreError."""
        known = await self.costs.tuned_models([self.org.org])
        models = tuple(dated(known, self.prices))
        await self.costs.date_models(
            [now_known for was, now_known in zip(known, models, strict=True) if was != now_known]
        )
        former = [(was, self.org.org) for was in self.org.was]
        notified = await self.outbox.notified([self.org.org], former)
        news = tuple(shutdown_news(self.org, models, rules=self.rules, notified=notified, now=now))
        return await self.outbox.announce(news)

    async def _step(self) -> float:
        if self.clock.monotonic() >= self._memory.due:
            self._memory.due = self.clock.monotonic() + await self._list()
        for id_ in await self.announce_once(self.clock.now()):
            log.info("models.shutdown_near", org=self.org.org, news=id_)
        return min(self._memory.due - self.clock.monotonic(), _OFTEN)

    async def _list(self) -> float:
        """Read the list; seconds until it is to be read again. Raises StoreError."""
        trouble: Trouble | None = None
        try:
            await self.list_once()
        except (AuthFailed, NotFound) as error:
            # The key may not list models, or there is no list: that will not change soon, and jobs name models too.
            self._failed(error)
        except SourceError as error:
            self._failed(error)
            trouble = error.trouble
        else:
            self._succeeded()
        return self._memory.retries.delay(self.interval, trouble, self.jitter())

    def _succeeded(self) -> None:
        if failures := self._memory.retries.worked():
            log.info("models.listed_again", org=self.org.org, failures=failures)

    def _failed(self, error: SourceError) -> None:
        if self._memory.retries.failed():
            trouble = error.trouble
            log.warning("models.not_listed", org=self.org.org, reason=trouble.reason, error=trouble.text)
