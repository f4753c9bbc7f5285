"""How the reading of a list goes that is read a few times a day, and when it is to be read again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from monitor.domain.flow import Trouble
from monitor.domain.pace import Pace, next_delay

_RETRY: Final = 60.0  # seconds: where the back-off after failures begins


@dataclass(slots=True)
class ListRetries:
    """The failures in a row of one list, of which the first is logged."""

    failures: int = 0

    def failed(self) -> bool:
        """It was not read; whether it was before."""
        self.failures += 1
        return self.failures == 1

    def worked(self) -> int:
        """It was read; how often it was not, before."""
        before, self.failures = self.failures, 0
        return before

    def delay(self, interval: float, trouble: Trouble | None, jitter: float) -> float:
        """Seconds until it is to be read again. `trouble` is of a failure that may soon be over."""
        pace = Pace(interval=min(_RETRY, interval), idle_interval=interval)
        return next_delay(pace, active=False, failures=self.failures, trouble=trouble, jitter=jitter)
