"""The ids of a job's stored events, at six bytes each: thousands of jobs have hundreds of events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from struct import Struct
from typing import Final

RECENT: Final = 112
"""The least number of ids per job: more than a page of events has, so that each read meets a known event."""
_SPARE: Final = RECENT - 100  # ids beyond those of a page, for events that come slightly out of order
_LONGEST: Final = 2000  # the largest page of which all ids are kept
_BYTES: Final = 6  # bytes of a hash
_MASK: Final = (1 << 8 * _BYTES) - 1
_HASH: Final = Struct(f"{_BYTES}s")


class KnownIds:
    """A set of event ids, unpacked at the first lookup."""

    __slots__ = ("_hashes", "_packed")

    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self._hashes: frozenset[bytes] | None = None

    def __len__(self) -> int:
        return len(self._packed) // _BYTES

    def __contains__(self, id_: object) -> bool:
        if self._hashes is None:
            self._hashes = frozenset(_hashes(self._packed))
        return _hash(id_) in self._hashes

    def hold(self, others: RecentIds) -> bool:
        """Whether all of `others` are known."""
        return {*_hashes(others.packed)} <= {*_hashes(self._packed)}


@dataclass(frozen=True, slots=True)
class RecentIds:
    """The ids of a job's newest events, newest last: RECENT of them, or more if a read goes through more events.

    Each id is kept as 48 bits of its hash. Python seeds the hash of strings anew in each process, so that nobody can
    construct a collision. The chance that a new event has the hash of one of a hundred known events is below 10⁻¹².
    """

    packed: bytes = b""

    @classmethod
    def of(cls, ids: Iterable[str], span: int = 0) -> RecentIds:
        """Build the value from ids, given oldest first. `span` is the number of events that a read goes through."""
        return cls(b"".join(map(_hash, ids))[-_BYTES * _most(span) :])

    def __len__(self) -> int:
        return len(self.packed) // _BYTES

    def lookup(self) -> KnownIds:
        """The ids as a set."""
        return KnownIds(self.packed)

    def followed_by(self, ids: Iterable[str], span: int = 0) -> RecentIds:
        """These ids followed by those of `ids` that are not known yet. `span` is as in `of`."""
        known = self.lookup()
        fresh = b"".join(_hash(id_) for id_ in ids if id_ not in known)
        return RecentIds((self.packed + fresh)[-_BYTES * _most(span) :]) if fresh else self

    def same(self, other: RecentIds) -> bool:
        """Whether both hold the same ids, in any order."""
        return sorted(_hashes(self.packed)) == sorted(_hashes(other.packed))


def _hash(id_: object) -> bytes:
    return (hash(id_) & _MASK).to_bytes(_BYTES)


def _hashes(packed: bytes) -> Iterator[bytes]:
    return chain.from_iterable(_HASH.iter_unpack(packed))


def _most(span: int) -> int:
    """The number of ids to keep: some servers return all events of a job on one page, or in no order."""
    return max(RECENT, min(span, _LONGEST) + _SPARE)


NONE_YET: Final = RecentIds()
"""The ids of a job without events."""
