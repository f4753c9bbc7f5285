"""Watches the budgets: add up, show, tell what was crossed, wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import anyio.to_thread

from monitor.clock import Clock
from monitor.domain.budgets import Books, Budget, add_up, period_of, since
from monitor.domain.news import News
from monitor.domain.notices import budget_news
from monitor.domain.routing import OrgRef, Rule
from monitor.log import get_logger
from monitor.metrics.health import BudgetState, Health
from monitor.store import CostStore, Leases, Outbox, Unavailable, Unstorable

log = get_logger()

LEASE: Final = timedelta(minutes=1)
_NAME: Final = ":budgets"  # no organisation's name has a colon
_MANY: Final = 2_000  # costs


@dataclass(slots=True)
class _Memory:
    """What is remembered from one look to the next."""

    store_failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetWatcher:
    """All budgets of all organisations."""

    budgets: tuple[Budget, ...]
    accounts: tuple[OrgRef, ...]
    """Every configured organisation."""
    rules: tuple[Rule, ...]
    costs: CostStore
    outbox: Outbox
    leases: Leases
    clock: Clock
    health: Health
    owner: str
    jitter: Callable[[], float]
    interval: float = 30.0
    """Seconds between two looks."""
    _memory: _Memory = field(default_factory=_Memory)

    async def run(self, first: float = 0.0) -> None:
        """Look for ever, `first` seconds from now on."""
        await self.clock.sleep(first)
        while True:
            try:
                told = await self.look_once(self.clock.now())
            except (Unavailable, Unstorable) as error:
                self._store_trouble(error)
            else:
                self._report(told)
            await self.clock.sleep(self.interval * (1.0 - 0.05 * self.jitter()))

    async def look_once(self, now: datetime) -> tuple[str, ...]:
        """One step; gives the ids of what is told by it: nothing, when another replica holds the lease.

        What the budgets have come to is shown in any case. Raises StoreError.
        """
        orgs = sorted({account.org for budget in self.budgets for account in budget.covers(self.accounts)})
        spent = await self.costs.spent(since(self.budgets, now), orgs)
        notified = await self.outbox.notified([f"budget:{budget.name}" for budget in self.budgets])
        books = Books(spendings=spent.spendings, active=spent.active, usages=spent.usages)
        many = len(self.budgets) * (len(books.spendings) + len(books.active) + len(books.usages)) > _MANY
        states, found = (
            await anyio.to_thread.run_sync(self._evaluate, books, notified, now)
            if many
            else self._evaluate(books, notified, now)
        )
        self.health.budgets = states
        if not found or not await self.leases.take(_NAME, self.owner, LEASE):
            return ()
        return await self.outbox.announce(found)

    def _evaluate(
        self, books: Books, notified: frozenset[str], now: datetime
    ) -> tuple[tuple[BudgetState, ...], list[News]]:
        """What each budget has come to, and what is to be told of it."""
        states, found = [], []
        for budget in self.budgets:
            counted = add_up(budget, books, self.accounts, now)
            end = period_of(budget.period, now).end
            states.append(BudgetState(name=budget.name, limit=budget.amount, spent=counted.spent, period_end=end))
            news = budget_news(budget, counted, orgs=self.accounts, rules=self.rules, notified=notified, now=now)
            found += [news] if news is not None else []
        return tuple(states), found

    def _report(self, told: tuple[str, ...]) -> None:
        if self._memory.store_failed:
            log.info("store.recovered", watcher="budgets")
        self._memory.store_failed = False
        for id_ in told:
            log.info("budget.crossed", notice=id_)

    def _store_trouble(self, error: Unavailable | Unstorable) -> None:
        if not self._memory.store_failed:
            log.error("store.failed", watcher="budgets", error=str(error))
        self._memory.store_failed = True
