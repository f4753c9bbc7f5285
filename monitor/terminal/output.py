"""How commands print: on terminals with colours and cut to the width, elsewhere as plain lines of any length."""

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
_UNLIMITED: Final = 1_000_000
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
    """A column of a table, and how it shrinks where the terminal is too narrow."""

    title: str
    right: bool = False
    least: int | None = None
    """The width in cells to which it may be cut; None: it is never cut."""
    spare: int = 0
    """The order in which columns are dropped, the highest first; 0: it is never dropped."""


def console(*, ascii_only: bool = False) -> Console:
    """The console for standard output. Characters that its encoding lacks, or `ascii_only` forbids, are replaced."""
    stream = sys.stdout
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(encoding="ascii" if ascii_only else None, errors=_SUBSTITUTE)
    width = None if stream is not None and stream.isatty() else _UNLIMITED
    plain = environ().get("NO_COLOR")  # rich keeps bold with NO_COLOR; users who set it expect no escape sequences
    return Console(width=width, color_system=None if plain else "auto", markup=False, highlight=False, emoji=False)


def table(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], width: int) -> Table:
    """A table that fits `width` if possible: empty columns are left out, spare ones dropped, then long texts cut.

    Print it with `crop=False`: columns that are never cut may need more than the width, and terminals wrap them.
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
    """A table of labels and texts; the texts are wrapped beside their labels."""
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
    """Text from outside on one line, without control sequences for the terminal."""
    return line(text, limit) if text else ""


def clock_time(at: datetime | None) -> str:
    """A time in UTC; empty for None."""
    return at.strftime("%Y-%m-%d %H:%M:%SZ") if at is not None else ""


def age(at: datetime | None, now: datetime) -> str:
    """How long ago in one unit: `5m`, `3h`, `12d`; empty for None."""
    return span(max(now - at, timedelta(0))).partition(" ")[0] if at is not None else ""


def moment(at: datetime, now: datetime) -> str:
    """A time in UTC, and its distance from now."""
    return f"{clock_time(at)}, {from_now(at, now)}"


def pairs(mapping: Mapping[str, str]) -> str:
    """Up to 50 key-value pairs on one line."""
    return ", ".join(f"{inert(key, 80)}: {inert(value)}" for key, value in list(mapping.items())[:50])


def money(usd: Decimal | None) -> str:
    """US dollars with cents; empty for None."""
    return f"${usd:,.2f}" if usd is not None else ""


def problem(trouble: Trouble | None) -> str:
    """Why something fails: `auth: HTTP 401 …`; empty if nothing does."""
    if trouble is None:
        return ""
    return ": ".join(filter(None, (inert(trouble.reason, 40), inert(trouble.text, 300))))


def _needed(columns: Sequence[Column], widths: Mapping[int, int]) -> int:
    """The width in cells that a table needs when all columns are cut to their minimum."""
    return sum(min(width, columns[at].least or width) + _GAP for at, width in widths.items()) - _GAP


def _substitute(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_ASCII.get(ord(char), "?" * cell_len(char)) for char in missing), error.end


_SUBSTITUTE: Final = "monitor.terminal.substitute"
codecs.register_error(_SUBSTITUTE, _substitute)
