"""Watches the deployments of one organisation's tuned models, whose hosting costs by the hour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from monitor.clock import Clock
from monitor.domain.flow import Trouble
from monitor.domain.hosting import observe
from monitor.log import get_logger
from monitor.providers.base import SourceError
from monitor.source.deployments import DeploymentSource
from monitor.store import CostStore, Leases
from monitor.watchers.repeat import repeat
from monitor.watchers.retries import ListRetries

log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostingWatcher:
    """The deployments of one resource."""

    org: str
    deployments: DeploymentSource
    costs: CostStore
    leases: Leases
    clock: Clock
    jitter: Callable[[], float]
    interval: float = 600.0
    """Seconds between two requests: what is deleted in between is charged up to the request before."""
    _retries: ListRetries = field(default_factory=ListRetries)

    async def run(self, first: float = 0.0) -> None:
        """Watch forever, starting `first` seconds from now."""
        await repeat(self._step, self.clock, first=first, org=self.org, watcher="hosting")

    async def read_once(self, now: datetime) -> None:
        """List the deployments and extend their hosting up to now; nothing when another replica holds the lease.

        Raises SourceError when the list was not read whole, StoreError when it was not stored.
        """
        if not await self.leases.take(self.org):
            return
        found = await self.deployments.find()
        known = await self.costs.hostings([self.org], None)
        await self.costs.record_hosting(tuple(observe(self.org, known, found, now)))

    async def _step(self) -> float:
        trouble: Trouble | None = None
        try:
            await self.read_once(self.clock.now())
        except SourceError as error:
            trouble = error.trouble
            if self._retries.failed():
                log.warning("deployments.not_listed", org=self.org, reason=trouble.reason, error=trouble.text)
        else:
            if failures := self._retries.worked():
                log.info("deployments.listed_again", org=self.org, failures=failures)
        return self._retries.delay(self.interval, trouble, self.jitter())
