"""What commands print, and how: to terminals with colours and a width, elsewhere as plain lines of any length."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from io import TextIOWrapper
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from monitor.domain.render import from_now, span
from monitor.domain.text import line
from monitor.environ import environ
from monitor.terminal.answers import Trouble

GOOD, BUSY, ODD, BAD = "green", "cyan", "yellow", "red"
_ANY_LENGTH: Final = 1_000_000
_GAP: Final = 2
_ASCII: Final = dict(zip(map(ord, "…–→·✔●▲✖×│⠶−━╸╺"), "~->.+*!xx|*-=--", strict=True))
_STATUSES: Final = {
    "succeeded": (GOOD, "✔"),
    "failed": (BAD, "✖"),
    "cancelled": (ODD, "✖"),
    "running": (BUSY, "●"),
    "paused": (ODD, "●"),
    "cancelling": (ODD, "●"),
    "unknown": (ODD, "●"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The head of a column, and what may happen to it where there is no room."""

    title: str
    right: bool = False
    least: int | None = None
    """It may be cut to so many cells; None: never."""
    spare: int = 0
    """Columns are dropped by this number, the highest first; 0: never."""


def console(*, ascii_only: bool = False) -> Console:
    """Standard output. What its encoding lacks, or `ascii_only` forbids, is replaced by something as wide."""
    stream = sys.stdout
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(encoding="ascii" if ascii_only else None, errors=_SUBSTITUTE)
    width = None if stream is not None and stream.isatty() else _ANY_LENGTH
    plain = environ().get("NO_COLOR")  # for rich, weight is no colour; for its users, no escape sequence is wanted
    return Console(width=width, color_system=None if plain else "auto", markup=False, highlight=False, emoji=False)


def table(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], width: int) -> Table:
    """A table that fits a width if it can: empty columns are left out, spare ones dropped, then long texts cut.

    Print it with `crop=False`: what must not be cut may need more than the width, and terminals wrap it.
    """
    texts = [[cell.copy() if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    longest = [max((row[at].cell_len for row in texts), default=0) for at in range(len(columns))]
    shown = {at: max(longest[at], len(columns[at].title)) for at in range(len(columns)) if longest[at]}
    while (needed := _needed(columns, shown)) > width and any(columns[at].spare for at in shown):
        del shown[max(shown, key=lambda at: columns[at].spare)]
    grid = Table(
        box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim", width=needed if needed > width else None
    )
    for at in shown:
        column = columns[at]
        title = Text(column.title, no_wrap=True, overflow="ellipsis")
        grid.add_column(title, justify="right" if column.right else "left", no_wrap=column.least is None)
    for row in texts:
        for text in row:
            text.no_wrap, text.overflow = True, "ellipsis"
        grid.add_row(*(row[at] for at in shown))
    return grid


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Labels and what belongs to them, wrapped beside the label."""
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in rows:
        grid.add_row(label, Text(text))
    return grid


def status_style(status: str, *, stalled: bool = False) -> tuple[str, str]:
    """The colour and the sign of a status."""
    return (ODD, "▲") if stalled else _STATUSES.get(status, ("", "●"))


def inert(text: str | None, limit: int = 200) -> str:
    """Text from outside on one line, without anything that could steer a terminal."""
    return line(text, limit) if text else ""


def clock_time(at: datetime | None) -> str:
    """A moment in UTC; empty where there is none."""
    return at.strftime("%Y-%m-%d %H:%M:%SZ") if at is not None else ""


def age(at: datetime | None, now: datetime) -> str:
    """How long ago, in one unit: `5m`, `3h`, `12d`; empty where that is not known."""
    return span(max(now - at, timedelta(0))).partition(" ")[0] if at is not None else ""


def moment(at: datetime, now: datetime) -> str:
    """When, and how far that is from now."""
    return f"{clock_time(at)}, {from_now(at, now)}"


def pairs(of: Mapping[str, str]) -> str:
    """Labels, metadata or settings on one line, at most fifty of them."""
    return ", ".join(f"{inert(key, 80)}: {inert(value)}" for key, value in list(of.items())[:50])


def money(usd: Decimal | None) -> str:
    """US dollars in cents; empty where the amount is not known."""
    return f"${usd:,.2f}" if usd is not None else ""


def problem(trouble: Trouble | None) -> str:
    """Why something does not work: `auth: HTTP 401 …`; empty where it does."""
    if trouble is None:
        return ""
    return ": ".join(filter(None, (inert(trouble.reason, 40), inert(trouble.text, 300))))


def _needed(columns: Sequence[Column], widths: Mapping[int, int]) -> int:
    """The cells that a table needs when all is cut that may be."""
    return sum(min(width, columns[at].least or width) + _GAP for at, width in widths.items()) - _GAP


def _substitute(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_ASCII.get(ord(char), "?" * cell_len(char)) for char in missing), error.end


_SUBSTITUTE: Final = "monitor.terminal.substitute"
codecs.register_error(_SUBSTITUTE, _substitute)
