"""How a run ended, read off its curve as a person would: blew up, ended worse, did not learn, or overfits."""

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
    left_out,
    lost_since,
    noise_of,
    read_curve,
    running_medians,
    stretch,
    tenth,
    value_at,
)
from monitor.domain.model import Metrics

_NO_CHECKPOINTS: Final[Mapping[int, str]] = {}
_FEWEST_STEPS: Final = 10  # fewer are no curve
_FEWEST_EVALS: Final = 3
_PEAK: Final = 1.5
_MARGIN: Final = 0.05
_EVAL_MARGIN: Final = 0.02  # a real run that ended 1.3 % above its best was healthy
_NOISY: Final = 0.10  # from twice the margin on, one step alone is no measure of the model as it was
_DEAFENING: Final = 9.0  # an end of the scale, short of what no float can hold
_MANY_EVALS: Final = 20  # from here on they may be of single batches, and are read in windows, with their noise
_GAIN_MARGIN: Final = 0.05  # rewards and accuracies are of fewer samples
_VISIBLE: Final = 0.002  # of all that validation moved: from 2.0 to 0.001 and back to 0.002 is no overfitting
_FIRST_BY: Final = 0.03  # of the run: a first known loss that is later is not that of the model as it was


class VerdictKind(StrEnum):
    """How a run ended, where that needs a comment; a closed set, because it is a metric label."""

    BLEW_UP = "blew_up"
    ENDED_WORSE = "ended_worse"
    DID_NOT_LEARN = "did_not_learn"
    OVERFITS = "overfits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a person reading the curve would say."""

    kind: VerdictKind
    text: str
    """One sentence for people."""
    since_step: int | None = None
    """Where the explosion, the part that is worse than the start, or the overfitting begins."""
    best_step: int | None = None
    """The step whose model is to be preferred to the last one; None where no step is known to be better."""
    best_checkpoint: str | None = None
    """The best checkpoint by the validation around it; None where none is known to be better than the last model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """The curves of one run, finite throughout. Those of gains, such as rewards, are their negatives."""

    what: str
    """`loss`, `reward` or `accuracy`."""
    train: Series
    smooth: Series
    """The running medians of the training."""
    evals: Series
    checkpoints: Mapping[int, str]

    @property
    def untuned(self) -> float | None:
        """What validation gave before the first step, where that was measured."""
        return self.evals[0][1] if len(self.evals) > 1 and self.evals[0][0] <= 0 else None

    @property
    def flat(self) -> bool:
        """Whether validation never moved from its first value."""
        within = (_near(value, self.evals[0][1], _EVAL_MARGIN) for _, value in self.evals)
        return len(self.evals) >= _FEWEST_EVALS and all(within)

    @property
    def start(self) -> float:
        """What the model gave as it was: at the first step, or of gains, which have more noise, at the first few."""
        return self.train[0][1] if self.what == "loss" else self.early

    @property
    def early(self) -> float:
        """What the first tenth of the steps gave, of at least three."""
        return self._mean(self.train[: tenth(self.train)])

    @property
    def end(self) -> float:
        """What the last tenth of the steps gave, of at least three."""
        return self._mean(self.train[-tenth(self.train) :])

    def _mean(self, curve: Series) -> float:
        """The median of losses, which have spikes; the mean of gains, of which most may be nothing."""
        values = [value for _, value in curve]
        return median(values) if self.what == "loss" else fmean(values)

    def shown(self, value: float) -> str:
        """The value as people know it, with three digits."""
        return f"{value if self.what == 'loss' else -value:.3g}"


def judge(points: Sequence[Metrics], checkpoints: Mapping[int, str] = _NO_CHECKPOINTS) -> Verdict | None:
    """The verdict on a run that is over; None for a healthy end, and where there is too little to judge.

    Points may come in any order, twice, and with any field missing or not finite. A run that has rewards is judged by
    them, another one by its losses, and by its accuracies where it has neither. `checkpoints` are names by step.

    The thresholds agree with what people found on real runs (tests/domain/test_verdict.py). The end is compared with
    the loss of *step 1*, that of the model as it was: where a run blew up, the loss fell to half of its first few
    values, and the best validation was the last, and still the model was a quarter worse than before.
    """
    for what in ("reward", "loss", "accuracy"):
        gains = what != "loss"
        train, evals = (read_curve(points, f"{which}_{what}", gains=gains) for which in ("train", "valid"))
        if train or evals:
            run = _run(what, train, evals, checkpoints)
            if gains:
                return _of_gains(run)
            return _of_losses(run, lost=lost_since([*train, *left_out(train, read_curve(points, "train_accuracy"))]))
    return None


def _run(what: str, train: Series, evals: Series, checkpoints: Mapping[int, str]) -> _Run:
    train, evals = ([point for point in curve if isfinite(point[1])] for curve in (train, evals))
    smooth = running_medians(train, stretch(train))
    return _Run(what=what, train=train, smooth=smooth, evals=evals, checkpoints=checkpoints)


def _of_losses(run: _Run, *, lost: int | None) -> Verdict | None:
    if lost is not None:
        text = f"Blew up at step {lost:,}: the training loss was no number any more."
        return _salvaged(run, Verdict(kind=VerdictKind.BLEW_UP, text=text, since_step=lost))
    if len(run.train) < _FEWEST_STEPS or run.start <= 0.0:
        return _by_evals(run)
    # In logarithms: steps of one example differ by a quarter, those of thirty by a thirtieth.
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
    """Whether the end is above the start by more than chance, and validation, where it is known, agrees."""
    sure = noise <= _NOISY or run.untuned is not None
    if run.flat or run.end <= run.start * (1.0 + _MARGIN if sure else exp(2.0 * noise)):
        return False
    return run.untuned is None or run.evals[-1][1] > run.untuned * (1.0 + _MARGIN if noise > _NOISY else 1.0)


def _did_not_learn(run: _Run, noise: float) -> bool:
    """Whether the end is where the start was. Validation knows better than a single step."""
    if run.flat:
        # A median has 1.25 times the error of a mean, and these are two: the margin is that of two deviations.
        near_early = _near(run.end, run.early, max(_MARGIN, 3.5 * noise / sqrt(tenth(run.train))))
        return near_early and _near(run.end, run.start, max(_MARGIN, 3.0 * noise))
    fell = len(run.evals) > 1 and run.evals[-1][1] < run.evals[0][1] * (1.0 - _EVAL_MARGIN)
    from_first = run.train[0][0] <= max(1.0, _FIRST_BY * run.train[-1][0])
    return noise <= _NOISY and not fell and from_first and _near(run.end, run.start, _MARGIN)


def _by_evals(run: _Run) -> Verdict | None:
    """The verdict on a run of which little more than its validation is known."""
    if run.untuned is not None and len(run.evals) >= _FEWEST_EVALS:
        start, end = run.untuned, run.evals[-1][1]
        if run.flat:
            return _unmoved(run, "validation", start, end)
        if min(value for _, value in run.evals) == start:
            text = _worse_text(run, "validation", start, end)
            return Verdict(kind=VerdictKind.ENDED_WORSE, text=text, since_step=run.evals[1][0])
    return _overfits(run)


def _of_gains(run: _Run) -> Verdict | None:
    """The verdict by rewards or accuracies, which have much noise: what may be chance is not reported."""
    if len(run.train) < _FEWEST_STEPS:
        return _by_evals(run)
    margin = _MARGIN * abs(run.start)
    changes = [after[1] - before[1] for before, after in pairwise(run.train)]
    # Both the change of one step and that between the means of two tenths have the errors of two values.
    error = sqrt(fmean(change * change for change in changes) / tenth(run.train))
    fall = run.end - run.start
    if fall > max(margin, 2.0 * error):
        return _worse(run)
    if abs(fall) <= margin and error <= margin:
        return _unmoved(run, "training", run.start, run.end)
    return _overfits(run)


def _overfits(run: _Run) -> Verdict | None:
    """Validation ends above its best. That the last is not the best alone proves nothing: noise does it, too."""
    count = len(run.evals)
    if count < _FEWEST_EVALS:
        return None
    width = max(1, count // _MANY_EVALS)
    smooth = running_medians(run.evals, width)
    (since, best), end = min(smooth, key=lambda point: point[1]), smooth[-1][1]
    values = [value for _, value in run.evals]
    # Rewards are of few samples, losses of all tokens: of a few losses, the rise is no noise.
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
    return _salvaged(run, Verdict(kind=VerdictKind.BLEW_UP, text=text, since_step=since))


def _worse(run: _Run) -> Verdict:
    fine = [index for index, (_, value) in enumerate(run.smooth) if value <= run.start]
    since = run.smooth[min(fine[-1] + 1, len(run.smooth) - 1)][0] if fine else run.train[0][0]
    text = _worse_text(run, "training", run.start, run.end)
    return _salvaged(run, Verdict(kind=VerdictKind.ENDED_WORSE, text=text, since_step=since))


def _worse_text(run: _Run, which: str, start: float, end: float) -> str:
    return (
        f"Ended worse than it began: the {which} {run.what} was {run.shown(start)} and is {run.shown(end)} at the end."
    )


def _unmoved(run: _Run, which: str, start: float, end: float) -> Verdict:
    text = f"Did not learn: the {which} {run.what} was {run.shown(start)} and is {run.shown(end)} at the end."
    return Verdict(kind=VerdictKind.DID_NOT_LEARN, text=text)


def _salvaged(run: _Run, verdict: Verdict) -> Verdict:
    """The verdict with what was good before it went wrong; the best of evaluations that are all bad is not."""
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
