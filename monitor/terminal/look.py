"""What a terminal can show: its width, colours, Unicode; and text cut to fit it."""

from __future__ import annotations

import codecs
import shutil
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TextIO

from monitor.domain.text import ELLIPSIS, line

_NARROWEST, _WIDEST = 20, 1000
_PLAIN: Final = str.maketrans("…–→↗·✔●▲✖█░×−", "~->>-+*!x#.x-")  # each as wide as what it stands for
_CODES: Final = {"good": "32", "busy": "36", "odd": "33", "bad": "31", "dim": "2", "bold": "1"}
_STATUSES: Final = {
    "succeeded": ("good", "✔"),
    "failed": ("bad", "✖"),
    "cancelled": ("odd", "✖"),
    "paused": ("odd", "●"),
    "cancelling": ("odd", "●"),
    "unknown": ("odd", "●"),
    "running": ("busy", "●"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How to write to one stream."""

    width: int | None = None
    """Columns; None where lines may be of any length."""
    colour: bool = False
    ascii: bool = False
    live: bool = False
    """A line may be written anew."""

    @property
    def columns(self) -> int:
        """The width, or that of a usual terminal: for what must have one, such as a curve."""
        return self.width or 80

    def paint(self, text: str, code: str | None) -> str:
        """The text in a colour (`good`, `busy`, `odd`, `bad`) or weight (`dim`, `bold`), where there are any."""
        return f"\x1b[{_CODES[code]}m{text}\x1b[0m" if self.colour and code and text else text

    def written(self, text: str) -> str:
        """The text in characters that the stream has."""
        return text.translate(_PLAIN).encode("ascii", "replace").decode() if self.ascii else text


def look(stream: TextIO | None, environ: Mapping[str, str], *, plain: bool) -> Look:
    """What a stream can show, if it is open; `plain` asks for ASCII. NO_COLOR and a dumb TERM are heeded."""
    if stream is None:
        return Look()
    terminal, able = stream.isatty(), environ.get("TERM") != "dumb"
    columns = shutil.get_terminal_size((80, 24)).columns
    return Look(
        width=max(_NARROWEST, min(columns, _WIDEST)) if terminal else None,
        colour=terminal and able and not environ.get("NO_COLOR"),
        ascii=plain or not _is_utf8(stream.encoding),
        live=terminal and able,
    )


def status_look(status: str, *, stalled: bool = False) -> tuple[str | None, str]:
    """The colour and the sign of a status."""
    return ("odd", "▲") if stalled else _STATUSES.get(status, (None, "●"))


def fit(text: str, width: int) -> str:
    """As much of a line as fits, with an ellipsis where something is missing."""
    if cells(text) <= width:
        return text
    kept, used = [], 0
    for char in text:
        used += _cell(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept) + ELLIPSIS


def cells(text: str) -> int:
    """How many columns a terminal gives to a text."""
    return len(text) if text.isascii() else sum(map(_cell, text))


def wrapped(text: str, width: int) -> Iterator[str]:
    """The lines of a text of words, each at most so wide; a word that is wider is broken."""
    for paragraph in text.split("\n"):
        row = ""
        for word in paragraph.split():
            if row and cells(row) + 1 + cells(word) > width:
                yield row
                row = ""
            row = f"{row} {word}" if row else word
            while cells(row) > width:
                head = fit(row, width + 1)[:-1]
                yield head
                row = row[len(head) :]
        if row:
            yield row


def inert(text: str | None, limit: int = 200) -> str:
    """Text from outside on one line, without anything that could steer a terminal."""
    return line(text, limit) if text else ""


def _cell(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _is_utf8(encoding: str | None) -> bool:
    try:
        return codecs.lookup(encoding or "ascii").name == "utf-8"
    except LookupError:
        return False
