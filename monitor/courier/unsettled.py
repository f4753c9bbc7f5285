"""Stores the outcomes of delivery attempts, and keeps those that could not be stored because the store was down."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from monitor.clock import Clock
from monitor.courier.verdict import DeadLetter, Delivered, Outcome, Postpone, Suspend
from monitor.store import ClaimedDelivery, Outbox, StoreError, StoreUnavailable


@dataclass(slots=True, kw_only=True)
class UnsettledOutcomes:
    """The unstored outcomes of one courier. While there are any, it must not claim deliveries: it could repeat them."""

    outbox: Outbox
    clock: Clock
    kept: dict[str, tuple[ClaimedDelivery, Outcome]] = field(default_factory=dict)
    """Outcomes that could not be stored yet, by delivery key."""

    async def record(self, claimed: ClaimedDelivery, outcome: Outcome) -> None:
        """Store an outcome, or keep it for `catch_up` if the store fails."""
        try:
            await self._settle(claimed, outcome)
        except StoreError:  # raised again by `catch_up`, so that other sends in flight are not cancelled
            self.kept[claimed.key] = (claimed, outcome)

    async def catch_up(self) -> None:
        """Store the kept outcomes. Raises StoreError."""
        for key, (claimed, outcome) in list(self.kept.items()):
            await self._settle(claimed, outcome)
            del self.kept[key]

    async def close(self, *, retry: float) -> None:
        """Store the kept outcomes, trying again every `retry` seconds until it succeeds."""
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
