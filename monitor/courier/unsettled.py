"""Stores the outcome of each attempt to deliver, and keeps those that the store could not take yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from monitor.clock import Clock
from monitor.courier.verdict import DeadLetter, Delivered, Outcome, Postpone, Suspend
from monitor.store import ClaimedDelivery, Outbox, StoreError, StoreUnavailable


@dataclass(slots=True, kw_only=True)
class UnsettledOutcomes:
    """The outcomes of one courier. While some are kept, nothing may be claimed: it could be sent again and again."""

    outbox: Outbox
    clock: Clock
    kept: dict[str, tuple[ClaimedDelivery, Outcome]] = field(default_factory=dict)
    """By delivery key."""

    async def record(self, claimed: ClaimedDelivery, outcome: Outcome) -> None:
        """Store an outcome, or keep it until `catch_up` where the store fails."""
        try:
            await self._settle(claimed, outcome)
        except StoreError:  # `catch_up` stores it: the others that are in flight end first
            self.kept[claimed.key] = (claimed, outcome)

    async def catch_up(self) -> None:
        """Store what was kept. Raises StoreError."""
        for key, (claimed, outcome) in list(self.kept.items()):
            await self._settle(claimed, outcome)
            del self.kept[key]

    async def close(self, *, retry: float) -> None:
        """Store what was kept, trying again after so many seconds for as long as it takes."""
        while self.kept:
            try:
                await self.catch_up()
            except StoreUnavailable:
                await self.clock.sleep(retry)

    async def _settle(self, claimed: ClaimedDelivery, outcome: Outcome) -> None:
        match outcome:
            case Delivered():
                await self.outbox.delivered(claimed, reference=outcome.reference, posted=outcome.posted)
            case DeadLetter():
                await self.outbox.dead_letter(claimed, reason=outcome.reason, answer=outcome.answer)
            case Suspend() | Postpone():
                await self.outbox.postpone(
                    claimed,
                    timedelta(seconds=outcome.delay),
                    reason=outcome.reason,
                    answer=outcome.answer,
                    counted=outcome.counted,
                    ambiguous=outcome.ambiguous,
                )
