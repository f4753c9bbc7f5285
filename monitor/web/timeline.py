"""When jobs queued and ran, as lanes of bars by organisation: pure geometry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from monitor.domain.flow import Tracked
from monitor.metrics.labels import clean
from monitor.web.rows import address, end

WIDTH: Final = 1000
_ROW: Final = 14  # pixels
_BAR: Final = 10
_MOST_ROWS: Final = 8  # jobs side by side in one lane
_MOST_BARS: Final = 300
_MOST_LANES: Final = 20
_MOST_OF_THEM: Final = 0.85  # one job of yesterday must not make dots of today's
_TICKS: Final = 5
_LEAST: Final = 4.0  # a bar that short can still be seen
_WINDOWS: Final = tuple(
    timedelta(minutes=minutes) for minutes in (2, 5, 15, 30, 60, 180, 360, 720, 1440, 4320, 10080, 43200)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A job: where it waited, and from where it ran."""

    x: float
    y: int
    queue: float
    """Width of the wait."""
    run: float
    """Width of the run; 0 as long as it has not begun."""
    status: str
    title: str
    page: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The jobs of one organisation."""

    org: str
    height: int
    bars: tuple[Bar, ...]
    more: int
    """How many did not find room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The lanes, and what stands below them."""

    lanes: tuple[Lane, ...]
    more: int
    """How many organisations did not find room."""
    ticks: tuple[str, ...]
    """Moments at equal distances from the left edge to the right, in UTC."""
    window: str
    bar: int = _BAR


def timeline(jobs: Sequence[Tracked], now: datetime, longest: timedelta) -> Timeline | None:
    """The newest of these jobs; None when there are none. It reaches back `longest` at most."""
    newest = sorted(jobs, key=_begin, reverse=True)[:_MOST_BARS]
    if not newest:
        return None
    reach = min(now - _begin(newest[round(_MOST_OF_THEM * (len(newest) - 1))]), longest)
    window = next((window for window in _WINDOWS if window >= reach), _WINDOWS[-1])
    start = now - window
    shown = [one for one in newest if _over(one, now) > start]
    orgs = sorted({one.job.org for one in shown})
    if not orgs:
        return None
    lanes = [_lane(org, [one for one in shown if one.job.org == org], start, now) for org in orgs[:_MOST_LANES]]
    pattern = "%H:%M:%S" if window < timedelta(minutes=15) else "%H:%M" if window <= timedelta(days=1) else "%d %b"
    ticks = (start + window * index / _TICKS for index in range(_TICKS + 1))
    return Timeline(
        lanes=tuple(lanes),
        more=len(orgs) - len(lanes),
        ticks=tuple(tick.astimezone(UTC).strftime(pattern) for tick in ticks),
        window=_words(window),
    )


def _lane(org: str, jobs: Iterable[Tracked], start: datetime, now: datetime) -> Lane:
    """Each job goes in the first row that is free: what began first is placed first."""
    free: list[datetime] = []
    bars, more = [], 0
    for one in sorted(jobs, key=_begin):
        row = next((index for index, until in enumerate(free) if until <= _begin(one)), len(free))
        if row == _MOST_ROWS:
            more += 1
            continue
        free[row : row + 1] = [_over(one, now)]
        bars.append(_bar(one, row, start, now))
    return Lane(org=clean(org, 64), height=_ROW * len(free), bars=tuple(bars), more=more)


def _bar(one: Tracked, row: int, start: datetime, now: datetime) -> Bar:
    def x(at: datetime) -> float:
        return round(WIDTH * min(max((at - start) / (now - start), 0.0), 1.0), 1)

    job = one.job
    begin, over = x(_begin(one)), x(_over(one, now))
    ran = x(job.started_at) if job.started_at is not None else (begin if job.status.final else over)
    ran = min(max(ran, begin), over)
    begin = min(begin, WIDTH - _LEAST)
    return Bar(
        x=begin,
        y=row * _ROW + (_ROW - _BAR) // 2,
        queue=round(max(ran - begin, 0.0), 1),
        run=round(max(over - max(ran, begin), 0.0), 1) if ran > begin else round(max(over - begin, _LEAST), 1),
        status=job.status.value,
        title=f"{clean(job.name or job.id, 80)}: {job.status.value}",
        page=address(job),
    )


def _begin(one: Tracked) -> datetime:
    return one.job.created_at or one.job.started_at or one.since


def _over(one: Tracked, now: datetime) -> datetime:
    return max(min(end(one), now) if one.job.status.final else now, _begin(one))


def _words(window: timedelta) -> str:
    hours = window // timedelta(hours=1)
    if hours < 1:
        return f"{window // timedelta(minutes=1)} minutes"
    if hours == 1:
        return "hour"
    return f"{hours} hours" if hours <= 24 else f"{window.days} days"
