"""Which days of a provider's usage and bill to import next: missing days first, and recent ones again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

SETTLED_AFTER: Final = timedelta(days=3)
"""The age from which on a day's figures are taken as final; how late OpenAI corrects them is not documented."""
_FARTHEST: Final = timedelta(days=180)  # how far back an import resumes after a long downtime


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportWindow:
    """A range of days to import, both ends included."""

    since: date
    until: date
    last: bool
    """Whether the range ends today, so that nothing is missing after it."""


def next_window(read_until: date | None, today: date, start: date, *, days: int) -> ImportWindow:
    """The next range of at most `days` days (more than four), given the last day that was read, if any.

    The days before `read_until` that were not final when they were read are read again. If `read_until` is in the
    future, the clock was wrong at that time, and the import begins anew at `start`.
    """
    if read_until is None or read_until > today:
        since = min(start, today)
    else:
        since = max(read_until, today - _FARTHEST) - SETTLED_AFTER
    until = min(since + timedelta(days=days - 1), today)
    return ImportWindow(since=since, until=until, last=until == today)


def first_day(today: date, lookback: timedelta) -> date:
    """The day at which a first import starts: the first of the previous month, or the lookback if that is earlier."""
    month_before = (today.replace(day=1) - timedelta(days=1)).replace(day=1)
    return min(month_before, today - lookback)
