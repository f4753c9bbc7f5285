"""Rows in columns that fit a terminal: what is long is cut, what is least needed goes first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from monitor.terminal.look import Look, cells, fit

_GAP: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What stands at the head of a column, and what may happen to it."""

    title: str
    right: bool = False
    least: int | None = None
    """It may be cut to so many cells; None: never."""
    spare: int = 0
    """Where there is no room, columns go by this number, the highest first; 0: never."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A text and its colour."""

    text: str
    code: str | None = None


def table(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], look: Look) -> Iterator[str]:
    """The lines of a table, its head first. A column without any text is left out."""
    natural = [max((cells(row[at].text) for row in rows), default=0) for at in range(len(columns))]
    shown = [at for at, width in enumerate(natural) if width]
    wanted = {at: max(natural[at], len(columns[at].title)) for at in shown}
    widths = _fitted(columns, wanted, look.width)
    yield _line([Cell(column.title, "dim") for column in columns], columns, widths, look)
    for row in rows:
        yield _line(row, columns, widths, look)


def _fitted(columns: Sequence[Column], wanted: dict[int, int], room: int | None) -> dict[int, int]:
    """The width of each column that is shown."""
    if room is None:
        return wanted
    while True:
        widths = dict(wanted)
        while _total(widths) > room:
            longest = max(
                (at for at, width in widths.items() if width > (columns[at].least or width)),
                key=lambda at: widths[at],
                default=None,
            )
            if longest is None:
                break
            widths[longest] -= 1
        least_needed = max(wanted, key=lambda at: columns[at].spare)
        if _total(widths) <= room or not columns[least_needed].spare:
            return widths
        del wanted[least_needed]


def _total(widths: dict[int, int]) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1)


def _line(row: Sequence[Cell], columns: Sequence[Column], widths: dict[int, int], look: Look) -> str:
    parts = []
    for at, width in widths.items():
        text = fit(row[at].text, width)
        gap = " " * (width - cells(text))
        painted = look.paint(text, row[at].code)
        parts.append(gap + painted if columns[at].right else painted + gap)
    return (" " * _GAP).join(parts).rstrip()
