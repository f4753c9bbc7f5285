"""The curve of a run: read from its points, smoothed, and its noise measured."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import pairwise
from math import inf, sqrt
from statistics import median
from typing import Final

from monitor.domain.model import Metrics

Series = Sequence[tuple[int, float]]
"""Step and value, by step; lower is better."""

_HUGE: Final = 1e100  # beyond, it may as well be infinite, and squares stay within what a float can hold


def read_curve(points: Sequence[Metrics], field: str, *, gains: bool = False) -> Series:
    """The field by step; of a step that is reported twice, the later value. What is no number is infinite."""
    sign = -1.0 if gains else 1.0
    values = {}
    for point in points:
        value = inf if point.lost and field == "train_loss" else getattr(point, field)
        if point.step is not None and value is not None:
            values[point.step] = sign * value if abs(value) < _HUGE else inf
    return sorted(values.items())


def left_out(losses: Series, accuracies: Series) -> Series:
    """The steps at the end that have an accuracy and no loss any more: a provider leaves out what is no number."""
    known, last = {step for step, _ in losses}, losses[-1][0] if losses else inf
    without = [step for step, _ in accuracies if step not in known]
    return [(step, inf) for step in without] if without and without[0] > last else ()


def lost_since(train: Series) -> int | None:
    """Where the loss is no number for most of some stretch of steps; one step now and then is not counted."""
    smooth = running_medians(train, stretch(train)) if len(train) >= 3 else ()
    return next((step for step, value in smooth if value == inf), None)


def tenth(curve: Series) -> int:
    """How many points the first or last tenth has: at least three, so that one of them decides nothing."""
    return max(3, len(curve) // 10)


def stretch(curve: Series) -> int:
    """How many points a running median is of: a fiftieth, at least three."""
    return max(3, len(curve) // 50)


def running_medians(curve: Series, width: int) -> Series:
    """The median of each stretch of so many points, at the step in its middle."""
    if not curve:
        return ()
    width = min(width, len(curve))
    window = sorted(value for _, value in curve[:width])
    medians = [(curve[width // 2][0], _middle(window))]
    for index in range(width, len(curve)):
        del window[bisect_left(window, curve[index - width][1])]
        insort(window, curve[index][1])
        medians.append((curve[index - width + 1 + width // 2][0], _middle(window)))
    return medians


def _middle(ordered: Sequence[float]) -> float:
    """The median of ordered values, of which the greatest may be infinite."""
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2.0


def value_at(curve: Series, step: int) -> float:
    """The value at a step, on the line between the two points beside it."""
    after = bisect_left(curve, step, key=lambda point: point[0])
    if after == 0 or after == len(curve) or curve[after][0] == step:
        return curve[min(after, len(curve) - 1)][1]
    (left, low), (right, high) = curve[after - 1], curve[after]
    return low + (high - low) * (step - left) / (right - left)


def noise_of(values: Sequence[float]) -> float:
    """The standard deviation of a value around its trend, by the differences of neighbours; outliers do not count."""
    steps = [after - before for before, after in pairwise(values)]
    if not steps:
        return 0.0
    typical = median(steps)
    # Two of three are within one deviation. The usual median of them would be nothing where values alternate.
    return sorted(abs(step - typical) for step in steps)[int(0.68 * len(steps))] / sqrt(2.0)
