"""Parses single JSON values of vendors: the result is bounded, finite and clean, or None if it makes no sense."""

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
# How servers write that a value is missing, including the zero times of Unix, Go and .NET.
_NOTHING: Final = re.compile(
    r"\s*(0+(\.0*)?|null|none|false|nil|n/a|-|-62135596800|(0001|1970)-01-01([T ]00:00.*)?)?\s*", re.IGNORECASE
)
_UTC: Final = re.compile(r"\s*\b(UTC|GMT)$")
_BEFORE_OFFSET: Final = re.compile(r"\s+(?=[+-]\d\d:?\d\d$)")
_HUGE: Final = 1e300
_BREAKS: Final = re.compile(r"[\t\n\r\x0b\x0c\u2028\u2029]+")
# Control characters, bidirectional formatting, and lone surrogates, which databases reject.
_UNWANTED: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def text(value: object, limit: int) -> str | None:
    """A non-empty text on one line, cut to `limit` characters with an ellipsis at the end."""
    if value is None or isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if isinstance(value, str) and len(value) <= limit and value.isprintable():
        return value.strip() or None
    words = value if isinstance(value, str) else repr(value)
    words = clean(words[: 2 * limit]).strip()
    return (words if len(words) <= limit else words[: limit - 1] + "…") or None


def clean(words: str) -> str:
    """Put the text on one line and remove control characters."""
    return words if words.isprintable() else _UNWANTED.sub("", _BREAKS.sub(" ", words))


def identifier(value: object, limit: int = 256) -> str | None:
    """An id, unchanged. One that would have to be cut or cleaned is None, since it would identify nothing."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    words = str(value)
    changed = len(words) > limit or words.strip() != words or words in {"", ".", ".."}
    return None if changed or clean(words) != words else words


def job_identifier(value: object, limit: int = 256) -> str | None:
    """The id of a fine-tuning job; None if it starts like our ids of batches."""
    found = identifier(value, limit)
    return found if found is None or kind_of(found) is JobKind.FINE_TUNING else None


def cursor(value: object) -> str | None:
    """A pagination cursor, returned to its server as it came; None if a URL cannot hold it."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    words = str(value)
    return words if words and len(words) <= 1024 and not _UNWANTED.search(words) else None


def number(value: object) -> float | None:
    """A finite number, also from text, since proto3's JSON writes 64-bit integers as strings."""
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if -_HUGE < value < _HUGE else None


def not_finite(value: object) -> bool:
    """Whether the value is NaN or infinite, as one of JavaScript's constants or as text."""
    if isinstance(value, str):
        return len(value) <= _LONGEST_NUMBER and _NO_NUMBER.fullmatch(value.strip()) is not None
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not -_HUGE < value < _HUGE


def whole(value: object, *, least: int = 1) -> int | None:
    """A whole number from `least` to 10^15, also as text or with a fraction of zero."""
    amount = number(value)
    return int(amount) if amount is not None and amount.is_integer() and least <= amount <= _GREATEST else None


def moment(value: object) -> datetime | None:
    """Parse a time, truncated to milliseconds, as we store it. None if there is none.

    Accepts Unix seconds, milli-, micro- and nanoseconds as numbers or text (the coarsest unit that gives a time
    before the year 2200), ISO 8601 with any number of fractional digits, and HTTP dates. A time without a zone is
    UTC. Zero, null, empty text and times before 1970 are how servers write that there is none.
    """
    seconds = number(value)
    if seconds is None:
        return _written(value.strip()) if isinstance(value, str) else None
    for _ in range(3):
        seconds = seconds / 1000 if seconds > _YEAR_2200 else seconds
    return _EPOCH + timedelta(milliseconds=int(seconds * 1000)) if 0 < seconds <= _YEAR_2200 else None


def _written(words: str) -> datetime | None:
    """Parse ISO 8601, also as Go and Python print it, or an HTTP date."""
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


def unreadable(value: object, found: object) -> bool:
    """Whether a value was given but could not be parsed."""
    return found is None and value is not None and _NOTHING.fullmatch(str(value)) is None


def texts(value: object, limit: int, most: int) -> tuple[str, ...]:
    """The non-empty texts of a list: at most `most`, each cut to `limit` characters."""
    items = value[:most] if isinstance(value, list) else []
    return tuple(words for item in items if (words := text(item, limit)) is not None)


def pairs(value: object) -> dict[str, str]:
    """Metadata as OpenAI documents it: at most 16 pairs, keys of 64 and values of 512 characters."""
    items = list(value.items())[:16] if isinstance(value, dict) else []
    found = ((text(key, 64), text(words, 512)) for key, words in items)
    return {key: words for key, words in found if key is not None and words is not None}


def hyperparameters(*sources: object) -> dict[str, str]:
    """Merge hyperparameters by the vendor's names: at most 32 plain values; "auto" replaces no earlier value."""
    found: dict[str, str] = {}
    for each in sources:
        for key, value in list(each.items())[:32] if isinstance(each, dict) else ():
            name, plain = text(key, 64), text(value, 64)
            if name is not None and plain is not None and (plain != "auto" or name not in found):
                found[name] = plain
    return dict(list(found.items())[:32])


def sub(value: object, *path: str) -> Any:
    """The value at a path of keys through nested objects; None if a key is missing."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
