"""Training curves: reading them from metrics, smoothing them and measuring their noise."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import pairwise
from math import inf, sqrt
from statistics import median
from typing import Final

from monitor.domain.model import Metrics

Series = Sequence[tuple[int, float]]
"""Pairs of step and value, ascending by step. Lower values are better."""

_HUGE: Final = 1e100  # larger values count as infinite, so that the square of a value never overflows


def read_curve(points: Sequence[Metrics], field: str, *, gains: bool = False) -> Series:
    """One field of the metrics as a series. The last value of a step counts; a loss that is not finite is `inf`.

    With `gains`, higher values are better, and the series holds their negatives.
    """
    sign = -1.0 if gains else 1.0
    values = {}
    for point in points:
        value = inf if point.lost and field == "train_loss" else getattr(point, field)
        if point.step is not None and value is not None:
            values[point.step] = sign * value if abs(value) < _HUGE else inf
    return sorted(values.items())


def missing_losses(losses: Series, accuracies: Series) -> Series:
    """The steps at the end that have an accuracy but no loss, each with the loss `inf`.

    A provider leaves out a loss that is not a number.
    """
    known, last = {step for step, _ in losses}, losses[-1][0] if losses else inf
    without = [step for step, _ in accuracies if step not in known]
    return [(step, inf) for step in without] if without and without[0] > last else ()


def not_finite_since(train: Series) -> int | None:
    """The step from which on the running median of the loss is infinite; single infinite values do not count."""
    smooth = running_medians(train, median_window(train)) if len(train) >= 3 else ()
    return next((step for step, value in smooth if value == inf), None)


def tenth(curve: Series) -> int:
    """The number of points in a tenth of the curve, at least three, so that no single point decides."""
    return max(3, len(curve) // 10)


def median_window(curve: Series) -> int:
    """The window of a running median in points: a fiftieth of the curve, at least three."""
    return max(3, len(curve) // 50)


def running_medians(curve: Series, width: int) -> Series:
    """The median of each window of `width` points, at the step in the middle of the window."""
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
    """The median of ascending values. The largest values may be infinite."""
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2.0


def value_at(curve: Series, step: int) -> float:
    """The value at a step, interpolated linearly. Outside the curve it is that of the nearest end."""
    after = bisect_left(curve, step, key=lambda point: point[0])
    if after == 0 or after == len(curve) or curve[after][0] == step:
        return curve[min(after, len(curve) - 1)][1]
    (left, low), (right, high) = curve[after - 1], curve[after]
    return low + (high - low) * (step - left) / (right - left)


def noise_of(values: Sequence[float]) -> float:
    """A robust estimate of the standard deviation of values around their trend, from differences of neighbours."""
    steps = [after - before for before, after in pairwise(values)]
    if not steps:
        return 0.0
    typical = median(steps)
    # 68 % of normally distributed values lie within one standard deviation. The median absolute deviation, which is
    # more usual, would be 0 for values that alternate.
    return sorted(abs(step - typical) for step in steps)[int(0.68 * len(steps))] / sqrt(2.0)
