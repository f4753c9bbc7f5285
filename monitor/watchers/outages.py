"""Announces organisations that could not be polled for a while, and when they can be polled again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from monitor.clock import Clock
from monitor.domain.outages import OrgHealthChange, outage_news, unseen_since
from monitor.domain.routing import OrgRef, Rule
from monitor.domain.snapshot import WatchState
from monitor.log import get_logger
from monitor.store import Leases, Outbox, Reader
from monitor.watchers.repeat import repeat

log = get_logger()

_NAME: Final = ":outages"  # the name of its lease; no organisation's name contains a colon


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageWatcher:
    """Watches the stored poll results of all organisations, whichever replica polls them."""

    orgs: tuple[OrgRef, ...]
    reader: Reader
    rules: tuple[Rule, ...]
    outbox: Outbox
    leases: Leases
    clock: Clock
    page: str = ""
    """The URL of the status page; empty: messages do not link to it."""
    interval: float = 10.0
    """Seconds between two checks."""
    patience: float = 900.0
    """Seconds for which polls must fail before an outage is announced: most faults pass sooner."""

    async def run(self, first: float = 0.0) -> None:
        """Check for ever, beginning in `first` seconds."""
        await repeat(self._step, self.clock, first=first, watcher="outages")

    async def check_once(self, now: datetime) -> tuple[str, ...]:
        """One step. Returns the ids of the announced news. Raises StoreError."""
        watching = await self.reader.watching([org.org for org in self.orgs])
        changes = list(self._health_changes(watching, now))
        changed_orgs = [change.org for change in changes]
        former = [(was, org.org) for org in changed_orgs for was in org.was]
        notified = await self.outbox.notified([org.org for org in changed_orgs], former)
        found = [
            outage_news(await self._whole(change, notified), self.rules, notified, now, page=self.page)
            for change in changes
        ]
        news = [item for item in found if item is not None]
        if not news or not await self.leases.take(_NAME):
            return ()
        return await self.outbox.announce(news)

    async def _whole(self, change: OrgHealthChange, notified: Mapping[str, str | None]) -> OrgHealthChange:
        """The change, at the end of an outage with the counts of jobs that ended meanwhile."""
        lost = unseen_since(change.org.org, notified) if change.up else None
        if lost is None:
            return change
        return replace(change, ended=await self.reader.ended(change.org.org, lost))

    async def _step(self) -> float:
        for id_ in await self.check_once(self.clock.now()):
            log.info("org.outage_announced", news=id_)
        return self.interval

    def _health_changes(self, watching: Mapping[str, WatchState], now: datetime) -> Iterator[OrgHealthChange]:
        """The organisations that are up, or have been down for longer than `patience`."""
        for org in self.orgs:
            state = watching.get(org.org)
            if state is None or state.up is None or not state.current(now):
                continue
            if state.up or (now - state.since).total_seconds() >= self.patience:
                yield OrgHealthChange(
                    org=org,
                    up=state.up,
                    last_success=state.last_success,
                    trouble=state.trouble,
                    up_since=state.since if state.up else None,
                )
