"""When a run will be through, by the rate of its recent steps, where their spread says that it means something."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from math import sqrt
from typing import Final

Sample = tuple[datetime, int]
"""The moment at which a step was done, and its number."""

_WARM_UP: Final = 3  # compilation and cold caches make the first three steps up to 26 times longer
_MOST: Final = 32  # marks kept: when there are more, every other one goes
_RECENT: Final = 64  # steps: the rate is that of the last half of the run, and of at least so many steps
_FEWEST_SPANS: Final = 8  # fewer say nothing about their spread
_FEWEST_STEPS: Final = 30  # a pause that comes every twentieth step shows itself in four of five such stretches
_SPREAD: Final = 0.08  # of the rate, as a standard error: three of them stay below a quarter


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRate:
    """How fast a run's steps come, folded one step at a time; it never holds more than 32 marks."""

    marks: tuple[Sample, ...] = ()
    """Moments the rate is measured between, oldest first, at least `stride` steps apart; none of the warm-up."""
    newest: Sample | None = None
    stride: int = 1
    warm_from: int = _WARM_UP
    """The first step that is not warm-up."""

    def after(self, at: datetime, step: int) -> StepRate:
        """The rate once this step is known as well.

        What comes twice or late changes nothing. A run that goes back to an earlier step has been restarted: it warms
        up again, and the rate with it.
        """
        if self.newest is not None and step <= self.newest[1]:
            went_back = step < self.newest[1] and at > self.newest[0]
            return StepRate(newest=(at, step), warm_from=step + _WARM_UP) if went_back else self
        newest = (at if self.newest is None else max(at, self.newest[0]), step)
        if step < self.warm_from or (self.marks and step - self.marks[-1][1] < self.stride):
            return replace(self, newest=newest)
        marks = (*self.marks, newest)
        if len(marks) > _MOST:
            return replace(self, newest=newest, marks=marks[::2], stride=2 * self.stride)
        return replace(self, newest=newest, marks=marks)

    def resumed(self) -> StepRate:
        """The rate after a pause, which was no step: it is measured anew."""
        return StepRate(newest=self.newest, warm_from=(self.newest[1] if self.newest is not None else 0) + _WARM_UP)

    @property
    def step_seconds(self) -> float | None:
        """Seconds a recent step took on the mean, evaluation and storage among them; None at first."""
        recent = self._recent
        return _mean(recent) if len(recent) > 1 and recent[-1][1] > recent[0][1] else None

    def finish(self, steps: int, now: datetime) -> datetime | None:
        """When the last of so many steps will be done; None where there is no telling, or it should have been by now.

        On real runs this was at most a fifth off at a quarter of the run (tests/domain/test_eta.py). It takes thirty
        steps after the warm-up, or half of the run where that is shorter, and a rate with a standard error below 8 %.
        """
        if self.newest is None or self.newest[1] > steps or not self._telling(steps):
            return None
        seconds = _mean(self._recent) * (steps - self.newest[1])
        try:
            finish = self.newest[0] + timedelta(seconds=seconds)
        except OverflowError:  # an hour for each of 2**53 steps ends beyond the calendar
            return None
        return finish if finish > now else None

    @property
    def _recent(self) -> tuple[Sample, ...]:
        """The marks of the last half of the run, and the newest step."""
        if self.newest is None or not self.marks:
            return ()
        last = self.newest[1]
        since = last - max((last - self.marks[0][1]) // 2, _RECENT)
        recent = tuple(mark for mark in self.marks if mark[1] >= since)
        return recent if recent and recent[-1] == self.newest else (*recent, self.newest)

    def _telling(self, steps: int) -> bool:
        recent = self._recent
        if len(recent) <= _FEWEST_SPANS:
            return False
        done = recent[-1][1]
        enough = done - self.marks[0][1] >= _FEWEST_STEPS or 2 * done >= steps
        return enough and _spread(recent) <= _SPREAD


def estimate_finish(samples: Iterable[Sample], steps: int, now: datetime) -> datetime | None:
    """When a run of so many steps will be through, given its steps so far, oldest first; see `StepRate.finish`."""
    rate = StepRate()
    for at, step in samples:
        rate = rate.after(at, step)
    return rate.finish(steps, now)


def _mean(marks: tuple[Sample, ...]) -> float:
    """Seconds for one step, from the first mark to the last."""
    return (marks[-1][0] - marks[0][0]).total_seconds() / (marks[-1][1] - marks[0][1])


def _spread(marks: tuple[Sample, ...]) -> float:
    """The standard error of the mean duration of a step, as a part of it; 1 where no time goes by.

    The mean is the ratio of two sums, so that its error is that of a ratio estimator (Cochran, "Sampling Techniques").
    """
    mean = _mean(marks)
    if mean <= 0.0:
        return 1.0
    spans = [((b[0] - a[0]).total_seconds(), b[1] - a[1]) for a, b in pairwise(marks)]
    squares = sum((seconds - mean * steps) ** 2 for seconds, steps in spans)
    error = sqrt(squares * len(spans) / (len(spans) - 1)) / (marks[-1][1] - marks[0][1])
    return error / mean
