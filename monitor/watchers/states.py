"""Sends states again that last, to receivers that take for over what they are not told again (Alertmanager)."""

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

_NAME: Final = ":states"  # no organisation's name has a colon
_EARLY: Final = 2  # a state is sent again after half of the time that it is kept
_LOOKS: Final = 8  # in that time


@dataclass(frozen=True, slots=True, kw_only=True)
class StateWatcher:
    """The states that each of these notifiers was told of last."""

    forgets_after: Mapping[str, timedelta]
    """By the notifier's name."""
    orgs: frozenset[str]
    """Those that are watched."""
    notifiers: frozenset[str]
    """All of them."""
    reader: Reader
    outbox: Outbox
    leases: Leases
    clock: Clock

    async def run(self, first: float = 0.0) -> None:
        """Look for ever, `first` seconds from now on."""
        await repeat(self._step, self.clock, first=first, watcher="states")

    async def check_once(self, now: datetime) -> int:
        """One step; how many deliveries wait again. Raises StoreError."""
        count = 0
        for name, kept in self.forgets_after.items():
            found = await self.outbox.lasting(name, kept / _EARLY)
            lasting = [one for one in found if await self._lasts(one, now)]
            if lasting and await self.leases.take(_NAME):
                count += await self.outbox.resend(lasting)
        return count

    async def _lasts(self, told: Delivery, now: datetime) -> bool:
        """Whether it is still so."""
        subject, event = told.subject, told.message.event_type
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
        return min(self.forgets_after.values()).total_seconds() / _LOOKS
