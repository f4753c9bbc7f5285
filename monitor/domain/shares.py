"""Which organisations each of several replicas watches: about as many as any other, and few of them change hands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one replica does about its share now."""

    take: tuple[str, ...] = ()
    """Names that nobody has, to be taken by it."""
    give_to: str | None = None
    """Who is to get one of its own; None where shares are fair."""
    fair: bool = True
    """Whether nothing is left to move, for anybody."""


def fair_share(
    names: Collection[str],
    holders: Mapping[str, str],
    replicas: Collection[str],
    *,
    me: str,
    left_over: Collection[str],
) -> Share:
    """The share of the replica `me`, given who holds which of the names, and all replicas that live.

    Everybody takes from another end of what is free, so that they seldom want the same. What nobody wanted the last
    time, the `left_over`, is taken over and above the share: others may not be configured to watch it.
    """
    held = Counter(dict.fromkeys(replicas, 0))
    held.update(holder for name, holder in holders.items() if name in names and holder in held)
    free = [name for name in sorted(names) if holders.get(name) not in held]
    room = max(-(-len(names) // len(held)) - held[me], 0)
    start = sorted(held).index(me) * len(free) // len(held)
    turned = free[start:] + free[:start]
    take = (*turned[:room], *(name for name in turned[room:] if name in left_over))
    fewest = min(held, key=lambda replica: (held[replica], replica))
    give_to = fewest if held[me] - held[fewest] > 1 else None
    held[me] += len(take)
    return Share(
        take=take, give_to=give_to, fair=len(take) == len(free) and max(held.values()) - min(held.values()) <= 1
    )
