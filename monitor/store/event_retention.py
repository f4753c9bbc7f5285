"""Which events of a long job are deleted, so that no job keeps more than a thousand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

MOST: Final = 1000
"""The most events that are kept of one job."""
NEWEST: Final = 400
"""The number of newest events that are always kept."""
_OLD: Final = 400  # events that are kept before the newest: well below MOST, so that thinning is rare
_LINES: Final = 300  # the most events without metrics among them
_FIRST: Final = 20  # how many of these are from the beginning


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The properties of an event that its retention depends on."""

    pos: int
    """The primary key of the event."""
    step: int | None
    measured: bool
    """Whether it has metrics."""


def superfluous(marks: Sequence[Mark]) -> frozenset[int]:
    """The positions of events to delete, given all events of a job, oldest first.

    The NEWEST events stay, because they show which events are known. Of those before, events with metrics are
    kept evenly over the steps, including the first and the last. Other events stay, except that if there are too many,
    those after the first few are deleted, the oldest first.
    """
    if len(marks) <= MOST:
        return frozenset()
    old = marks[:-NEWEST]
    lines = [mark for mark in old if not mark.measured]
    if len(lines) > _LINES:
        lines = lines[:_FIRST] + lines[_FIRST - _LINES :]
    kept = {mark.pos for mark in lines}
    kept.update(_evenly([mark for mark in old if mark.measured], _OLD - len(kept)))
    return frozenset(mark.pos for mark in old) - kept


def _evenly(measured: Sequence[Mark], most: int) -> Iterator[int]:
    """The first event in each of `most - 1` equal ranges of steps, and the last event."""
    if not measured:
        return
    steps = [mark.step if mark.step is not None else index for index, mark in enumerate(measured)]
    low, span = min(steps), max(steps) - min(steps) + 1
    taken = set()
    for mark, step in zip(measured, steps, strict=True):
        part = (step - low) * (most - 1) // span
        if part not in taken:
            taken.add(part)
            yield mark.pos
    yield measured[-1].pos
