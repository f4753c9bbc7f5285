"""The ids of a job's stored events, at eight bytes each: thousands of jobs have hundreds of events."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

RECENT: Final = 400
"""How many ids are kept per job: more than a page of events has, so that each read meets a known event."""


class KnownIds:
    """A set of event ids, unpacked at the first lookup."""

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

    Each id is kept as its 64-bit hash. Python seeds the hash of strings anew in each process, so that nobody can
    construct a collision, and a collision by chance among hundreds of ids is negligible.
    """

    packed: bytes = b""

    @classmethod
    def of(cls, ids: Iterable[str]) -> RecentIds:
        """Build the value from ids, given oldest first."""
        return cls(array("q", map(hash, ids))[-RECENT:].tobytes())

    def __len__(self) -> int:
        return len(self.packed) // 8

    def lookup(self) -> KnownIds:
        """The ids as a set."""
        return KnownIds(self.packed)

    def followed_by(self, ids: Iterable[str]) -> RecentIds:
        """These ids followed by those of `ids` that are not known yet."""
        known = self.lookup()
        fresh = array("q", (hash(id_) for id_ in ids if id_ not in known)).tobytes()
        return RecentIds((self.packed + fresh)[-8 * RECENT :]) if fresh else self

    def same(self, other: RecentIds) -> bool:
        """Whether both hold the same ids, in any order."""
        return sorted(array("q", self.packed)) == sorted(array("q", other.packed))


NONE_YET: Final = RecentIds()
"""The ids of a job without events."""
