"""Which events of a long job are given up, so that no job keeps more than a thousand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from monitor.domain.event_ids import RECENT

MOST: Final = 1000
"""Events kept of one job."""
_OLD: Final = 400  # what is left of those before the newest RECENT: well under MOST, so that this is rare
_LINES: Final = 300  # of them, lines that are no measurements
_FIRST: Final = 20  # how many of these are from the beginning


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """An event as far as its retention cares."""

    pos: int
    step: int | None
    measured: bool


def superfluous(marks: Sequence[Mark]) -> frozenset[int]:
    """The positions to delete, given a job's events oldest first.

    The newest RECENT are the watermark and stay. Before them, measurements are kept evenly over the steps, first
    and last kept; other lines stay, but for the oldest middle ones where there are very many.
    """
    if len(marks) <= MOST:
        return frozenset()
    old = marks[:-RECENT]
    lines = [mark for mark in old if not mark.measured]
    if len(lines) > _LINES:
        lines = lines[:_FIRST] + lines[_FIRST - _LINES :]
    kept = {mark.pos for mark in lines}
    kept.update(_evenly([mark for mark in old if mark.measured], _OLD - len(kept)))
    return frozenset(mark.pos for mark in old) - kept


def _evenly(measured: Sequence[Mark], most: int) -> Iterator[int]:
    """The first of each of equal stretches of steps, and the last of all."""
    if not measured:
        return
    places = [mark.step if mark.step is not None else index for index, mark in enumerate(measured)]
    low, span = min(places), max(places) - min(places) + 1
    taken = set()
    for mark, place in zip(measured, places, strict=True):
        stretch = (place - low) * (most - 1) // span
        if stretch not in taken:
            taken.add(stretch)
            yield mark.pos
    yield measured[-1].pos
