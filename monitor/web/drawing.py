"""SVG geometry of the pages' metric charts, sparklines and job timelines.

Pure functions; the browser scales the result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from monitor.domain.flow import Tracked
from monitor.domain.model import JobEvent, Metrics, Status
from monitor.metrics.labels import clean
from monitor.web.job_rows import address, ended_at, status

WIDTH: Final = 1000
HEIGHT: Final = 300
_TICKS: Final = 4  # intervals between the horizontal lines of a chart
_ROWS: Final = 20  # rows of the table beside a chart
_MOST_POINTS: Final = 400
_LARGEST: Final = 2**53  # larger values make no sense, and floats are not exact beyond
_SMALLEST: Final = 1e-9  # the smallest distance between two marks
_ROW: Final = 14  # pixels
_BAR: Final = 10
_MOST_ROWS: Final = 8  # rows of one organisation, for jobs at the same time
_MOST_BARS: Final = 300
_MOST_LANES: Final = 20
_COVERED: Final = 0.85  # share of the jobs that the window covers: one old job must not shrink the others
_INTERVALS: Final = 5  # intervals between the times below a timeline
_NARROWEST: Final = 4.0  # a bar of this width is still visible
_WINDOWS: Final = tuple(
    timedelta(minutes=minutes) for minutes in (2, 5, 15, 30, 60, 180, 360, 720, 1440, 4320, 10080, 43200)
)

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a chart: its name (`training` or `validation`) and its SVG path."""

    word: str
    path: str
    first: str
    last: str
    lone: Point | None
    """The position of its only point, since a path of one point is invisible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lines over the steps of a training, the labels of both axes, and the values as a table."""

    id: str
    title: str
    lines: tuple[Line, ...]
    heights: tuple[str, ...]
    """Labels of the horizontal lines, from the top."""
    widths: tuple[str, ...]
    """Labels of the steps, from the left."""
    levels: tuple[float, ...]
    """The y coordinates of the horizontal lines."""
    rows: tuple[tuple[str, ...], ...]
    """The rows of the table: the step, and the value of each line."""
    points: tuple[tuple[float | None, ...], ...]
    """All points as numbers: the x position (0 to 1), the step, and the value of each line."""


