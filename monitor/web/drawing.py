"""Curves as SVG paths: pure geometry. A curve fills a box of WIDTH by HEIGHT, which the page stretches as it likes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from monitor.domain.model import JobEvent, Metrics

WIDTH: Final = 1000
HEIGHT: Final = 300
_TICKS: Final = 4  # stretches between the lines of a chart
_ROWS: Final = 20  # of the table beside it
_MOST_POINTS: Final = 400
_BEYOND: Final = 2**53  # what is further away is nonsense, and no number of steps
_LEAST: Final = 1e-9  # between two marks

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a chart: its word (`training`, `validation`) and its path."""

    word: str
    path: str
    first: str
    last: str
    lone: Point | None
    """Where its only point is: a path of one point cannot be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lines over the steps, with what stands at the axes, and their figures for those who read tables."""

    id: str
    title: str
    lines: tuple[Line, ...]
    heights: tuple[str, ...]
    """Beside the horizontal lines, from above."""
    widths: tuple[str, ...]
    """Below, from the left."""
    levels: tuple[float, ...]
    """Where the horizontal lines are."""
    rows: tuple[tuple[str, ...], ...]
    """The step, and the value of each line."""
    points: tuple[tuple[float | None, ...], ...]
    """As `rows`, with all points, as numbers; the place on the screen (0 to 1) of each step comes first."""


def chart(id: str, title: str, events: Sequence[JobEvent], *fields: str) -> Chart | None:  # noqa: A002 - an element's id
    """A chart of these fields of the measurements, with validation after training; None where nothing was measured."""
    measured = sorted(_by_step(events).items())
    told = [(step, tuple(_drawable(getattr(one, field)) for field in fields)) for step, one in measured]
    told = _spread([(step, values) for step, values in told if any(value is not None for value in values)])
    if not told:
        return None
    known = [value for _, values in told for value in values if value is not None]
    marks = _marks(min(known), max(known))
    steps = (told[0][0], told[-1][0])
    return Chart(
        id=id,
        title=title,
        lines=tuple(
            _line(word, points, steps, marks)
            for index, word in enumerate(("training", "validation")[: len(fields)])
            if (points := [(step, value) for step, values in told if (value := values[index]) is not None])
        ),
        heights=tuple(f"{mark:g}" for mark in reversed(marks)),
        widths=tuple(dict.fromkeys(f"{step:,}" for step in (steps[0], sum(steps) // 2, steps[1]))),
        levels=tuple(HEIGHT * index / (len(marks) - 1) for index in range(len(marks))),
        rows=tuple((f"{step:,}", *map(_figure, values)) for step, values in _spread(told, _ROWS)),
        points=tuple((round(_share(step, *steps), 4), step, *values) for step, values in told),
    )


def spark(events: Iterable[JobEvent]) -> tuple[str, str] | None:
    """A small curve of the training loss, or of the reward where there is none: its path, and what it shows."""
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
    """The last word on each step. Steps that no training takes are none."""
    return {
        one.metrics.step: one.metrics
        for one in events
        if one.metrics is not None and one.metrics.step is not None and abs(one.metrics.step) < _BEYOND
    }


def _drawable(value: float | None) -> float | None:
    return value if value is not None and abs(value) < _BEYOND else None


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
    """Round numbers at equal distances, around everything from the lowest to the highest."""
    reach = high - low if high > low else max(abs(high), 1.0) / 10
    rough = max(reach / _TICKS, _LEAST)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    first = math.floor(low / step)
    last = max(math.ceil(high / step), first + 1)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _spread(
    told: list[tuple[int, tuple[float | None, ...]]], most: int = _MOST_POINTS
) -> list[tuple[int, tuple[float | None, ...]]]:
    if len(told) <= most:
        return told
    return [told[index * (len(told) - 1) // (most - 1)] for index in range(most)]


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
