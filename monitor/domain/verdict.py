"""The verdict on a training curve: it blew up, ended worse than it began, did not learn, or overfits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from math import exp, isfinite, log, sqrt
from statistics import fmean, median
from typing import Final

from monitor.domain.curve import (
    Series,
    median_window,
    missing_losses,
    noise_of,
    not_finite_since,
    read_curve,
    running_medians,
    tenth,
    value_at,
)
from monitor.domain.model import Metrics

_NO_CHECKPOINTS: Final[Mapping[int, str]] = {}
_FEWEST_STEPS: Final = 10  # steps: a shorter training curve is not judged
_FEWEST_EVALS: Final = 3  # evaluations: a shorter validation curve is not judged
_PEAK: Final = 1.5  # a loss above this multiple of its start has blown up
_MARGIN: Final = 0.05  # relative changes of training values within it do not count
_EVAL_MARGIN: Final = 0.02  # the same for validation: a real run that ended 1.3 % above its best was healthy
_NOISY: Final = 0.10  # relative noise, twice the margin, from which on a single first step is not a reliable start
_DEAFENING: Final = 9.0  # the largest noise (a logarithm) that is used, so that its exponential cannot overflow
_MANY_EVALS: Final = 20  # from this number on, evaluations may be of single batches, and are smoothed
_GAIN_MARGIN: Final = 0.05  # the margin for validation rewards and accuracies, which come from fewer samples
_VISIBLE: Final = 0.002  # of the range of validation: from 2.0 to 0.001 and back to 0.002 is no overfitting
_FIRST_BY: Final = 0.03  # of the run: a first known loss after it is not the loss of the untrained model


class VerdictKind(StrEnum):
    """What is wrong with a run. It is a metric label, and therefore a closed set."""

    BLEW_UP = "blew_up"
    ENDED_WORSE = "ended_worse"
    DID_NOT_LEARN = "did_not_learn"
    OVERFITS = "overfits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is wrong with a run, and which of its models is better than the last one."""

    kind: VerdictKind
    text: str
    """One sentence for people."""
    since_step: int | None = None
    """The step at which the explosion, the part that is worse than the start, or the overfitting begins."""
    best_step: int | None = None
    """The step with a better model than the last one; None if no step is known to be better."""
    best_checkpoint: str | None = None
    """The name of the best checkpoint, by the values around its step; None if none is known to be better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """The curves of one run. All values are finite, and those of rewards and accuracies are negated."""

    what: str
    """What the curves measure: `loss`, `reward` or `accuracy`."""
    train: Series
    smooth: Series
    """The running medians of `train`."""
    evals: Series
    """The validation curve."""
    checkpoints: Mapping[int, str]
    """The names of checkpoints by step."""

    @property
    def untuned(self) -> float | None:
        """The validation value before the first step; None if it was not measured."""
        return self.evals[0][1] if len(self.evals) > 1 and self.evals[0][0] <= 0 else None

    @property
    def flat(self) -> bool:
        """Whether validation stayed within the margin around its first value."""
        within = (_near(value, self.evals[0][1], _EVAL_MARGIN) for _, value in self.evals)
        return len(self.evals) >= _FEWEST_EVALS and all(within)

    @property
    def start(self) -> float:
        """The value of the untrained model: the first loss, or the mean of the first gains, which have more noise."""
        return self.train[0][1] if self.what == "loss" else self.early

    @property
    def early(self) -> float:
        """The average of the first tenth of the steps, at least three."""
        return self._mean(self.train[: tenth(self.train)])

    @property
    def end(self) -> float:
        """The average of the last tenth of the steps, at least three."""
        return self._mean(self.train[-tenth(self.train) :])

    def _mean(self, curve: Series) -> float:
        """The median of losses, which have spikes, or the mean of gains, most of which may be 0."""
        values = [value for _, value in curve]
        return median(values) if self.what == "loss" else fmean(values)

    def shown(self, value: float) -> str:
        """The value for people, with its original sign and three digits."""
        return f"{value if self.what == 'loss' else -value:.3g}"


def judge(points: Sequence[Metrics], checkpoints: Mapping[int, str] = _NO_CHECKPOINTS) -> Verdict | None:
    """The verdict on a run that is over; None if it is healthy or there is too little to judge.

    Points may be unordered and repeated, with any field missing or not finite. A run is judged by its rewards, or else
    by its losses, or else by its accuracies. `checkpoints` maps steps to names.

    The thresholds agree with people's judgement of real runs (tests/domain/test_verdict.py). The end is compared with
    the loss of *step 1*, which is that of the untrained model. Other references mislead: in one run that blew up, the
    loss fell to half of its first few values and the last validation was the best one, yet the model was a quarter
    worse than before.
    """
    for what in ("reward", "loss", "accuracy"):
        gains = what != "loss"
        train, evals = (read_curve(points, f"{which}_{what}", gains=gains) for which in ("train", "valid"))
        if train or evals:
            run = _run(what, train, evals, checkpoints)
            if gains:
                return _judge_gains(run)
            losses = [*train, *missing_losses(train, read_curve(points, "train_accuracy"))]
            return _judge_losses(run, lost=not_finite_since(losses))
    return None


def _run(what: str, train: Series, evals: Series, checkpoints: Mapping[int, str]) -> _Run:
    train, evals = ([point for point in curve if isfinite(point[1])] for curve in (train, evals))
    smooth = running_medians(train, median_window(train))
    return _Run(what=what, train=train, smooth=smooth, evals=evals, checkpoints=checkpoints)


def _judge_losses(run: _Run, *, lost: int | None) -> Verdict | None:
    if lost is not None:
        text = f"Blew up at step {lost:,}: the training loss became NaN or infinite."
        return _with_best(run, Verdict(kind=VerdictKind.BLEW_UP, text=text, since_step=lost))
    if len(run.train) < _FEWEST_STEPS or run.start <= 0.0:
        return _judge_evals(run)
    # The noise is relative, hence the logarithms. Losses of steps with one example differ by about a quarter.
    noise = min(noise_of([log(value) for _, value in run.train if value > 0.0]), _DEAFENING)
    limit = run.start * max(_PEAK, exp(3.0 * noise) if noise > _NOISY else 0.0)
    exploded = next((step for step, value in run.smooth if value > limit), None)
    if exploded is not None:
        return _blew_up(run, since=exploded)
    if _ended_worse(run, noise):
        return _worse(run)
    if _did_not_learn(run, noise):
        start = run.start if _near(run.end, run.start, _MARGIN) else run.early
        return _unmoved(run, "training", start, run.end)
    return _overfits(run)


def _ended_worse(run: _Run, noise: float) -> bool:
    """Whether the end is above the start by more than chance, and validation agrees if it is known."""
    sure = noise <= _NOISY or run.untuned is not None
    if run.flat or run.end <= run.start * (1.0 + _MARGIN if sure else exp(2.0 * noise)):
        return False
    return run.untuned is None or run.evals[-1][1] > run.untuned * (1.0 + _MARGIN if noise > _NOISY else 1.0)


def _did_not_learn(run: _Run, noise: float) -> bool:
    """Whether the end is as high as the start. A flat validation curve is better evidence than a single first step."""
    if run.flat:
        # A median has 1.25 times the standard error of a mean, and two medians are compared: 2 * 1.25 * sqrt(2) = 3.5.
        near_early = _near(run.end, run.early, max(_MARGIN, 3.5 * noise / sqrt(tenth(run.train))))
        return near_early and _near(run.end, run.start, max(_MARGIN, 3.0 * noise))
    fell = len(run.evals) > 1 and run.evals[-1][1] < run.evals[0][1] * (1.0 - _EVAL_MARGIN)
    from_first = run.train[0][0] <= max(1.0, _FIRST_BY * run.train[-1][0])
    return noise <= _NOISY and not fell and from_first and _near(run.end, run.start, _MARGIN)


def _judge_evals(run: _Run) -> Verdict | None:
    """The verdict on a run with too short a training curve, by its validation."""
    if run.untuned is not None and len(run.evals) >= _FEWEST_EVALS:
        start, end = run.untuned, run.evals[-1][1]
        if run.flat:
            return _unmoved(run, "validation", start, end)
        if min(value for _, value in run.evals) == start:
            text = _worse_text(run, "validation", start, end)
            return Verdict(kind=VerdictKind.ENDED_WORSE, text=text, since_step=run.evals[1][0])
    return _overfits(run)


def _judge_gains(run: _Run) -> Verdict | None:
    """The verdict by rewards or accuracies. They are noisy: changes that may be chance are not reported."""
    if len(run.train) < _FEWEST_STEPS:
        return _judge_evals(run)
    margin = _MARGIN * abs(run.start)
    changes = [after[1] - before[1] for before, after in pairwise(run.train)]
    # A change between two steps and one between the means of two tenths both contain the errors of two values.
    error = sqrt(fmean(change * change for change in changes) / tenth(run.train))
    fall = run.end - run.start
    if fall > max(margin, 2.0 * error):
        return _worse(run)
    if abs(fall) <= margin and error <= margin:
        return _unmoved(run, "training", run.start, run.end)
    return _overfits(run)


def _overfits(run: _Run) -> Verdict | None:
    """The verdict OVERFITS if validation ends above its best value by more than the margin and its noise."""
    count = len(run.evals)
    if count < _FEWEST_EVALS:
        return None
    width = max(1, count // _MANY_EVALS)
    smooth = running_medians(run.evals, width)
    (since, best), end = min(smooth, key=lambda point: point[1]), smooth[-1][1]
    values = [value for _, value in run.evals]
    # Losses average over all tokens, so that a few of them have little noise; rewards come from few samples.
    noise = noise_of(values) if run.what != "loss" or count >= _MANY_EVALS else 0.0
    margin = _EVAL_MARGIN if run.what == "loss" else _GAIN_MARGIN
    if end - best <= max(margin * abs(best), _VISIBLE * (max(values) - best), 3.0 * noise / sqrt(width)):
        return None
    text = (
        f"Overfits since {f'step {since:,}' if since > 0 else 'its first step'}: the validation {run.what} was "
        f"{run.shown(best)} then and is {run.shown(end)} at the end."
    )
    better = [step for step in run.checkpoints if step >= smooth[0][0] and value_at(smooth, step) < end]
    return Verdict(
        kind=VerdictKind.OVERFITS,
        text=text,
        since_step=since,
        best_step=since if since > 0 else None,
        best_checkpoint=_best_checkpoint(run, better, smooth),
    )


def _blew_up(run: _Run, *, since: int) -> Verdict:
    peak = max(value for _, value in run.smooth) / run.start
    text = (
        f"Blew up at step {since:,}: the training loss rose to {peak:.1f} times its start "
        f"and ended at {run.end / run.start:.2f} times."
    )
    return _with_best(run, Verdict(kind=VerdictKind.BLEW_UP, text=text, since_step=since))


def _worse(run: _Run) -> Verdict:
    fine = [index for index, (_, value) in enumerate(run.smooth) if value <= run.start]
    since = run.smooth[min(fine[-1] + 1, len(run.smooth) - 1)][0] if fine else run.train[0][0]
    text = _worse_text(run, "training", run.start, run.end)
    return _with_best(run, Verdict(kind=VerdictKind.ENDED_WORSE, text=text, since_step=since))


def _worse_text(run: _Run, which: str, start: float, end: float) -> str:
    return (
        f"Ended worse than it began: the {which} {run.what} was {run.shown(start)} and is {run.shown(end)} at the end."
    )


def _unmoved(run: _Run, which: str, start: float, end: float) -> Verdict:
    text = f"Did not learn: the {which} {run.what} was {run.shown(start)} and is {run.shown(end)} at the end."
    return Verdict(kind=VerdictKind.DID_NOT_LEARN, text=text)


def _with_best(run: _Run, verdict: Verdict) -> Verdict:
    """The verdict with the best step and checkpoint from before it went wrong, if the model was ever better then."""
    if not run.train or verdict.since_step is None:
        return verdict
    since, better = verdict.since_step, run.start - _MARGIN * abs(run.start)
    good = [step for step, value in run.smooth if step < since and value < better]
    if not good:
        return verdict
    measured = [point for point in run.evals or run.smooth if good[0] <= point[0] <= good[-1]]
    best = min(measured, key=lambda point: point[1], default=None)
    if best is None or (run.untuned is not None and best[1] >= run.untuned):
        return verdict
    steps = [step for step in run.checkpoints if good[0] <= step <= good[-1]]
    return replace(verdict, best_step=best[0], best_checkpoint=_best_checkpoint(run, steps, measured))


def _best_checkpoint(run: _Run, steps: Iterable[int], curve: Series) -> str | None:
    best = min(steps, key=lambda step: (value_at(curve, step), step), default=None)
    return run.checkpoints[best] if best is not None else None


def _near(value: float, reference: float, margin: float) -> bool:
    return abs(value - reference) <= margin * abs(reference)
