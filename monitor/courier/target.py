"""How a target fares: well, failing, or suspended because it refuses us for good. Said once each time it changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from monitor.notifiers.base import FailureKind, SendError

log = structlog.get_logger(__name__)

FIRST_PROBE: Final = 60.0
"""Seconds until a suspended target is tried again: an ingress that is rolled out answers 404 for as long."""
LAST_PROBE: Final = 3600.0
"""The wait between probes doubles up to this, in seconds."""
_SLOW_DOWN_AFTER: Final = 3


class DeliveryMetrics(Protocol):
    """The counters of what was sent."""

    def sent(self, notifier: str, seconds: float) -> None:
        """The receiver accepted a message, so many seconds after its transition was stored."""

    def routed(self, route: str) -> None:
        """The receiver accepted a message that the route of this name has sent."""

    def failed(self, notifier: str, reason: str) -> None:
        """An attempt failed and will be repeated."""

    def dead(self, notifier: str, reason: str) -> None:
        """A message was given up."""

    def template_failed(self, template: str) -> None:
        """A message went out in the built-in words, because its template failed."""

    def set_suspended(self, notifier: str, suspended: bool) -> None:
        """Say whether the notifier is out of use."""


@dataclass(slots=True, kw_only=True)
class TargetHealth:
    """What is remembered of one notifier's target; lost with the process, so that a restart tries it anew."""

    name: str
    metrics: DeliveryMetrics
    failing: set[str] = field(default_factory=set)
    """Keys of the deliveries that failed since it last answered well: one that fails again and again slows no other."""
    probe_at: float | None = None
    """When it is tried next, monotonic; None unless it is suspended."""
    probe_wait: float = FIRST_PROBE
    """Seconds from the next refusal to the probe after it."""

    @property
    def suspended(self) -> bool:
        """Whether it is out of use but for a probe now and then."""
        return self.probe_at is not None

    @property
    def excess(self) -> int:
        """By how many failed deliveries it is beyond a passing trouble; from 1 on, it is used one by one, slowly."""
        return max(len(self.failing) - _SLOW_DOWN_AFTER + 1, 0)

    def rest(self, now: float) -> float:
        """Seconds until a suspended target may be tried; 0 or less where it may be used."""
        return self.probe_at - now if self.probe_at is not None else 0.0

    def answered(self, *, probe: bool) -> None:
        """It took a message, or refused one for what it is: it is well."""
        self._resume(probe=probe)
        if self.failing:
            log.info("notifier.recovered", notifier=self.name, deliveries=len(self.failing))
        self.failing.clear()

    def failed(self, error: SendError, now: float, *, key: str, probe: bool) -> None:
        """An attempt to send the delivery of this key failed."""
        if error.kind is FailureKind.MESSAGE:
            self.answered(probe=probe)
        elif error.kind is FailureKind.TARGET:
            self._suspend(error, now, probe=probe)
        else:
            self._resume(probe=probe)
            if error.kind in {FailureKind.TRANSIENT, FailureKind.AMBIGUOUS}:
                self._count(error, key)

    def suspended_elsewhere(self, probe_at: float) -> None:
        """Another replica was refused; it is tried then, by one of us."""
        if not self.suspended:
            log.info("notifier.suspended_elsewhere", notifier=self.name)
            self.metrics.set_suspended(self.name, True)
            self.probe_wait = FIRST_PROBE
        self.probe_at = probe_at

    def resumed_elsewhere(self) -> None:
        """Another replica got through."""
        self._resume(probe=True)

    def _count(self, error: SendError, key: str) -> None:
        if not self.failing:
            log.warning("notifier.failing", notifier=self.name, reason=error.reason, error=str(error))
        self.failing.add(key)

    def _suspend(self, error: SendError, now: float, *, probe: bool) -> None:
        if not self.suspended:
            log.error("notifier.suspended", notifier=self.name, reason=error.reason, error=str(error))
            self.metrics.set_suspended(self.name, True)
            self.probe_wait = FIRST_PROBE
        elif probe:  # those that were in flight with the first one say nothing new
            self.probe_wait = min(2 * self.probe_wait, LAST_PROBE)
        self.probe_at = now + self.probe_wait

    def _resume(self, *, probe: bool) -> None:
        """Only a probe resumes: others that were in flight with the refused one say nothing new."""
        if probe and self.suspended:
            log.info("notifier.resumed", notifier=self.name)
            self.probe_at = None
            self.metrics.set_suspended(self.name, False)
