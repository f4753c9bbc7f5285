"""Watches whether notifiers accept their deliveries, and announces those that are down through the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from monitor.clock import Clock
from monitor.domain.news import News
from monitor.domain.notifier_outages import NotifierBacklog, OutagePolicy, down_since, notifier_news, notifier_subject
from monitor.domain.routing import Rule
from monitor.log import get_logger
from monitor.store import Leases, Outbox
from monitor.watchers.repeat import repeat

log = get_logger()

_NAME: Final = ":notifiers"  # the name of its lease; no organisation's name contains a colon


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifierWatcher:
    """Watches all notifiers by the outcomes of their deliveries."""

    notifiers: Mapping[str, str | None]
    """The former name of each notifier, by name."""
    rules: tuple[Rule, ...]
    outbox: Outbox
    leases: Leases
    clock: Clock
    policy: OutagePolicy
    interval: float = 30.0
    """Seconds between two checks."""

    async def run(self, first: float = 0.0) -> None:
        """Check for ever, beginning in `first` seconds, so that couriers first try what is pending."""
        await repeat(self._step, self.clock, first=first, watcher="notifiers")

    async def check_once(self, now: datetime) -> tuple[str, ...]:
        """One step. Returns the ids of the announced news. Raises StoreError."""
        former = [(_topic(was), _topic(name)) for name, was in self.notifiers.items() if was is not None]
        notified = await self.outbox.notified([_topic(name) for name in self.notifiers], former)
        announced = {name for name in self.notifiers if down_since(name, notified) is not None}
        backlogs = await self.outbox.backlogs([*self.notifiers], down=[*announced])
        news = [*self._news(backlogs, notified, now)]
        if not news or not await self.leases.take(_NAME):
            return ()
        return await self.outbox.announce(news)

    def _news(
        self, backlogs: Mapping[str, NotifierBacklog], notified: Mapping[str, str | None], now: datetime
    ) -> Iterator[News]:
        down = [name for name, backlog in backlogs.items() if backlog.down_since(self.policy.patience) is not None]
        for backlog in backlogs.values():
            found = notifier_news(backlog, self.rules, notified, policy=self.policy, down=down, now=now)
            if found is not None:
                yield found

    async def _step(self) -> float:
        for id_ in await self.check_once(self.clock.now()):
            log.info("notifier.outage_announced", news=id_)
        return self.interval


def _topic(name: str) -> str:
    return notifier_subject(name).topic
