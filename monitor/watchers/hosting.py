"""Watches the deployments of one organisation's fine-tuned models, whose hosting is charged by the hour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from monitor.clock import Clock
from monitor.domain.hosting import observe
from monitor.source.deployments import DeploymentSource
from monitor.store import CostStore, Leases
from monitor.watchers.repeat import repeat
from monitor.watchers.retries import ListRetries


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
    """Seconds between two lists. A deployment that is deleted in between counts up to the earlier one."""
    _retries: ListRetries = field(
        default_factory=partial(ListRetries, failed="deployments.not_listed", recovered="deployments.listed_again")
    )

    async def run(self, first: float = 0.0) -> None:
        """List the deployments for ever, beginning in `first` seconds."""
        await repeat(self._step, self.clock, first=first, org=self.org, watcher="hosting")

    async def read_once(self, now: datetime) -> None:
        """List the deployments and extend their hosting up to now, unless another replica holds the lease.

        Raises SourceError if the list could not be read completely, and StoreError if it could not be stored.
        """
        if not await self.leases.take(self.org):
            return
        found = await self.deployments.find()
        known = await self.costs.hostings([self.org], None)
        await self.costs.record_hosting(tuple(observe(self.org, known, found, now)))

    async def _step(self) -> float:
        read = partial(self.read_once, self.clock.now())
        return await self._retries.attempt(read, org=self.org, interval=self.interval, jitter=self.jitter)
