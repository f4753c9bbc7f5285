"""The pace at which a target may be used, shared by all notifiers that send to it."""

from __future__ import annotations


class Lane:
    """One target's turn-taking. Times are monotonic seconds."""

    def __init__(self, gap: float) -> None:
        self.gap = gap
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

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}

    def lane(self, name: str, gap: float) -> Lane:
        """The one lane of this name."""
        return self._lanes.setdefault(name, Lane(gap))
