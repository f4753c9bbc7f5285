"""The health of a target: healthy, failing, or suspended because it rejects everything. Changes are logged once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from monitor.notifiers.base import FailureKind, SendError

log = structlog.get_logger(__name__)

FIRST_PROBE: Final = 60.0
"""Seconds until the first probe of a suspended target. An ingress may answer 404 for that long during a rollout."""
LAST_PROBE: Final = 3600.0
"""The longest wait between two probes in seconds. Waits double up to it."""
_SLOW_DOWN_AFTER: Final = 3  # failed deliveries
AT_ONCE: Final = 8
"""The most deliveries that are sent to a target concurrently, and repeated if the program is killed meanwhile."""


class DeliveryMetrics(Protocol):
    """The metrics of deliveries."""

    def sent(self, notifier: str, seconds: float) -> None:
        """Count a delivery that the receiver accepted, `seconds` after it was stored."""

    def routed(self, route: str) -> None:
        """Count a delivery of a named route that the receiver accepted."""

    def failed(self, notifier: str, reason: str) -> None:
        """Count a failed attempt that will be retried."""

    def dead(self, notifier: str, reason: str) -> None:
        """Count a delivery that became a dead letter."""

    def template_failed(self, template: str) -> None:
        """Count a message that was sent with the built-in text because its template failed."""

    def set_suspended(self, notifier: str, suspended: bool) -> None:
        """Set whether the notifier is suspended."""


@dataclass(slots=True, kw_only=True)
class TargetHealth:
    """The health of one notifier's target. It is not stored, so that a restart tries the target again."""

    name: str
    metrics: DeliveryMetrics
    failing: set[str] = field(default_factory=set)
    """Keys of the deliveries that have failed since the last success. One that keeps failing counts only once."""
    probe_at: float | None = None
    """When to probe a suspended target, in monotonic seconds; None unless it is suspended."""
    probe_wait: float = FIRST_PROBE
    """Seconds until the probe after the next rejection."""
    window: int = AT_ONCE
    """How many deliveries to send concurrently: one after the target's limit was exceeded, and one more for each that
    it has accepted since."""
    limited: bool = False
    """Whether the limit was exceeded by a delivery of those that were claimed last. The answers to the others of these
    say nothing about how many it accepts from now on."""

    @property
    def suspended(self) -> bool:
        """Whether the target is used only for probes."""
        return self.probe_at is not None

    @property
    def excess(self) -> int:
        """The number of failing deliveries beyond two. If it is positive, deliveries are sent one at a time, slowly."""
        return max(len(self.failing) - _SLOW_DOWN_AFTER + 1, 0)

    def take_window(self) -> int:
        """How many deliveries to claim now. From now on answers are to these."""
        self.limited = False
        return 1 if self.suspended or self.excess > 0 else self.window

    def rest(self, now: float) -> float:
        """Seconds until a suspended target may be probed; 0 or less if the target may be used now."""
        return self.probe_at - now if self.probe_at is not None else 0.0

    def answered(self, *, probe: bool) -> None:
        """Note that the target works: it accepted a message, or rejected one because of its content."""
        self._resume(probe=probe)
        if self.failing:
            log.info("notifier.recovered", notifier=self.name, deliveries=len(self.failing))
        self.failing.clear()
        if not self.limited:
            self.window = min(self.window + 1, AT_ONCE)

    def failed(self, error: SendError, now: float, *, key: str, probe: bool) -> None:
        """Note a failed attempt to send the delivery with this key. `now` is in monotonic seconds."""
        if error.kind is FailureKind.MESSAGE:
            self.answered(probe=probe)
        elif error.kind is FailureKind.TARGET:
            self._suspend(error, now, probe=probe)
        else:
            self._resume(probe=probe)
            if error.kind is FailureKind.RATE:
                self.window, self.limited = 1, True
            if error.kind in {FailureKind.TRANSIENT, FailureKind.AMBIGUOUS}:
                self._count(error, key)

    def suspended_elsewhere(self, probe_at: float) -> None:
        """Note that another replica has suspended the target. `probe_at` is the next probe in monotonic seconds."""
        if not self.suspended:
            log.info("notifier.suspended_elsewhere", notifier=self.name)
            self.metrics.set_suspended(self.name, True)
            self.probe_wait = FIRST_PROBE
        self.probe_at = probe_at

    def resumed_elsewhere(self) -> None:
        """Note that another replica has resumed the target."""
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
        elif probe:  # attempts that were in flight at the first rejection do not lengthen the wait
            self.probe_wait = min(2 * self.probe_wait, LAST_PROBE)
        self.probe_at = now + self.probe_wait

    def _resume(self, *, probe: bool) -> None:
        """Resume a suspended target after a successful probe. Attempts that were in flight before do not resume it."""
        if probe and self.suspended:
            log.info("notifier.resumed", notifier=self.name)
            self.probe_at = None
            self.metrics.set_suspended(self.name, False)
