"""Sends states that last again, for receivers that consider a state over unless it is repeated (Alertmanager)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from monitor.clock import Clock
from monitor.domain.model import Status
from monitor.domain.news import Delivery, EventType
from monitor.domain.notifier_outages import down_since
from monitor.log import get_logger
from monitor.store import Leases, Outbox, Reader
from monitor.watchers.repeat import repeat

log = get_logger()

_NAME: Final = ":states"  # the name of its lease; no organisation's name contains a colon
_RESENDS: Final = 2  # how often a state is sent within the time after which the receiver forgets it
_CHECKS: Final = 8  # how often states are checked within that time


@dataclass(frozen=True, slots=True, kw_only=True)
class StateWatcher:
    """Watches the lasting states that were sent to some notifiers."""

    forgets_after: Mapping[str, timedelta]
    """The time after which the receiver of a notifier forgets a state, by the notifier's name."""
    orgs: frozenset[str]
    """The organisations that are watched."""
    notifiers: frozenset[str]
    """All notifiers."""
    reader: Reader
    outbox: Outbox
    leases: Leases
    clock: Clock

    async def run(self, first: float = 0.0) -> None:
        """Check for ever, beginning in `first` seconds."""
        await repeat(self._step, self.clock, first=first, watcher="states")

    async def check_once(self, now: datetime) -> int:
        """One step: send lasting states again that are due. Returns the number of deliveries. Raises StoreError."""
        count = 0
        for name, forgets_after in self.forgets_after.items():
            due = await self.outbox.lasting(name, forgets_after / _RESENDS)
            lasting = [delivery for delivery in due if await self._lasts(delivery, now)]
            if lasting and await self.leases.take(_NAME):
                count += await self.outbox.resend(lasting)
        return count

    async def _lasts(self, delivery: Delivery, now: datetime) -> bool:
        """Whether the state that a delivery has announced still lasts."""
        subject, event = delivery.subject, delivery.message.event_type
        if event is EventType.NOTIFIER_DOWN:
            name = subject.id.partition("/")[0]
            return name in self.notifiers and down_since(name, await self.outbox.notified([subject.topic])) is not None
        if subject.org not in self.orgs:
            return False
        if event is EventType.ORG_DOWN:
            state = (await self.reader.watching([subject.org])).get(subject.org)
            return state is not None and state.up is False and state.current(now)
        file = await self.reader.job(subject.org, subject.id)
        if file is None or not file.tracked.active:
            return False
        return file.tracked.stalled if event is EventType.STALLED else file.tracked.job.status is Status.PAUSED

    async def _step(self) -> float:
        if count := await self.check_once(self.clock.now()):
            log.info("states.sent_again", count=count)
        return min(self.forgets_after.values()).total_seconds() / _CHECKS
