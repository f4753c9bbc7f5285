"""The expected finish of a run, extrapolated from the rate of its recent steps where that is steady enough."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise
from math import sqrt
from struct import Struct, pack
from typing import Final

Sample = tuple[datetime, int]
"""The time at which a step was completed, and its number."""

_WARM_UP: Final = 3  # steps: compilation and cold caches make the first ones up to 26 times longer
_MOST: Final = 32  # marks: when there are more, every other one is dropped
_RECENT: Final = 64  # steps: the rate covers the last half of the run, and at least this many steps
_FEWEST_SPANS: Final = 8  # spans between marks: the spread of fewer means little
_FEWEST_STEPS: Final = 30  # a pause at every twentieth step is visible in four of five windows of this length
_SPREAD: Final = 0.08  # the largest relative standard error of the rate: three of them are less than a quarter
_MARK: Final = Struct("<qq")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_Mark = tuple[int, int]
"""Milliseconds since 1970 (UTC), and a step number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRate:
    """How fast a run's steps come, updated with each reported step. It never holds more than 32 marks."""

    marks: bytes = b""
    """The marks that the rate is measured between, oldest first, at least `stride` steps apart, without the warm-up.

    Each mark is packed as two 64-bit integers, milliseconds since 1970 and the step, because every running job has
    such a value in memory.
    """
    newest: Sample | None = None
    stride: int = 1
    warm_from: int = _WARM_UP
    """The first step after the warm-up."""

    def after(self, samples: Iterable[Sample]) -> StepRate:
        """The rate with further steps, given in the order in which they were reported.

        A step that comes twice or slightly out of order changes nothing. A run that goes back by more than the warm-up
        has been restarted, and the rate is measured anew after its next warm-up.
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
        packed = pack(f"<{2 * len(marks)}q", *chain.from_iterable(marks))
        return StepRate(marks=packed, newest=newest, stride=stride, warm_from=warm_from)

    def reset(self) -> StepRate:
        """A rate that is measured anew from the next step on, as it must be after a pause or a jump of the clock."""
        return StepRate(warm_from=self.newest[1] + _WARM_UP if self.newest is not None else self.warm_from)

    @property
    def step_seconds(self) -> float | None:
        """Mean seconds of a recent step, including evaluation and storage; None until two marks are known."""
        recent = self._recent
        return _mean(recent) if len(recent) > 1 and recent[-1][1] > recent[0][1] else None

    @property
    def longest_wait(self) -> float | None:
        """The most seconds between two recent marks; None until two marks are known.

        Some providers report each step, others every five-hundredth.
        """
        waits = [(after - before) / 1000 for (before, _), (after, _) in pairwise(self._recent)]
        return max(waits, default=None)

    def finish(self, steps: int) -> datetime | None:
        """When the last of `steps` steps will be completed; None if the rate does not allow an estimate.

        An estimate needs thirty steps after the warm-up, or half of the run if that is shorter, and a rate with a
        standard error of at most 8 %. At a quarter of real runs it was at most a fifth off (tests/domain/test_eta.py).
        """
        if self.newest is None or self.newest[1] > steps or not self._reliable(steps):
            return None
        seconds = _mean(self._recent) * (steps - self.newest[1])
        try:
            return self.newest[0] + timedelta(seconds=seconds)
        except OverflowError:  # such as for 2**53 steps of an hour each
            return None

    @property
    def _recent(self) -> tuple[_Mark, ...]:
        """The marks of the last half of the run, followed by the newest step."""
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
    """Mean seconds of one step between the first mark and the last."""
    return (marks[-1][0] - marks[0][0]) / 1000 / (marks[-1][1] - marks[0][1])


def _spread(marks: tuple[_Mark, ...]) -> float:
    """The relative standard error of the mean duration of a step; 1 if the marks have no time between them.

    The mean is the ratio of two sums, so that its error is that of a ratio estimator (Cochran, "Sampling Techniques").
    """
    mean = _mean(marks)
    if mean <= 0.0:
        return 1.0
    spans = [((after - before) / 1000, b - a) for (before, a), (after, b) in pairwise(marks)]
    squares = sum((seconds - mean * steps) ** 2 for seconds, steps in spans)
    error = sqrt(squares * len(spans) / (len(spans) - 1)) / (marks[-1][1] - marks[0][1])
    return error / mean
