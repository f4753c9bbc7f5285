"""Watches the fine-tuned models of one organisation: look at the list, keep it, tell of their ends, wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from monitor.clock import Clock
from monitor.domain.flow import Trouble
from monitor.domain.notices import shutdown_news
from monitor.domain.pace import Pace, next_delay
from monitor.domain.pricing import Prices
from monitor.domain.retirement import dated, inventory
from monitor.domain.routing import OrgRef, Rule
from monitor.log import get_logger
from monitor.providers.base import AuthFailed, NotFound, SourceError
from monitor.source import Source
from monitor.source.models import listed_models
from monitor.store import CostStore, Leases, Outbox, StoreUnavailable, Unstorable
from monitor.watchers.store_trouble import StoreTrouble

log = get_logger()

LEASE: Final = timedelta(minutes=3)
_OFTEN: Final = 3600.0  # seconds between two looks at what ends when: days pass, and jobs bring forth models
_STORE_RETRY: Final = 5.0
_RETRY: Final = 60.0  # seconds: where the back-off after failures begins


@dataclass(slots=True)
class _Memory:
    """What is remembered from one look to the next."""

    failures: int = 0
    looking: StoreTrouble = field(default_factory=StoreTrouble)
    notifying: StoreTrouble = field(default_factory=StoreTrouble)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWatcher:
    """One organisation's models. That its list cannot be read says nothing of its jobs."""

    source: Source
    account: OrgRef
    rules: tuple[Rule, ...]
    prices: Prices
    """Asked about the organisation's provider: days of models whose list does not tell."""
    costs: CostStore
    outbox: Outbox
    leases: Leases
    clock: Clock
    owner: str
    jitter: Callable[[], float]
    interval: float = 21_600.0
    """Seconds between two looks at the list."""
    _memory: _Memory = field(default_factory=_Memory)

    async def run(self, first: float = 0.0) -> None:
        """Look at the list and at the calendar for ever, `first` seconds from now on."""
        await self.clock.sleep(first)
        due = self.clock.monotonic()
        while True:
            if self.clock.monotonic() >= due:
                due = self.clock.monotonic() + await self._look()
            often = _OFTEN if await self._tell() else _STORE_RETRY
            await self.clock.sleep(min(due - self.clock.monotonic(), often))

    async def look_once(self) -> None:
        """One step: read the list and keep what is on it; nothing when another replica holds the lease.

        A list without any tuned model may be one that the key may not see them on: it takes away nothing that was there
        before. Raises SourceError when it was not read whole, StoreError when it was not stored.
        """
        if not await self.leases.take(f"{self.account.org}:models", self.owner, LEASE):
            return
        listed = await listed_models(self.source)
        if stock := inventory(self.account.org, listed, self.prices):
            await self.costs.replace_models(self.account.org, stock)

    async def tell_once(self, now: datetime) -> tuple[str, ...]:
        """One step: tell of the ends that have come near; gives the ids of what is told by it. Raises StoreError."""
        known = await self.costs.tuned_models([self.account.org])
        models = tuple(dated(known, self.prices))
        await self.costs.date_models(
            [now_known for was, now_known in zip(known, models, strict=True) if was != now_known]
        )
        notified = await self.outbox.notified([self.account.org])
        news = tuple(shutdown_news(self.account, models, rules=self.rules, notified=notified, now=now))
        return await self.outbox.announce(news)

    async def _look(self) -> float:
        """Look at the list; seconds until the next look."""
        trouble: Trouble | None = None
        try:
            await self.look_once()
        except (AuthFailed, NotFound) as error:
            # The key may not list models, or there is no list: that will not change soon, and jobs tell of models too.
            self._failed(error)
        except SourceError as error:
            self._failed(error)
            trouble = error.trouble
        except (StoreUnavailable, Unstorable) as error:
            self._memory.looking.failed(error, org=self.account.org, watcher="models")
            return min(_STORE_RETRY, self.interval)
        else:
            self._succeeded()
        pace = Pace(interval=min(_RETRY, self.interval), idle_interval=self.interval)
        failures = self._memory.failures
        return next_delay(pace, active=False, failures=failures, trouble=trouble, jitter=self.jitter())

    async def _tell(self) -> bool:
        """Tell what has come near. False when the store could not be asked."""
        try:
            told = await self.tell_once(self.clock.now())
        except (StoreUnavailable, Unstorable) as error:
            self._memory.notifying.failed(error, org=self.account.org, watcher="models")
            return False
        for id_ in told:
            log.info("models.shutdown_near", org=self.account.org, notice=id_)
        self._memory.notifying.worked(org=self.account.org, watcher="models")
        return True

    def _succeeded(self) -> None:
        if self._memory.failures:
            log.info("models.listed_again", org=self.account.org, failures=self._memory.failures)
        self._memory.failures = 0
        self._memory.looking.worked(org=self.account.org, watcher="models")

    def _failed(self, error: SourceError) -> None:
        if not self._memory.failures:
            trouble = error.trouble
            log.warning("models.not_listed", org=self.account.org, reason=trouble.reason, error=trouble.text)
        self._memory.failures += 1
