"""The pace at which a target may be used, shared by all notifiers that send to it."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from monitor.store import StoreError, TargetStore


class Lane:
    """One target's turn-taking. Times are monotonic seconds.

    Those of one process agree among themselves first; then, where there are other replicas, with those.
    """

    def __init__(self, name: str, gap: float, targets: TargetStore | None = None) -> None:
        self.gap = gap
        self._name = name
        self._targets = targets if gap > 0 else None
        self._free_at = 0.0
        self._taken = False

    def wait(self, now: float) -> float:
        """Seconds until a turn may be had; 0 where it may be taken now."""
        return max(self._free_at - now, self.gap if self._taken else 0.0)

    def take(self, now: float) -> bool:
        """Take a turn if there is one. With a gap only one sender at a time has it."""
        if self.wait(now) > 0:
            return False
        self._taken = self.gap > 0
        return True

    async def agree(self, most: timedelta) -> bool:
        """Whether no other replica uses the target: for so long at most, it is ours then. Raises StoreError."""
        return self._targets is None or await self._targets.take_turn(self._name, most)

    async def give_back(self, now: float) -> None:
        """Let other replicas have it when its gap and its pause are over."""
        if self._targets is not None:
            with suppress(StoreError):  # then they have it when our time or our session is over
                await self._targets.give_back(self._name, timedelta(seconds=self.wait(now)))

    def release(self, now: float, *, used: bool) -> None:
        """Give the turn back. The gap counts from the end of a sending, so that arrivals keep it too."""
        self._taken = False
        if used and self.gap > 0:
            self.pause(now + self.gap)

    def pause(self, until: float) -> None:
        """Nothing more before this moment."""
        self._free_at = max(self._free_at, until)


class Lanes:
    """All lanes by name, for the life of the program: a reload changes no pace."""

    def __init__(self, targets: TargetStore | None = None) -> None:
        self.targets = targets
        """What is shared with other replicas, where there can be any."""
        self._lanes: dict[str, Lane] = {}

    def lane(self, name: str, gap: float) -> Lane:
        """The one lane of this name."""
        return self._lanes.setdefault(name, Lane(name, gap, self.targets))
