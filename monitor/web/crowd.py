"""How many connections readers may have: never so many that the program is left without descriptors of its own."""

from __future__ import annotations

import resource
from typing import Final, Protocol

_MOST: Final = 2000  # far more than read at once; a bound, so that idle ones cost little
_LEAST: Final = 8
_OWN: Final = 24  # descriptors of the database and the log; of the others, a quarter is for readers


class Connection(Protocol):
    """One reader's connection."""

    @property
    def idle(self) -> bool:
        """Whether it waits for a request."""
        ...

    def force_close(self) -> None:
        """End it now, whatever it does."""
        ...


def room() -> int:
    """How many connections there may be."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(min(_MOST, (descriptors - _OWN) // 4), _LEAST) if descriptors > 0 else _MOST


class Crowd:
    """The open connections. Whoever comes always gets in: the oldest idle one makes room, or the oldest of all.

    To turn newcomers away instead would let a few that do nothing keep out probes and scrapes for ever.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: dict[Connection, None] = {}  # in the order in which they came

    def enter(self, one: Connection) -> None:
        """One more; another one is closed where there is no room."""
        if len(self._open) >= self.most:
            leaving = next((other for other in self._open if other.idle), next(iter(self._open)))
            self.leave(leaving)
            leaving.force_close()
        self._open[one] = None

    def leave(self, one: Connection) -> None:
        """It is closed."""
        self._open.pop(one, None)
