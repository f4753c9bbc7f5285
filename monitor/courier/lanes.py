"""Rate limits of targets: a lane is shared by all notifiers that send to the same target."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from monitor.store import StoreError, TargetStore


class Lane:
    """The turns of the senders to one target, with a least gap between two turns. Times are monotonic seconds.

    A sender first takes its turn within the process (`take`), then among replicas (`agree`).
    """

    def __init__(self, name: str, gap: float, targets: TargetStore | None = None) -> None:
        self.gap = gap
        self._name = name
        self._targets = targets if gap > 0 else None
        self._free_at = 0.0
        self._taken = False

    def wait(self, now: float) -> float:
        """Seconds until a turn may be free; 0 if it can be taken now."""
        return max(self._free_at - now, self.gap if self._taken else 0.0)

    def take(self, now: float) -> bool:
        """Take a turn if it is free, and return whether it was. A lane with a gap has only one sender at a time."""
        if self.wait(now) > 0:
            return False
        self._taken = self.gap > 0
        return True

    async def agree(self, most: timedelta) -> bool:
        """Take the turn among replicas for at most `most`. False if another replica has it. Raises StoreError."""
        return self._targets is None or await self._targets.take_turn(self._name, most)

    async def give_back(self, now: float) -> None:
        """Release the turn to other replicas as soon as the gap and a pause are over."""
        if self._targets is not None:
            with suppress(StoreError):  # the turn then expires by itself
                await self._targets.give_back(self._name, timedelta(seconds=self.wait(now)))

    def release(self, now: float, *, used: bool) -> None:
        """Release the turn within the process. If it was used, the gap starts now."""
        self._taken = False
        if used and self.gap > 0:
            self.pause(now + self.gap)

    def pause(self, until: float) -> None:
        """Give no turn before this moment."""
        self._free_at = max(self._free_at, until)


class Lanes:
    """All lanes by name. They outlive a reload of the configuration, so that it resets no rate limit."""

    def __init__(self, targets: TargetStore | None = None) -> None:
        self.targets = targets
        """The state that is shared with other replicas; None if there cannot be any."""
        self._lanes: dict[str, Lane] = {}

    def lane(self, name: str, gap: float) -> Lane:
        """The lane of this name. It is created with a gap in seconds if it does not exist yet."""
        return self._lanes.setdefault(name, Lane(name, gap, self.targets))
