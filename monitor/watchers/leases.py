"""Renews this replica's session in the database, and keeps its fair share of the organisations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from monitor.clock import Clock
from monitor.log import get_logger
from monitor.metrics.process import ProcessMetrics
from monitor.store import Changes, Leases
from monitor.watchers.repeat import repeat
from monitor.watchers.state import PollState

log = get_logger()

_SPREAD: Final = 0.02  # seconds between the first polls of two acquired organisations, which avoids a burst
_AFTER_ANOTHER: Final = 0.25
"""The fraction of a poll interval by which the first poll after a handover is delayed.

An organisation is handed over when its next poll is due. As that may be early and the previous poll may have been late,
two polls could otherwise be closer than an interval.
"""
_ALL_WITHIN: Final = 3.0  # seconds in which all acquired organisations are polled


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseWatcher:
    """Renews the leases of this replica, takes free ones, and hands over those beyond its fair share."""

    leases: Leases
    polls: Mapping[str, PollState]
    """The poll state by organisation, of those that this replica is configured to watch."""
    changes: Changes
    """Is notified of deliveries that became pending again."""
    process: ProcessMetrics
    interval: float
    """Seconds between two polls of an organisation."""
    clock: Clock

    async def run(self) -> None:
        """Renew the session for ever."""
        await repeat(self.renew_once, self.clock, watcher="leases")

    async def renew_once(self) -> float:
        """One step. Returns the seconds until the next one. Raises StoreError."""
        had = self.leases.shared
        renewal = await self.leases.renew(self.polls)
        self.process.holds(self.leases.shared)
        self.changes.enqueued(renewal.released)
        if self.leases.shared != had:
            log.info("leases.changed", organizations=self.leases.shared, of=len(self.polls))
        pause = min(_SPREAD, _ALL_WITHIN / max(len(renewal.acquired), 1), renewal.again / max(len(renewal.acquired), 1))
        for org in renewal.acquired:
            if org in renewal.given:
                self.polls[org].handover_until = self.clock.monotonic() + _AFTER_ANOTHER * self.interval
            self.polls[org].acquired()
            await self.clock.sleep(pause)
        return renewal.again
