"""Watches one organisation's books at its provider, what its tuned models are used for and what is billed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

import anyio.to_thread

from monitor.clock import Clock
from monitor.domain.costs import Usage
from monitor.domain.flow import Reason, Trouble
from monitor.domain.health import BillingHealth
from monitor.domain.import_window import ImportWindow, first_day, next_window
from monitor.domain.pace import Pace, next_delay
from monitor.domain.pricing import Prices, use_cost
from monitor.domain.reconcile import WINDOW, drift, reconcile
from monitor.domain.snapshot import WatchState
from monitor.log import get_logger
from monitor.providers import line_item_kind
from monitor.providers.base import Malformed, ProviderUnavailable, SourceError
from monitor.source.billing import BillingSource
from monitor.store import CostStore, JobStore, Leases, Stale, StoreUnavailable, Unstorable
from monitor.watchers.repeat import repeat

log = get_logger()

T = TypeVar("T")
_USAGE_DAYS: Final = 31  # in one step: one that fails is done again as a whole
_BILL_DAYS: Final = 93
_COMPARED: Final = timedelta(days=WINDOW + 10)
_MANY: Final = 500  # lines of the books: to reckon with one takes 20 µs


@dataclass(frozen=True, slots=True, kw_only=True)
class CostWatcher:
    """One organisation's books, read with its admin key."""

    billing: BillingSource
    store: CostStore
    watching: JobStore
    """Keeps how the import goes."""
    leases: Leases
    prices: Prices
    """The prices of the organisation's provider."""
    interval: float
    """Seconds between two readings of the newest days."""
    clock: Clock
    health: BillingHealth
    jitter: Callable[[], float]
    lookback: timedelta
    """How far back the first import goes, where that is farther than the start of the month before."""
    _unpriced: set[str] = field(default_factory=set, init=False, repr=False)
    """Models that were already warned about."""

    async def run(self, first: float = 0.0) -> None:
        """Read for ever, `first` seconds from now on: at once while there is more, else in intervals."""
        await repeat(self._step, self.clock, first=first, org=self.billing.org, watcher="costs")

    async def read_once(self, now: datetime) -> bool | None:
        """One step: a stretch of usage and one of the bill. True where both are read up to today.

        None when another replica holds the lease. Raises SourceError for what was not read, StoreError for what was
        not stored. What was read whole before that is booked, and what was half read is not.
        """
        org = self.billing.org
        if not await self.leases.take(org):
            return None
        imported, today = await self.store.imported(org), now.date()
        start = first_day(today, self.lookback)
        usage = next_window(imported.usage_until, today, start, days=_USAGE_DAYS)
        bills = next_window(imported.bill_until, today, start, days=_BILL_DAYS)
        failure = None
        try:
            await self._usage(usage)
        except (
            ProviderUnavailable,
            Malformed,
        ) as error:  # it says nothing of the other half
            failure = error
        await self._bills(bills, now)
        if failure is not None:
            raise failure
        return usage.last and bills.last

    async def _usage(self, wanted: ImportWindow) -> None:
        org = self.billing.org
        found = await self.billing.usage(wanted.since, wanted.until)
        models = await self.store.tuned_models([org])
        shared = frozenset(model.id for model in models if model.shared)
        priced = await _in_thread_if_large(
            lambda: [self._priced(one, shared=one.model in shared) for one in found], of=len(found)
        )
        await self.store.record_usage(org, priced, until=wanted.until)
        for model in {one.model for one in priced if one.usd is None} - self._unpriced:
            self._unpriced.add(model)
            log.warning("usage.unpriced", org=org, model=model)

    def _priced(self, one: Usage, *, shared: bool) -> Usage:
        """With what it cost by the price of its day, where that is known."""
        usd = use_cost(one.model, one.day, one.tokens, self.prices, batch=one.batch, shared=shared)
        return replace(one, usd=usd)

    async def _bills(self, wanted: ImportWindow, now: datetime) -> None:
        found = await self.billing.bills(wanted.since, wanted.until)
        await self.store.record_bill(self.billing.org, found, since=wanted.since, until=wanted.until, now=now)

    async def _step(self) -> float:
        wait = await self._turn()
        if wait > 0:
            await self._record(self.clock.now() + timedelta(seconds=wait))
        return wait

    async def _turn(self) -> float:
        """One step, and what to remember of how it went; the seconds to the next. Raises StoreUnavailable."""
        try:
            done = await self.read_once(self.clock.now())
        except SourceError as error:
            return self._failed(error.trouble)
        except (Stale, Unstorable) as error:
            return self._failed(Trouble(reason=Reason.MALFORMED, text=str(error)))
        self._succeeded(done)
        if done is False:
            return 0.0
        await self._compare(self.clock.now())
        return self._delay(None)

    async def _compare(self, now: datetime) -> None:
        """Hold what was computed against what was billed. Without the store, what was found before stays."""
        today = now.date()
        try:
            found = await self.store.records(now - _COMPARED, [self.billing.org])
        except StoreUnavailable:
            return
        since = (now - _COMPARED).date()
        self.health.drifts = await _in_thread_if_large(
            lambda: drift(
                reconcile(found.spendings, found.usages, found.bills, since, today, kinds=line_item_kind), today
            ),
            of=len(found.spendings) + len(found.usages) + len(found.bills),
        )

    async def _record(self, next_read: datetime) -> None:
        """Keep how the import goes for all readers. Only the holder of the lease may."""
        name, health = f"{self.billing.org}:costs", self.health
        if self.leases.term(self.billing.org) is None:
            return
        with suppress(Stale, StoreUnavailable, Unstorable):  # the next turn tries again
            await self.watching.record(
                WatchState(
                    org=name,
                    up=health.trouble is None,
                    since=self.clock.now(),
                    owner=self.leases.owner,
                    trouble=health.trouble,
                    last_success=health.last_success,
                    next_poll=next_read,
                )
            )

    def _failed(self, trouble: Trouble) -> float:
        was = self.health.trouble
        self.health.trouble = trouble
        self.health.failures += 1
        if was is None or was.reason is not trouble.reason:
            log.warning(
                "costs.failed",
                org=self.billing.org,
                reason=trouble.reason,
                error=trouble.text,
                retry_after=trouble.retry_after,
            )
        return self._delay(trouble)

    def _succeeded(self, done: bool | None) -> None:
        if done is None:  # another replica reads: what it finds is in the store, how it fares is not known here
            return
        if self.health.trouble is not None:
            log.info("costs.recovered", org=self.billing.org, failures=self.health.failures)
        self.health.trouble, self.health.failures = None, 0
        if done:
            self.health.last_success = self.clock.now()

    def _delay(self, trouble: Trouble | None) -> float:
        pace = Pace(interval=self.interval, idle_interval=self.interval)
        return next_delay(pace, active=True, failures=self.health.failures, trouble=trouble, jitter=self.jitter())


async def _in_thread_if_large(reckon: Callable[[], T], *, of: int) -> T:
    """The result; where it is made of many lines, by a thread, so that nobody waits for it."""
    return await anyio.to_thread.run_sync(reckon) if of > _MANY else reckon()
