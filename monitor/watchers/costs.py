"""Imports one organisation's usage of fine-tuned models and its bill from the provider."""

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
from monitor.tracebacks import cut_traceback
from monitor.watchers.repeat import repeat

log = get_logger()

T = TypeVar("T")
_USAGE_DAYS: Final = 31  # days of usage in one step, which is repeated as a whole if it fails
_BILL_DAYS: Final = 93  # days of the bill in one step
_COMPARED: Final = timedelta(days=WINDOW + 10)
_MANY: Final = 500  # records: more are processed in a thread, because each takes about 20 µs


@dataclass(frozen=True, slots=True, kw_only=True)
class CostWatcher:
    """Imports the usage and the bill of one organisation with its admin key."""

    billing: BillingSource
    store: CostStore
    watching: JobStore
    """Stores the state of the import."""
    leases: Leases
    prices: Prices
    """The prices for the organisation."""
    interval: float
    """Seconds between two imports of the newest days."""
    clock: Clock
    health: BillingHealth
    jitter: Callable[[], float]
    lookback: timedelta
    """How far back the first import goes, if that is earlier than the start of the previous month."""
    _unpriced: set[str] = field(default_factory=set, init=False, repr=False)
    """Models without a price that were already logged."""

    async def run(self, first: float = 0.0) -> None:
        """Import for ever, beginning in `first` seconds: without a pause while days are missing, then in intervals."""
        await repeat(self._step, self.clock, first=first, org=self.billing.org, watcher="costs")

    async def read_once(self, now: datetime) -> bool | None:
        """One step: import a range of days of the usage and one of the bill.

        Returns whether both are imported up to today; None if another replica holds the lease. Raises SourceError if a
        range could not be read, and StoreError if it could not be stored. A range is stored as a whole or not at all.
        """
        org = self.billing.org
        if not await self.leases.take(org):
            return None
        imported, today = await self.store.imported(org), now.date()
        start = first_day(today, self.lookback)
        usage = next_window(imported.usage_until, today, start, days=_USAGE_DAYS)
        bills = next_window(imported.bill_until, today, start, days=_BILL_DAYS)
        failure: SourceError | Unstorable | None = None
        try:
            await self._usage(usage)
        except (ProviderUnavailable, Malformed, Unstorable) as error:  # the bill may be readable even so
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
            lambda: [self._priced(usage, shared=usage.model in shared) for usage in found], size=len(found)
        )
        await self.store.record_usage(org, priced, until=wanted.until)
        for model in {usage.model for usage in priced if usage.usd is None} - self._unpriced:
            self._unpriced.add(model)
            log.warning("usage.unpriced", org=org, model=model)

    def _priced(self, usage: Usage, *, shared: bool) -> Usage:
        """The usage with its cost at the price of its day, if that is known."""
        usd = use_cost(usage.model, usage.day, usage.tokens, self.prices, batch=usage.batch, shared=shared)
        return replace(usage, usd=usd)

    async def _bills(self, wanted: ImportWindow, now: datetime) -> None:
        found = await self.billing.bills(wanted.since, wanted.until)
        await self.store.record_bill(self.billing.org, found, since=wanted.since, until=wanted.until, now=now)

    async def _step(self) -> float:
        wait = await self._turn()
        if wait > 0:
            await self._record(self.clock.now() + timedelta(seconds=wait))
        return wait

    async def _turn(self) -> float:
        """One step, with its result noted in `health`. Returns the seconds to the next one. Raises StoreUnavailable."""
        try:
            done = await self.read_once(self.clock.now())
        except SourceError as error:
            cut_traceback(error)
            return self._failed(error.trouble)
        except (Stale, Unstorable) as error:
            cut_traceback(error)
            return self._failed(Trouble(reason=Reason.MALFORMED, text=str(error)))
        self._succeeded(done)
        if done is False:
            return 0.0
        await self._compare(self.clock.now())
        return self._delay(None)

    async def _compare(self, now: datetime) -> None:
        """Update the drift between computed and billed costs. It stays as it was if the store is down."""
        today = now.date()
        try:
            found = await self.store.records(now - _COMPARED, [self.billing.org])
        except StoreUnavailable:
            return
        since = (now - _COMPARED).date()
        self.health.drifts = await _in_thread_if_large(
            lambda: drift(
                reconcile(found.trained, found.usages, found.bills, since, today, kinds=line_item_kind), today
            ),
            size=len(found.trained) + len(found.usages) + len(found.bills),
        )

    async def _record(self, next_read: datetime) -> None:
        """Store the state of the import for all replicas, if this one holds the lease."""
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
        if done is None:  # another replica imports
            return
        if self.health.trouble is not None:
            log.info("costs.recovered", org=self.billing.org, failures=self.health.failures)
        self.health.trouble, self.health.failures = None, 0
        if done:
            self.health.last_success = self.clock.now()

    def _delay(self, trouble: Trouble | None) -> float:
        pace = Pace(interval=self.interval, idle_interval=self.interval)
        return next_delay(pace, active=True, failures=self.health.failures, trouble=trouble, jitter=self.jitter())


async def _in_thread_if_large(compute: Callable[[], T], *, size: int) -> T:
    """The result of a computation, which runs in a thread if it has many records, so as not to block the event loop."""
    return await anyio.to_thread.run_sync(compute) if size > _MANY else compute()
