"""How long a server asks its clients to wait, in every form of the header that is in use."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_NUMBER: Final = re.compile(r"[0-9]{1,40}(\.[0-9]{0,40})?")


def retry_after(headers: Mapping[str, str], now: datetime, *, cap: float = 3600.0) -> float | None:
    """Seconds to wait, more than 0 and at most `cap`; None if there is no valid header.

    `headers` must have lower-case names. `retry-after-ms` is OpenAI's, in milliseconds. `retry-after` has seconds,
    possibly with a fraction, or a date (RFC 9110, 10.2.3), which is compared with the server's own `date` header, so
    that a wrong local clock does not matter.
    """
    for seconds in (_thousandth(headers.get("retry-after-ms")), _seconds(headers, now)):
        if seconds is not None and math.isfinite(seconds) and seconds > 0:
            return min(seconds, cap)
    return None


def _thousandth(value: str | None) -> float | None:
    number = _number(value)
    return None if number is None else number / 1000


def _seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    value = headers.get("retry-after")
    number = _number(value)
    if number is not None:
        return number
    until = _date(value)
    return None if until is None else (until - (_date(headers.get("date")) or now)).total_seconds()


def _number(value: str | None) -> float | None:
    value = (value or "").strip()
    return float(value) if _NUMBER.fullmatch(value) else None


def _date(value: str | None) -> datetime | None:
    """An HTTP date in UTC, or None. A date without a zone is taken as UTC, like all HTTP dates."""
    if not value or len(value) > 64:
        return None
    try:
        date = parsedate_to_datetime(value)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
