"""Draws the loss curve of a job as a PNG with Pillow. Needs the extra `charts`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from math import floor, log10
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL import ImageDraw

Point = tuple[float, float]

_SCALE: Final = 2  # drawn at twice the size and scaled down, for smooth lines
_WIDTH, _HEIGHT = 720, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 48, 40
_INK, _FAINT, _PAPER = "#1d1c1d", "#e4e4e7", "#ffffff"
_COLOURS: Final = ("#3b76d6", "#e0822b")
_TICKS: Final = 5
_MOST: Final = 2000
"""The most points of a line: more could not be distinguished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlottedLine:
    """One line of a chart: its name and its points, step and value."""

    name: str
    points: tuple[Point, ...]


def available() -> bool:
    """Whether Pillow is installed."""
    return find_spec("PIL") is not None


def draw(title: str, lines: Sequence[PlottedLine]) -> bytes:
    """The chart of the lines as PNG. They have at least one point in total."""
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - an extra

    image = Image.new("RGB", (_WIDTH * _SCALE, _HEIGHT * _SCALE), _PAPER)
    pen = ImageDraw.Draw(image)
    pen.font = ImageFont.load_default(13 * _SCALE)
    points = [point for line in lines for point in line.points]
    xs, ys = _ticks(*_ends([x for x, _ in points])), _ticks(*_ends([y for _, y in points]))

    def place(point: Point) -> Point:
        x = _LEFT + (point[0] - xs[0]) / (xs[-1] - xs[0]) * (_WIDTH - _LEFT - _RIGHT)
        y = _HEIGHT - _BOTTOM - (point[1] - ys[0]) / (ys[-1] - ys[0]) * (_HEIGHT - _TOP - _BOTTOM)
        return x * _SCALE, y * _SCALE

    _grid(pen, xs, ys, place)
    for line, colour in zip(lines, _COLOURS, strict=False):
        thinned = line.points[:: max(len(line.points) // _MOST, 1)]
        pen.line([place(point) for point in thinned], fill=colour, width=2 * _SCALE, joint="curve")
        for point in thinned if len(thinned) <= _TICKS * 8 else ():
            x, y = place(point)
            pen.ellipse((x - 3 * _SCALE, y - 3 * _SCALE, x + 3 * _SCALE, y + 3 * _SCALE), fill=colour)
    _legend(pen, title, lines)
    written = BytesIO()
    image.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS).save(written, "PNG", optimize=True)
    return written.getvalue()


def _grid(pen: ImageDraw.ImageDraw, xs: Sequence[float], ys: Sequence[float], place: Callable[[Point], Point]) -> None:
    for value in ys:
        x, y = place((xs[0], value))
        pen.line([(x, y), place((xs[-1], value))], fill=_FAINT, width=_SCALE)
        pen.text((x - 8 * _SCALE, y), f"{value:.6g}", fill=_INK, anchor="rm")
    for value in xs:
        x, y = place((value, ys[0]))
        pen.text((x, y + 8 * _SCALE), f"{value:,.6g}", fill=_INK, anchor="ma")


def _legend(pen: ImageDraw.ImageDraw, title: str, lines: Sequence[PlottedLine]) -> None:
    pen.text((_LEFT * _SCALE, 14 * _SCALE), title, fill=_INK, anchor="la")
    right = float(_WIDTH - _RIGHT) * _SCALE
    for line, colour in reversed([*zip(lines, _COLOURS, strict=False)]):
        pen.text((right, 14 * _SCALE), line.name, fill=colour, anchor="ra")
        right -= pen.textlength(line.name) + 16 * _SCALE


def _ends(values: Sequence[float]) -> Point:
    """The smallest and the largest value, made different if they are the same."""
    least, most = min(values), max(values)
    return (least, most) if most > least else (least - 0.5, most + 0.5)


def _ticks(least: float, most: float) -> list[float]:
    """A few round values, from one below the smallest to one above the largest."""
    rough = (most - least) / _TICKS
    unit = 10 ** floor(log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    first = floor(least / step)
    last = -floor(-most / step)
    return [number * step for number in range(first, last + 1)]
