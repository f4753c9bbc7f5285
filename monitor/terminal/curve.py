"""Charts of a training in characters: braille dots for training, crosses for validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from rich.text import Text

from monitor.terminal.answers import Event, Metrics
from monitor.terminal.output import ODD

_ROWS: Final = 8
_WIDEST: Final = 100
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # bits of a braille character by row and column

Points = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One metric over the steps, in training and in validation."""

    title: str
    train: Points
    valid: Points


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """Maps steps and values to the dots of a canvas."""

    first: int
    last: int
    low: float
    high: float
    wide: int
    tall: int

    def at(self, point: tuple[int, float]) -> tuple[int, int]:
        """Column and row of a point; row 0 is at the top."""
        step, value = point
        along = (step - self.first) / max(self.last - self.first, 1)
        # Halved, because the difference of two large numbers may overflow to infinity.
        extent = self.high / 2 - self.low / 2
        up = (value / 2 - self.low / 2) / extent if extent else 0.5
        return round(along * (self.wide - 1)), round((1 - up) * (self.tall - 1))


def curves(events: Sequence[Event]) -> Iterator[Curve]:
    """The curves of the metrics that have values at two steps or more."""
    measured = sorted((event.metrics for event in events if event.metrics), key=lambda metrics: metrics.step or 0)
    for title, train, valid in (
        ("Loss", "train_loss", "valid_loss"),
        ("Accuracy", "train_accuracy", "valid_accuracy"),
        ("Reward", "train_reward", "valid_reward"),
    ):
        curve = Curve(title=title, train=_points(measured, train), valid=_points(measured, valid))
        if max(len(curve.train), len(curve.valid)) > 1:
            yield curve


def draw(curve: Curve, width: int, *, braille: bool = True) -> Text:
    """Draw a legend, the curves with their axes, in at most `width` columns; in ASCII without `braille`."""
    points = curve.train + curve.valid
    low, high = (extreme(value for _, value in points) for extreme in (min, max))
    labels = [f"{high:.4g}", *[""] * (_ROWS - 2), f"{low:.4g}"]
    margin = max(map(len, labels))
    wide = max(min(width, _WIDEST) - margin - 5, 10)
    first, last = min(points)[0], max(points)[0]
    dots = (2, 4) if braille else (1, 1)
    frame = _Frame(first=first, last=last, low=low, high=high, wide=wide * dots[0], tall=_ROWS * dots[1])
    text = Text(no_wrap=True, overflow="ignore").append(_legend(curve, braille=braille), "bold")
    for label, row in zip(labels, _canvas(curve, frame, braille=braille), strict=True):
        text.append(f"\n  {label:>{margin}} ", "dim").append(f"│{row}".rstrip())
    ends = f"{first:,}{f'step {last:,}':>{max(wide - len(f'{first:,}'), 0)}}"
    text.append(f"\n  {'':{margin}}  {ends}", "dim").highlight_words("×", ODD)
    return text


def _legend(curve: Curve, *, braille: bool) -> str:
    parts = [
        f"{name} {sign} {points[0][1]:.4g} → {points[-1][1]:.4g}"
        for name, sign, points in (
            ("training", "⠶" if braille else "*", curve.train),
            ("validation", "×", curve.valid),
        )
        if points
    ]
    return f"{curve.title}  {', '.join(parts)}"


def _canvas(curve: Curve, frame: _Frame, *, braille: bool) -> list[str]:
    rows = [[0] * frame.wide for _ in range(frame.tall)]
    for column, row in _connected([frame.at(point) for point in curve.train]):
        rows[row][column] = 1
    grid = _braille(rows) if braille else [["*" if dot else " " for dot in row] for row in rows]
    across, down = frame.wide // len(grid[0]), frame.tall // len(grid)
    for column, row in (frame.at(point) for point in curve.valid):
        grid[row // down][column // across] = "×"
    return ["".join(row) for row in grid]


def _braille(rows: list[list[int]]) -> list[list[str]]:
    grid = []
    for top in range(0, len(rows), 4):
        bits = [0] * (len(rows[0]) // 2)
        for down, dots in enumerate(_DOTS):
            for column, dot in enumerate(rows[top + down]):
                bits[column // 2] |= dots[column % 2] if dot else 0
        grid.append([chr(0x2800 + one) if one else " " for one in bits])
    return grid


def _connected(places: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The places, connected by straight lines."""
    yield from places[:1]
    for (column, row), (to_column, to_row) in pairwise(places):
        length = max(abs(to_column - column), abs(to_row - row), 1)
        for part in range(1, length + 1):
            yield (
                column + round((to_column - column) * part / length),
                row + round((to_row - row) * part / length),
            )


def _points(measured: Sequence[Metrics], name: str) -> Points:
    found = {one.step: value for one in measured if (value := getattr(one, name)) is not None and one.step is not None}
    return tuple(found.items())
