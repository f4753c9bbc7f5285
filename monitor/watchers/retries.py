"""Retries of lists that are read a few times a day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from monitor.domain.flow import Trouble
from monitor.domain.pace import Pace, next_delay

_RETRY: Final = 60.0  # seconds: the base of the backoff


@dataclass(slots=True)
class ListRetries:
    """Counts the consecutive failures to read one list, of which only the first is to be logged."""

    failures: int = 0

    def failed(self) -> bool:
        """Count a failure. Returns whether it is the first one."""
        self.failures += 1
        return self.failures == 1

    def worked(self) -> int:
        """Note a success. Returns the number of failures before it."""
        before, self.failures = self.failures, 0
        return before

    def delay(self, interval: float, trouble: Trouble | None, jitter: float) -> float:
        """Seconds until the next read: a backoff after a failure with `trouble`, otherwise `interval`.

        `trouble` is None after a success, and after a failure that will not soon pass.
        """
        pace = Pace(interval=min(_RETRY, interval), idle_interval=interval)
        return next_delay(pace, active=False, failures=self.failures, trouble=trouble, jitter=jitter)
