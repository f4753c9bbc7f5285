"""What one watcher remembers between its steps: troubles, and when event streams fall due, in monotonic seconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from monitor.domain.flow import Trouble

_JUMP: Final = timedelta(seconds=30)  # more than any drift between two polls


@dataclass(slots=True)
class Rounds:
    """The memory of one watcher's loop; nothing in it needs to survive a restart."""

    not_before: float = 0.0
    """The provider asked not to be asked before this moment."""
    failures: int = 0
    trouble: Trouble | None = None
    store_failed: bool = False
    events_due: dict[str, float] = field(default_factory=dict)
    strange: set[str] = field(default_factory=set)
    """Statuses outside the provider's table that were already warned about."""
    _looked: tuple[datetime, float] | None = None

    def jump(self, now: datetime, monotonic: float) -> timedelta:
        """How far the wall clock was set since the last look, beyond the time that passed; small drifts are none."""
        if self._looked is None:
            return timedelta(0)
        wall, steady = self._looked
        jump = (now - wall) - timedelta(seconds=monotonic - steady)
        return jump if abs(jump) > _JUMP else timedelta(0)

    def looked(self, now: datetime, monotonic: float) -> None:
        """A look was committed: its jump is accounted for."""
        self._looked = (now, monotonic)

    def follow(self, jobs: Iterable[str], monotonic: float) -> None:
        """Exactly these jobs are active; one that is new is due at once."""
        self.events_due = {job: self.events_due.get(job, monotonic) for job in jobs}

    def heard(self, jobs: Iterable[str], due: float) -> None:
        """The events of these jobs are read again when due, whether the reading went well or not."""
        self.events_due |= {job: due for job in jobs if job in self.events_due}

    def silent(self, monotonic: float, most: int) -> list[str]:
        """The jobs whose events are due, the longest waiting first."""
        due = sorted((due, job) for job, due in self.events_due.items() if due <= monotonic)
        return [job for _, job in due[:most]]
