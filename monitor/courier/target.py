"""How a target fares: well, failing, or parked because it refuses us for good. Said once each time it changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from monitor.notifiers.base import Failure, SendError

log = structlog.get_logger(__name__)

PROBE_EVERY: Final = 3600.0
"""Seconds between two attempts at a parked target."""
_SLOW_DOWN_AFTER: Final = 3


class DeliveryMetrics(Protocol):
    """The counters of what was sent."""

    def sent(self, notifier: str) -> None:
        """The receiver accepted a message."""

    def failed(self, notifier: str, reason: str) -> None:
        """An attempt failed and will be repeated."""

    def dead(self, notifier: str, reason: str) -> None:
        """A message was given up."""

    def park(self, notifier: str, parked: bool) -> None:
        """Say whether the notifier is out of use."""


@dataclass(slots=True, kw_only=True)
class Target:
    """What is remembered of one notifier's target; lost with the process, so that a restart tries it anew."""

    name: str
    metrics: DeliveryMetrics
    failures: int = 0
    """Attempts in a row that it did not answer well."""
    probe_at: float | None = None
    """When it is tried next, monotonic; None unless it is parked."""

    @property
    def parked(self) -> bool:
        """Whether it is out of use but for a probe now and then."""
        return self.probe_at is not None

    @property
    def excess(self) -> int:
        """By how many failures in a row it is beyond a passing trouble; from 1 on, it is used one by one, slowly."""
        return max(self.failures - _SLOW_DOWN_AFTER + 1, 0)

    def rest(self, now: float) -> float:
        """Seconds until a parked target may be tried; 0 or less where it may be used."""
        return self.probe_at - now if self.probe_at is not None else 0.0

    def answered(self, *, probe: bool) -> None:
        """It took a message, or refused one for what it is: it is well."""
        self._unpark(probe=probe)
        if self.failures:
            log.info("notifier.recovered", notifier=self.name, failures=self.failures)
        self.failures = 0

    def failed(self, error: SendError, now: float, *, probe: bool) -> None:
        """An attempt failed."""
        if error.failure is Failure.MESSAGE:
            self.answered(probe=probe)
        elif error.failure is Failure.TARGET:
            self._park(error, now)
        else:
            self._unpark(probe=probe)
            if error.failure in {Failure.TRANSIENT, Failure.AMBIGUOUS}:
                self._count(error)

    def _count(self, error: SendError) -> None:
        if self.failures == 0:
            log.warning("notifier.failing", notifier=self.name, reason=error.reason, error=str(error))
        self.failures += 1

    def _park(self, error: SendError, now: float) -> None:
        if not self.parked:
            log.error("notifier.parked", notifier=self.name, reason=error.reason, error=str(error))
            self.metrics.park(self.name, True)
        self.probe_at = now + PROBE_EVERY

    def _unpark(self, *, probe: bool) -> None:
        """Only a probe unparks: others that were in flight with the refused one say nothing new."""
        if probe and self.parked:
            log.info("notifier.unparked", notifier=self.name)
            self.probe_at = None
            self.metrics.park(self.name, False)
