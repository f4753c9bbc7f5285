"""Text for other people's formats: escaped, and cut between characters to the lengths that receivers take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from monitor.domain.news import Severity
from monitor.domain.text import ELLIPSIS, clean, line

SIGNS: Final = {Severity.GOOD: "✅", Severity.INFO: "ℹ️", Severity.WARNING: "⚠️", Severity.BAD: "❌"}
REPEAT: Final = "This may be a repeat: the answer to an earlier attempt was lost."
_LONGEST_URL: Final = 1500
_NOTHING: Final[Mapping[str, str]] = {}


def units(text: str) -> int:
    """The length in UTF-16 units: at least that in code points, so that either count of a receiver is kept."""
    return len(text) + sum(char > "\uffff" for char in text)


def cut(text: str, limit: int, escapes: Mapping[str, str] = _NOTHING) -> str:
    """The text with its characters escaped, in at most `limit` UTF-16 units: whole characters and whole escapes."""
    kept: list[str] = []
    room = limit
    for char in text:
        piece = escapes.get(char, char)
        room -= units(piece)
        if room < 0:
            return _shortened(kept, limit)
        kept.append(piece)
    return "".join(kept)


def on_one_line(text: str, limit: int, escapes: Mapping[str, str] = _NOTHING) -> str:
    """Text from outside on one line, without invisible characters."""
    return cut(line(text, limit), limit, escapes)


def on_lines(text: str | None, limit: int, escapes: Mapping[str, str] = _NOTHING) -> str:
    """Text from outside with its line breaks, without invisible characters; empty where there is none."""
    return cut(clean(text or "", limit), limit, escapes)


def unlinked(text: str) -> str:
    """Without what a receiver that formats by itself (Mattermost) would take for a mention or a link."""
    for sign in ("@", "://", "www.", "]("):
        text = text.replace(sign, f"{sign}\u200b")
    return text


def safe_link(link: str | None) -> str | None:
    """The link with what ends links elsewhere (`|`, `<`, `>`, `"`) percent-encoded; None unless it is plain https."""
    if link is None or not link.isascii() or not link.isprintable() or len(link) > _LONGEST_URL:
        return None
    try:
        parts = urlsplit(link)
    except ValueError:
        return None
    if parts.scheme != "https" or not parts.hostname or parts.username is not None:
        return None
    quoted = quote(link, safe="%/:?#[]@!$&'()*+,;=~")
    return quoted if len(quoted) <= _LONGEST_URL else None


def _shortened(kept: list[str], limit: int) -> str:
    """Make room for the sign that something is missing."""
    size = sum(map(units, kept))
    while kept and size + len(ELLIPSIS) > limit:
        size -= units(kept.pop())
    return "".join([*kept, ELLIPSIS])
