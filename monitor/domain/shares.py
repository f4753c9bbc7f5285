"""The distribution of organisations among replicas: equal shares, with as few moves as possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one replica has to do so that shares become fair."""

    take: tuple[str, ...] = ()
    """Names that no replica holds and that this one should take."""
    give_to: str | None = None
    """The replica to which this one should hand over one of its names; None if it should not."""
    fair: bool = True
    """Whether no replica has anything left to move."""


def fair_share(
    names: Collection[str],
    holders: Mapping[str, str],
    replicas: Collection[str],
    *,
    me: str,
    left_over: Collection[str],
) -> Share:
    """The share of the replica `me`, given the holder of each name and all live replicas.

    Each replica starts at another position in the free names, so that two of them rarely want the same one. Names that
    were still free after the last round, the `left_over`, are taken even beyond the fair share: perhaps no other
    replica is configured to watch them.
    """
    held = Counter(dict.fromkeys(replicas, 0))
    held.update(holder for name, holder in holders.items() if name in names and holder in held)
    free = [name for name in sorted(names) if holders.get(name) not in held]
    room = max(-(-len(names) // len(held)) - held[me], 0)
    start = sorted(held).index(me) * len(free) // len(held)
    rotated = free[start:] + free[:start]
    take = (*rotated[:room], *(name for name in rotated[room:] if name in left_over))
    fewest = min(held, key=lambda replica: (held[replica], replica))
    give_to = fewest if held[me] - held[fewest] > 1 else None
    held[me] += len(take)
    return Share(
        take=take, give_to=give_to, fair=len(take) == len(free) and max(held.values()) - min(held.values()) <= 1
    )
