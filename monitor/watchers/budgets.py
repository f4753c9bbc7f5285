"""Watches budgets: adds up the costs, publishes the sums as metrics, and announces crossed thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import anyio.to_thread

from monitor.clock import Clock
from monitor.domain.budgets import Budget, BudgetRecords, add_up, periods, since
from monitor.domain.health import BudgetState, Health
from monitor.domain.news import News
from monitor.domain.notices import budget_news, budget_recipients
from monitor.domain.routing import OrgRef, Rule
from monitor.log import get_logger
from monitor.store import CostStore, Leases, Outbox
from monitor.watchers.repeat import repeat

log = get_logger()

_NAME: Final = ":budgets"  # the name of its lease; no organisation's name contains a colon
_MANY: Final = 2_000  # cost records times budgets: more are added up in a thread


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetWatcher:
    """Watches all budgets."""

    budgets: tuple[Budget, ...]
    orgs: tuple[OrgRef, ...]
    """All configured organisations."""
    rules: tuple[Rule, ...]
    costs: CostStore
    outbox: Outbox
    leases: Leases
    clock: Clock
    health: Health
    jitter: Callable[[], float]
    page: str = ""
    """The URL of the status page; empty: messages do not link to it."""
    interval: float = 30.0
    """Seconds between two checks."""

    async def run(self, first: float = 0.0) -> None:
        """Check for ever, beginning in `first` seconds."""
        await repeat(self._step, self.clock, first=first, watcher="budgets")

    async def check_once(self, now: datetime) -> tuple[str, ...]:
        """One step. Returns the ids of the announced news, which are none if another replica holds the lease.

        The sums are published in any case. Raises StoreError.
        """
        covered = [org for budget in self.budgets for org in budget.covers(self.orgs)]
        orgs = sorted({name for org in covered for name in (org.org, *org.was)})
        spent = await self.costs.spent(since(self.budgets, now), orgs)
        former = [(f"budget:{was}", f"budget:{budget.name}") for budget in self.budgets for was in budget.was]
        notified = await self.outbox.notified([f"budget:{budget.name}" for budget in self.budgets], former)
        records = BudgetRecords(spendings=spent.spendings, active=spent.active, usages=spent.usages)
        costs = records.renamed(self.orgs)
        many = len(self.budgets) * (len(costs.spendings) + len(costs.active) + len(costs.usages)) > _MANY
        states, found = (
            await anyio.to_thread.run_sync(self._evaluate, costs, notified, now)
            if many
            else self._evaluate(costs, notified, now)
        )
        self.health.budgets = states
        if not found or not await self.leases.take(_NAME):
            return ()
        return await self.outbox.announce(found)

    def _evaluate(
        self, costs: BudgetRecords, notified: Mapping[str, str | None], now: datetime
    ) -> tuple[tuple[BudgetState, ...], list[News]]:
        """The sum of each budget, and the news to announce."""
        states, found = [], []
        for budget in self.budgets:
            recipients = budget_recipients(budget, self.orgs, self.rules, now)
            for span in periods(budget.period, now):
                counted = add_up(budget, costs, self.orgs, span, now=now)
                news = budget_news(
                    budget, counted, span, recipients=recipients, notified=notified, now=now, page=self.page
                )
                found += [news] if news is not None else []
            states.append(BudgetState(name=budget.name, limit=budget.amount, spent=counted.spent, period_end=span.end))
        return tuple(states), found

    async def _step(self) -> float:
        for id_ in await self.check_once(self.clock.now()):
            log.info("budget.crossed", news=id_)
        return self.interval * (1.0 - 0.05 * self.jitter())
