"""Turns single values of vendors' JSON into ours: bounded, finite, clean; None where they make no sense."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from monitor.domain.model import JobKind, kind_of

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_2200: Final = 7_258_118_400
_LATEST: Final = _EPOCH + timedelta(seconds=_YEAR_2200)
_GREATEST: Final = 10**15
_NUMBER: Final = re.compile(r"\s*[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?\s*")
_NO_NUMBER: Final = re.compile(r"[+-]?(nan|inf(inity)?)", re.IGNORECASE)
_LONGEST_NUMBER: Final = 40
_LONGEST_TIME: Final = 48
# How servers say that a figure is not there: also by the first moment of Unix, or of Go's and .NET's calendars.
_NOTHING: Final = re.compile(
    r"\s*(0+(\.0*)?|null|none|false|nil|n/a|-|-62135596800|(0001|1970)-01-01([T ]00:00.*)?)?\s*", re.IGNORECASE
)
_UTC: Final = re.compile(r"\s*\b(UTC|GMT)$")
_BEFORE_OFFSET: Final = re.compile(r"\s+(?=[+-]\d\d:?\d\d$)")
_HUGE: Final = 1e300
_BREAKS: Final = re.compile(r"[\t\n\r\x0b\x0c\u2028\u2029]+")
# Control characters, marks that turn the direction of text, and lone surrogates, which no database takes.
_UNWANTED: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def text(value: object, limit: int) -> str | None:
    """A non-empty text of one line, at most `limit` characters; the cut is shown by an ellipsis."""
    if value is None or isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if isinstance(value, str) and len(value) <= limit and value.isprintable():
        return value.strip() or None
    words = value if isinstance(value, str) else repr(value)
    words = clean(words[: 2 * limit]).strip()
    return (words if len(words) <= limit else words[: limit - 1] + "…") or None


def clean(words: str) -> str:
    """The text on one line, without control characters."""
    return words if words.isprintable() else _UNWANTED.sub("", _BREAKS.sub(" ", words))


def identifier(value: object, limit: int = 256) -> str | None:
    """An id, unchanged: what would have to be cut or cleaned identifies nothing."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    words = str(value)
    odd = len(words) > limit or words.strip() != words or words in {"", ".", ".."}
    return None if odd or clean(words) != words else words


def job_identifier(value: object, limit: int = 256) -> str | None:
    """The id of a fine-tuning job, which may not read like that of a batch."""
    found = identifier(value, limit)
    return found if found is None or kind_of(found) is JobKind.FINE_TUNING else None


def cursor(value: object) -> str | None:
    """An id as it is handed back to its server, which knows it in any shape; but a URL has to be able to hold it."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    words = str(value)
    return words if words and len(words) <= 1024 and not _UNWANTED.search(words) else None


def number(value: object) -> float | None:
    """A finite number, also one that is written as text: proto3's JSON has all its large integers in quotes."""
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if -_HUGE < value < _HUGE else None


def lost(value: object) -> bool:
    """Whether a figure was told that is infinite or no number: as JSON's forbidden constants, or as text."""
    if isinstance(value, str):
        return len(value) <= _LONGEST_NUMBER and _NO_NUMBER.fullmatch(value.strip()) is not None
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not -_HUGE < value < _HUGE


def whole(value: object, *, least: int = 1) -> int | None:
    """A whole number from `least` to 10^15, also where it is written with a fraction of zero, or as text."""
    amount = number(value)
    return int(amount) if amount is not None and amount.is_integer() and least <= amount <= _GREATEST else None


def moment(value: object) -> datetime | None:
    """A time in whatever spelling it comes; to the millisecond, as we store it.

    Unix seconds, or milli-, micro- or nanoseconds where what is coarser would be beyond the year 2200, as numbers or as
    text; ISO 8601 with or without a fraction (of any length) and a zone, which is UTC where it is not said; dates of
    HTTP. Zero, null, empty text and what lies before 1970 is how servers say that there is none.
    """
    seconds = number(value)
    if seconds is None:
        return _written(value.strip()) if isinstance(value, str) else None
    for _ in range(3):
        seconds = seconds / 1000 if seconds > _YEAR_2200 else seconds
    return _EPOCH + timedelta(milliseconds=int(seconds * 1000)) if 0 < seconds <= _YEAR_2200 else None


def _written(words: str) -> datetime | None:
    """A date and time in ISO 8601, also as Go and Python print them, or in the form of HTTP's headers."""
    if not 10 <= len(words) <= _LONGEST_TIME:
        return None
    try:
        at = _iso(words) if words[0].isdigit() else parsedate_to_datetime(words)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    cut = at.replace(microsecond=at.microsecond // 1000 * 1000)
    return cut if _EPOCH < cut <= _LATEST else None


def _iso(words: str) -> datetime:
    return datetime.fromisoformat(_BEFORE_OFFSET.sub("", _UTC.sub("", words.upper())))


def odd(value: object, found: object) -> bool:
    """Whether a figure was given, but made no sense."""
    return found is None and value is not None and _NOTHING.fullmatch(str(value)) is None


def texts(value: object, limit: int, most: int) -> tuple[str, ...]:
    """The texts in a list, at most so many."""
    items = value[:most] if isinstance(value, list) else []
    return tuple(words for item in items if (words := text(item, limit)) is not None)


def pairs(value: object) -> dict[str, str]:
    """Metadata: at most 16 pairs of 64 and 512 characters, as OpenAI documents it."""
    items = list(value.items())[:16] if isinstance(value, dict) else []
    found = ((text(key, 64), text(words, 512)) for key, words in items)
    return {key: words for key, words in found if key is not None and words is not None}


def hyperparameters(*told: object) -> dict[str, str]:
    """What the training was set to, by the vendor's names: at most 32 plain values; a later "auto" hides no figure."""
    found: dict[str, str] = {}
    for each in told:
        for key, value in list(each.items())[:32] if isinstance(each, dict) else ():
            name, said = text(key, 64), text(value, 64)
            if name is not None and said is not None and (said != "auto" or name not in found):
                found[name] = said
    return dict(list(found.items())[:32])


def sub(value: object, *path: str) -> Any:
    """What is at a path through nested objects; None where there is nothing."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