def chart(id: str, title: str, events: Sequence[JobEvent], *fields: str) -> Chart | None:  # noqa: A002 - an element's id
    """A chart of these fields of the metrics, training first and validation second; None if they have no value."""
    measured = sorted(_by_step(events).items())
    measurements = [(step, tuple(_drawable(getattr(one, field)) for field in fields)) for step, one in measured]
    measurements = _spread(
        [(step, values) for step, values in measurements if any(value is not None for value in values)]
    )
    if not measurements:
        return None
    known = [value for _, values in measurements for value in values if value is not None]
    marks = _marks(min(known), max(known))
    steps = (measurements[0][0], measurements[-1][0])
    return Chart(
        id=id,
        title=title,
        lines=tuple(
            _line(word, points, steps, marks)
            for index, word in enumerate(("training", "validation")[: len(fields)])
            if (points := [(step, value) for step, values in measurements if (value := values[index]) is not None])
        ),
        heights=tuple(f"{mark:g}" for mark in reversed(marks)),
        widths=tuple(dict.fromkeys(f"{step:,}" for step in (steps[0], sum(steps) // 2, steps[1]))),
        levels=tuple(HEIGHT * index / (len(marks) - 1) for index in range(len(marks))),
        rows=tuple((f"{step:,}", *map(_figure, values)) for step, values in _spread(measurements, _ROWS)),
        points=tuple((round(_share(step, *steps), 4), step, *values) for step, values in measurements),
    )


def spark(events: Iterable[JobEvent]) -> tuple[str, str] | None:
    """A small chart of the training loss, or of the reward where there is no loss: its path and its description."""
    measured = sorted(_by_step(events).items())
    for field, word in (("train_loss", "Loss"), ("train_reward", "Reward")):
        values = [(step, _drawable(getattr(one, field))) for step, one in measured]
        points = [(step, value) for step, value in values if value is not None]
        if len(points) > 1:
            low, high = min(value for _, value in points), max(value for _, value in points)
            return _path(points, (points[0][0], points[-1][0]), (low, high)), (
                f"{word} from {_figure(points[0][1])} to {_figure(points[-1][1])}"
            )
    return None


def _by_step(events: Iterable[JobEvent]) -> dict[int, Metrics]:
    """The latest metrics of each step. Absurd step numbers are dropped."""
    return {
        one.metrics.step: one.metrics
        for one in events
        if one.metrics is not None and one.metrics.step is not None and abs(one.metrics.step) < _LARGEST
    }


def _drawable(value: float | None) -> float | None:
    return value if value is not None and abs(value) < _LARGEST else None


def _line(word: str, points: Sequence[tuple[int, float]], steps: tuple[int, int], marks: Sequence[float]) -> Line:
    return Line(
        word=word,
        path=_path(points, steps, (marks[0], marks[-1])),
        first=_figure(points[0][1]),
        last=_figure(points[-1][1]),
        lone=_place(points[0], steps, (marks[0], marks[-1])) if len(points) == 1 else None,
    )


def _path(points: Iterable[tuple[int, float]], steps: tuple[int, int], range_: tuple[float, float]) -> str:
    return "M" + "L".join("{:.0f} {:.0f}".format(*_place(point, steps, range_)) for point in points)


def _place(point: tuple[int, float], steps: tuple[int, int], range_: tuple[float, float]) -> Point:
    return WIDTH * _share(point[0], *steps), HEIGHT * (1 - _share(point[1], *range_))


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def _marks(low: float, high: float) -> list[float]:
    """Round numbers at equal distances that enclose `low` and `high`."""
    reach = high - low if high > low else max(abs(high), 1.0) / 10
    rough = max(reach / _TICKS, _SMALLEST)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    first = math.floor(low / step)
    last = max(math.ceil(high / step), first + 1)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _spread(
    measurements: list[tuple[int, tuple[float | None, ...]]], most: int = _MOST_POINTS
) -> list[tuple[int, tuple[float | None, ...]]]:
    if len(measurements) <= most:
        return measurements
    return [measurements[index * (len(measurements) - 1) // (most - 1)] for index in range(most)]


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A job: the time that it waited, and the time that it ran."""

    x: float
    y: int
    queue: float
    """The width of the waiting time."""
    run: float
    """The width of the run; 0 before it has started."""
    status: str
    title: str
    page: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineLane:
    """The jobs of one organisation."""

    org: str
    height: int
    bars: tuple[Bar, ...]
    more: int
    """How many jobs are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The lanes and the labels of the time axis."""

    lanes: tuple[TimelineLane, ...]
    more: int
    """How many organisations are left out."""
    ticks: tuple[str, ...]
    """The times at equal distances from the left to the right edge, in UTC."""
    window: str
    bar: int = _BAR


def timeline(jobs: Sequence[Tracked], now: datetime, longest: timedelta) -> Timeline | None:
    """A timeline of the newest of these jobs, reaching back at most `longest`; None if there are none."""
    newest = sorted(jobs, key=_begin, reverse=True)[:_MOST_BARS]
    if not newest:
        return None
    reach = min(now - _begin(newest[round(_COVERED * (len(newest) - 1))]), longest)
    window = next((window for window in _WINDOWS if window >= reach), _WINDOWS[-1])
    start = now - window
    shown = [one for one in newest if _over(one, now) > start]
    orgs = sorted({one.job.org for one in shown})
    if not orgs:
        return None
    lanes = [_lane(org, [one for one in shown if one.job.org == org], start, now) for org in orgs[:_MOST_LANES]]
    pattern = "%H:%M:%S" if window < timedelta(minutes=15) else "%H:%M" if window <= timedelta(days=1) else "%d %b"
    ticks = (start + window * index / _INTERVALS for index in range(_INTERVALS + 1))
    return Timeline(
        lanes=tuple(lanes),
        more=len(orgs) - len(lanes),
        ticks=tuple(tick.astimezone(UTC).strftime(pattern) for tick in ticks),
        window=_window_name(window),
    )


def _lane(org: str, jobs: Iterable[Tracked], start: datetime, now: datetime) -> TimelineLane:
    """Place each job in the first free row, in the order of their beginning."""
    free: list[datetime] = []
    bars, more = [], 0
    for one in sorted(jobs, key=_begin):
        row = next((index for index, until in enumerate(free) if until <= _begin(one)), len(free))
        if row == _MOST_ROWS:
            more += 1
            continue
        free[row : row + 1] = [_over(one, now)]
        bars.append(_bar(one, row, start, now))
    return TimelineLane(org=clean(org, 64), height=_ROW * len(free), bars=tuple(bars), more=more)


def _bar(one: Tracked, row: int, start: datetime, now: datetime) -> Bar:
    def x(at: datetime) -> float:
        return round(WIDTH * min(max((at - start) / (now - start), 0.0), 1.0), 1)

    job = one.job
    begin, over = x(_begin(one)), x(_over(one, now))
    waiting = job.status in {Status.VALIDATING, Status.QUEUED}
    ran = x(job.started_at) if job.started_at is not None else (over if waiting else begin)
    ran = min(max(ran, begin), over)
    begin = min(begin, WIDTH - _NARROWEST)
    return Bar(
        x=begin,
        y=row * _ROW + (_ROW - _BAR) // 2,
        queue=round(max(ran - begin, 0.0), 1),
        run=round(max(over - max(ran, begin), 0.0), 1) if ran > begin else round(max(over - begin, _NARROWEST), 1),
        status=status(one),
        title=f"{clean(job.name or job.id, 80)}: {status(one)}",
        page=address(job),
    )


def _begin(one: Tracked) -> datetime:
    return one.job.created_at or one.job.started_at or one.since


def _over(one: Tracked, now: datetime) -> datetime:
    """When the bar ends. Where a job's end is unknown, the bar is a mark at its beginning."""
    if one.active:
        return max(now, _begin(one))
    return max(min(ended_at(one) or _begin(one), now), _begin(one))


def _window_name(window: timedelta) -> str:
    hours = window // timedelta(hours=1)
    if hours < 1:
        return f"{window // timedelta(minutes=1)} minutes"
    if hours == 1:
        return "hour"
    return f"{hours} hours" if hours <= 24 else f"{window.days} days"
