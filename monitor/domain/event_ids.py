"""Which events of a job are known: thousands of jobs have hundreds each, so that an id takes eight bytes."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

RECENT: Final = 400
"""Of how many events of one job the ids are remembered: more than a page has, so that each reading meets some."""


class KnownIds:
    """Ids to look others up in; unpacked when the first is."""

    __slots__ = ("_hashes", "_packed")

    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self._hashes: frozenset[int] | None = None

    def __len__(self) -> int:
        return len(self._packed) // 8

    def __contains__(self, id_: object) -> bool:
        if self._hashes is None:
            self._hashes = frozenset(array("q", self._packed))
        return hash(id_) in self._hashes


@dataclass(frozen=True, slots=True)
class RecentIds:
    """The newest RECENT ids of a job's events, newest last.

    Each is kept by its hash, which Python keys anew in each process, so that nobody can choose two that are equal; that
    two of these 64 bits are equal by chance, among hundreds, happens to no one.
    """

    packed: bytes = b""

    @classmethod
    def of(cls, ids: Iterable[str]) -> RecentIds:
        """These ids, newest last."""
        return cls(array("q", map(hash, ids))[-RECENT:].tobytes())

    def __len__(self) -> int:
        return len(self.packed) // 8

    def lookup(self) -> KnownIds:
        """The same, to look ids up in."""
        return KnownIds(self.packed)

    def followed_by(self, ids: Iterable[str]) -> RecentIds:
        """With these behind them, each once, as far as they are not among them."""
        known = self.lookup()
        fresh = array("q", (hash(id_) for id_ in ids if id_ not in known)).tobytes()
        return RecentIds((self.packed + fresh)[-8 * RECENT :]) if fresh else self

    def same(self, other: RecentIds) -> bool:
        """Whether the ids are the same in any order."""
        return sorted(array("q", self.packed)) == sorted(array("q", other.packed))


NONE_YET: Final = RecentIds()
"""Of a job without events."""
