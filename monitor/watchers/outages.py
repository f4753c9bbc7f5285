"""Watches whether the organisations can be watched, and tells of those that cannot for a while."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from monitor.clock import Clock
from monitor.domain.outages import OrgHealthChange, outage_news
from monitor.domain.routing import OrgRef, Rule
from monitor.log import get_logger
from monitor.metrics.health import Health
from monitor.store import Leases, Outbox, StoreUnavailable, Unstorable

log = get_logger()

LEASE: Final = timedelta(minutes=1)
_NAME: Final = ":outages"  # no organisation's name has a colon


@dataclass(slots=True)
class _Memory:
    """What is remembered from one look to the next."""

    down_since: dict[str, float] = field(default_factory=dict)
    """When each organisation's polls began to fail, in monotonic seconds."""
    store_failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageWatcher:
    """All organisations' health, as their own watchers see it."""

    health: Health
    rules: tuple[Rule, ...]
    outbox: Outbox
    leases: Leases
    clock: Clock
    owner: str
    interval: float = 10.0
    """Seconds between two looks."""
    patience: float = 900.0
    """Seconds for which polls fail before it is told: most faults pass."""
    _memory: _Memory = field(default_factory=_Memory)

    async def run(self, first: float = 0.0) -> None:
        """Look for ever, `first` seconds from now on."""
        await self.clock.sleep(first)
        while True:
            try:
                for id_ in await self.look_once(self.clock.now()):
                    log.info("org.outage_told", notice=id_)
            except (StoreUnavailable, Unstorable) as error:
                if not self._memory.store_failed:
                    log.error("store.failed", watcher="outages", error=str(error))
                self._memory.store_failed = True
            else:
                self._memory.store_failed = False
            await self.clock.sleep(self.interval)

    async def look_once(self, now: datetime) -> tuple[str, ...]:
        """One step; gives the ids of what is told by it. Raises StoreError."""
        sights = list(self._sights(self.clock.monotonic()))
        notified = await self.outbox.notified([sight.account.org for sight in sights])
        found = (outage_news(sight, self.rules, notified, now) for sight in sights)
        news = [one for one in found if one is not None]
        if not news or not await self.leases.take(_NAME, self.owner, LEASE):
            return ()
        return await self.outbox.announce(news)

    def _sights(self, monotonic: float) -> Iterator[OrgHealthChange]:
        """The organisations of which something can be said: seen at the last poll, or not for too long."""
        since = self._memory.down_since
        for org in self.health.orgs.values():
            if org.up is not False:
                since.pop(org.org, None)
            down = org.up is False and monotonic - since.setdefault(org.org, monotonic) >= self.patience
            if org.up or down:
                account = OrgRef(org=org.org, provider=org.provider, labels=org.labels)
                yield OrgHealthChange(account=account, up=not down, last_success=org.last_success, trouble=org.trouble)
