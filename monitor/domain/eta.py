"""When a run will be through, by the rate of its recent steps, where their spread says that it means something."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import sqrt
from struct import Struct
from typing import Final

Sample = tuple[datetime, int]
"""The moment at which a step was done, and its number."""

_WARM_UP: Final = 3  # compilation and cold caches make the first three steps up to 26 times longer
_MOST: Final = 32  # marks kept: when there are more, every other one goes
_RECENT: Final = 64  # steps: the rate is that of the last half of the run, and of at least so many steps
_FEWEST_SPANS: Final = 8  # fewer say nothing about their spread
_FEWEST_STEPS: Final = 30  # a pause that comes every twentieth step shows itself in four of five such stretches
_SPREAD: Final = 0.08  # of the rate, as a standard error: three of them stay below a quarter
_MARK: Final = Struct("<qq")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_Mark = tuple[int, int]
"""Milliseconds since 1970, and a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRate:
    """How fast a run's steps come, folded as they are told; it never holds more than 32 marks."""

    marks: bytes = b""
    """Moments the rate is measured between, oldest first, at least `stride` steps apart; none of the warm-up.

    Each is two 64-bit integers, milliseconds since 1970 and the step: there is one such value for each running job.
    """
    newest: Sample | None = None
    stride: int = 1
    warm_from: int = _WARM_UP
    """The first step that is not warm-up."""

    def after(self, samples: Iterable[Sample]) -> StepRate:
        """The rate once these steps are known as well, in the order in which they were told.

        What comes twice or a little late changes nothing. A run that goes back to an earlier step has been restarted:
        it warms up again, and the rate with it.
        """
        marks, newest, stride, warm_from = [*_MARK.iter_unpack(self.marks)], self.newest, self.stride, self.warm_from
        for at, step in samples:
            if newest is not None and step <= newest[1]:
                if newest[1] - step > _WARM_UP and at > newest[0]:
                    marks, newest, stride, warm_from = [], (at, step), 1, step + _WARM_UP
                continue
            newest = (at if newest is None else max(at, newest[0]), step)
            if step < warm_from or (marks and step - marks[-1][1] < stride):
                continue
            marks.append(_mark(newest))
            if len(marks) > _MOST:
                marks, stride = marks[::2], 2 * stride
        packed = b"".join(_MARK.pack(*mark) for mark in marks)
        return StepRate(marks=packed, newest=newest, stride=stride, warm_from=warm_from)

    def anew(self) -> StepRate:
        """The rate measured anew from the next step: after a pause, which was no step, or on a clock that was set."""
        return StepRate(warm_from=self.newest[1] + _WARM_UP if self.newest is not None else self.warm_from)

    @property
    def step_seconds(self) -> float | None:
        """Seconds a recent step took on the mean, evaluation and storage among them; None at first."""
        recent = self._recent
        return _mean(recent) if len(recent) > 1 and recent[-1][1] > recent[0][1] else None

    @property
    def longest_wait(self) -> float | None:
        """The most seconds between two recent steps that were told; None at first.

        Some providers tell of each step, others of every five-hundredth.
        """
        waits = [(after - before) / 1000 for (before, _), (after, _) in pairwise(self._recent)]
        return max(waits, default=None)

    def finish(self, steps: int) -> datetime | None:
        """When the last of so many steps will be done; None where there is no telling.

        On real runs this was at most a fifth off at a quarter of the run (tests/domain/test_eta.py). It takes thirty
        steps after the warm-up, or half of the run where that is shorter, and a rate with a standard error below 8 %.
        """
        if self.newest is None or self.newest[1] > steps or not self._reliable(steps):
            return None
        seconds = _mean(self._recent) * (steps - self.newest[1])
        try:
            return self.newest[0] + timedelta(seconds=seconds)
        except OverflowError:  # an hour for each of 2**53 steps ends beyond the calendar
            return None

    @property
    def _recent(self) -> tuple[_Mark, ...]:
        """The marks of the last half of the run, and the newest step."""
        if self.newest is None or not self.marks:
            return ()
        marks, last = [*_MARK.iter_unpack(self.marks)], _mark(self.newest)
        since = last[1] - max((last[1] - marks[0][1]) // 2, _RECENT)
        recent = tuple(mark for mark in marks if mark[1] >= since)
        return recent if recent and recent[-1] == last else (*recent, last)

    def _reliable(self, steps: int) -> bool:
        recent = self._recent
        if len(recent) <= _FEWEST_SPANS:
            return False
        done, (_, first) = recent[-1][1], _MARK.unpack_from(self.marks)
        enough = done - first >= _FEWEST_STEPS or 2 * done >= steps
        return enough and _spread(recent) <= _SPREAD


def _mark(sample: Sample) -> _Mark:
    return (sample[0] - _EPOCH) // _MILLISECOND, sample[1]


def _mean(marks: tuple[_Mark, ...]) -> float:
    """Seconds for one step, from the first mark to the last."""
    return (marks[-1][0] - marks[0][0]) / 1000 / (marks[-1][1] - marks[0][1])


def _spread(marks: tuple[_Mark, ...]) -> float:
    """The standard error of the mean duration of a step, as a part of it; 1 where no time goes by.

    The mean is the ratio of two sums, so that its error is that of a ratio estimator (Cochran, "Sampling Techniques").
    """
    mean = _mean(marks)
    if mean <= 0.0:
        return 1.0
    spans = [((after - before) / 1000, b - a) for (before, a), (after, b) in pairwise(marks)]
    squares = sum((seconds - mean * steps) ** 2 for seconds, steps in spans)
    error = sqrt(squares * len(spans) / (len(spans) - 1)) / (marks[-1][1] - marks[0][1])
    return error / mean
