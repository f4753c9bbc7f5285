"""Mute times: windows of local time in which notifications are held back, correct across daylight saving changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from monitor.domain.news import EventType

_DAY: Final = timedelta(days=1)
_MINUTE: Final = timedelta(minutes=1)
_LONGEST: Final = timedelta(days=8)
"""The longest hold: windows that follow each other without a gap would otherwise never end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A daily window from one local time to another, on some days of the week."""

    days: frozenset[int]
    """The weekdays on which it begins; 0 is Monday."""
    start: time
    end: time
    """The end; if it is not after `start`, it is on the next day."""

    def on(self, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """The start and the end in UTC of the window that begins on this day.

        When clocks are put back, it starts at the first and ends at the second of two equal local times. A local time
        that is skipped counts as the moment of the change.
        """
        until = day if self.end > self.start else day + _DAY
        return moment_of(day, self.start, zone, fold=0), moment_of(until, self.end, zone, fold=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MuteTime:
    """Windows in one time zone in which notifications are held back."""

    name: str
    zone: ZoneInfo
    windows: tuple[Window, ...]
    passing: frozenset[EventType] = frozenset()
    """Event types that are sent at once even so."""

    def ends(self, now: datetime) -> datetime | None:
        """When news of this moment may be sent: the end of the current windows, or None outside of all windows.

        A window that begins before the end of another one prolongs it.
        """
        end = now
        while end < now + _LONGEST and (later := max(self._ends(end), default=None)) is not None:
            end = later
        return end if end > now else None

    def _ends(self, now: datetime) -> Iterator[datetime]:
        today = now.astimezone(self.zone).date()
        for window in self.windows:
            for day in (today - _DAY, today):
                start, end = window.on(day, self.zone)
                if day.weekday() in window.days and start <= now < end:
                    yield end


def moment_of(day: date, at: time, zone: ZoneInfo, *, fold: int) -> datetime:
    """The moment of a local time, in UTC.

    Of two equal local times it is the first (`fold` 0) or the second (`fold` 1). A skipped local time is the moment
    when clocks are put forward.
    """
    naive = datetime.combine(day, at)
    while True:
        found = naive.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        if found.astimezone(zone).replace(tzinfo=None) == naive:
            return found
        naive += _MINUTE
