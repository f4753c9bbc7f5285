"""How a run ended, against what people found on real ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from math import exp, inf, nan
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.model import Metrics
from monitor.domain.verdict import Verdict, VerdictKind, judge
from tests.domain.curves import RealRun, real_run, real_runs

Series = list[tuple[int, float]]
BAD: set[VerdictKind | None] = {VerdictKind.BLEW_UP, VerdictKind.ENDED_WORSE}
BY_PEOPLE: dict[str, set[VerdictKind | None]] = {
    "healthy": {None},
    "healthy-small-batch": {None},
    "healthy-slow-storage": {None},
    "noisy-data": {None},
    "overfit-mild": {None},
    "overfit": {VerdictKind.OVERFITS},
    "ten-examples": {VerdictKind.OVERFITS},
    "too-low-rate": {VerdictKind.DID_NOT_LEARN},
    "diverges": {VerdictKind.BLEW_UP},
    "half-precision": {VerdictKind.BLEW_UP},
    "spikes": BAD,
}
each_real_run = pytest.mark.parametrize("run", real_runs(), ids=lambda run: run.name)


def kind(verdict: Verdict | None) -> VerdictKind | None:
    return verdict.kind if verdict is not None else None


def curve(field: str, values: Sequence[float | None], first: int = 1, every: int = 1) -> list[Metrics]:
    fields: list[dict[str, Any]] = [{field: value} for value in values]
    return [Metrics(step=first + every * index, **one) for index, one in enumerate(fields)]


def falling(start: float, end: float, count: int) -> list[float]:
    return [start + (end - start) * index / (count - 1) for index in range(count)]


def wavering(level: float, by: float, count: int) -> list[float]:
    """Around the level, without a trend."""
    dice = Random(count)
    return [level * (1 + by * dice.uniform(-1, 1)) for _ in range(count)]


def test_the_real_runs_are_of_all_kinds() -> None:
    assert {run.kind for run in real_runs()} == set(BY_PEOPLE)
    assert len(real_runs()) == 22


@each_real_run
def test_a_real_run_is_judged_as_people_judged_it(run: RealRun) -> None:
    assert kind(judge(run.points)) in BY_PEOPLE[run.kind]


@each_real_run
def test_validation_before_the_first_step_changes_no_verdict(run: RealRun) -> None:
    assert kind(judge([run.before, *run.points])) is kind(judge(run.points))


@each_real_run
def test_every_tenth_step_is_enough(run: RealRun) -> None:
    thinned = [point for point in run.points if point.train_loss is None or (point.step or 0) % 10 == 1]
    assert kind(judge(thinned)) in BY_PEOPLE[run.kind] | (BAD if run.kind in ("diverges", "half-precision") else set())


@each_real_run
def test_order_and_repetition_do_not_matter(run: RealRun) -> None:
    assert judge([*reversed(run.points), *run.points]) == judge(run.points)


def scaled(points: Series, by: float) -> Series:
    return [(step, by * loss) for step, loss in points]


def blurred(points: Series, by: float) -> Series:
    dice = Random(len(points))
    return [(step, loss * exp(dice.gauss(0, by))) for step, loss in points]


def smoothed(points: Series, by: float) -> Series:
    """As some vendors report it: a running mean that forgets."""
    means = accumulate((loss for _, loss in points), lambda mean, loss: by * mean + (1 - by) * loss)
    return [(step, mean) for (step, _), mean in zip(points, means, strict=True)]


@pytest.mark.parametrize(
    ("train", "evals"),
    [
        pytest.param(lambda of: scaled(of, 0.1), lambda of: scaled(of, 0.1), id="another unit"),
        pytest.param(lambda of: scaled(of, 9.0), lambda of: scaled(of, 9.0), id="a larger one"),
        pytest.param(lambda of: blurred(of, 0.03), lambda of: blurred(of, 0.002), id="more noise"),
        pytest.param(lambda of: smoothed(of, 0.9), lambda of: of, id="smoothed"),
        pytest.param(lambda of: of[: len(of) * 9 // 10], lambda of: of[: len(of) * 9 // 10], id="a tenth shorter"),
        pytest.param(lambda of: of, lambda of: of[::-3][::-1], id="a third of the evaluations"),
        pytest.param(lambda of: [(step, round(loss, 2)) for step, loss in of], lambda of: of, id="two digits"),
    ],
)
def test_thresholds_do_not_hang_on_what_a_run_was_measured_with(
    train: Callable[[Series], Series], evals: Callable[[Series], Series]
) -> None:
    for run in real_runs():
        curve = train([*enumerate(run.train_loss, 1)])
        points = [Metrics(step=step, train_loss=loss) for step, loss in curve]
        points += [Metrics(step=step, valid_loss=loss) for step, loss in evals([*run.evals])]
        expected = BY_PEOPLE[run.kind] | (BAD if run.kind in ("diverges", "half-precision") else set())
        assert kind(judge(points)) in expected | ({None} if run.name == "spikes-1" else set()), run.name


@pytest.mark.parametrize("value", [nan, inf, -inf, None])
@each_real_run
def test_a_step_without_a_number_now_and_then_changes_no_verdict(run: RealRun, value: float | None) -> None:
    points = [
        Metrics(step=point.step, train_loss=value)
        if point.train_loss is not None and (point.step or 0) % 9 == 4
        else point
        for point in run.points
    ]
    assert kind(judge(points)) in BY_PEOPLE[run.kind] | (BAD if run.kind in ("diverges", "half-precision") else set())


@pytest.mark.parametrize("run", [run for run in real_runs() if BY_PEOPLE[run.kind] <= {None}], ids=lambda run: run.name)
@pytest.mark.parametrize("since", [0.02, 0.5, 0.95])
@pytest.mark.parametrize("value", [nan, inf])
def test_a_loss_that_stops_being_a_number_blew_up(run: RealRun, since: float, value: float) -> None:
    lost = round(since * run.steps)
    points = [
        Metrics(step=point.step, train_loss=value)
        if point.train_loss is not None and (point.step or 0) > lost
        else point
        for point in run.points
    ]
    verdict = judge(points)
    assert kind(verdict) is VerdictKind.BLEW_UP
    assert verdict is not None
    assert verdict.since_step is not None
    assert abs(verdict.since_step - lost) <= 4


def test_a_loss_that_is_left_out_while_the_accuracy_goes_on_blew_up() -> None:
    points = [Metrics(step=step, train_loss=2.0 if step < 3 else None, train_accuracy=0.0) for step in range(1, 50)]
    assert kind(judge(points)) is VerdictKind.BLEW_UP


def test_an_accuracy_now_and_then_without_a_loss_proves_nothing() -> None:
    losses = [Metrics(step=step, train_loss=3.0 - step / 100) for step in range(10, 200, 10)]
    assert judge([*losses, *curve("train_accuracy", falling(0.3, 0.6, 200))]) is None


@pytest.mark.parametrize(
    ("name", "since"),
    [("overfit-0", 60), ("overfit-1", 48), ("ten-examples-0", 35), ("ten-examples-1", 5)],
)
def test_overfitting_begins_at_the_best_validation(name: str, since: int) -> None:
    verdict = judge(real_run(name).points, {step: f"ckpt-{step}" for step in (since - 4, since, since + 40)})
    assert verdict is not None
    assert (verdict.since_step, verdict.best_step, verdict.best_checkpoint) == (since, since, f"ckpt-{since}")
    assert verdict.text.startswith(f"Overfits since step {since}: ")
    assert verdict.text.endswith(" at the end.")


@pytest.mark.parametrize(
    ("checkpoints", "best"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({100: "early", 200: "later", 300: "last"}, "early", id="the nearest to the best"),
        pytest.param({1: "untuned", 62: "after"}, "after", id="one just after the best"),
        pytest.param({300: "last"}, None, id="the last is what there is anyway"),
    ],
)
def test_the_best_checkpoint_is_that_with_the_best_validation_around_it(
    checkpoints: dict[int, str], best: str | None
) -> None:
    verdict = judge(real_run("overfit-0").points, checkpoints)
    assert verdict is not None
    assert verdict.best_checkpoint == best


@pytest.mark.parametrize("name", ["diverges-0", "half-precision-1", "spikes-0", "spikes-1", "too-low-rate-0"])
def test_the_best_validation_of_a_run_that_never_got_better_is_not_recommended(name: str) -> None:
    run = real_run(name)
    verdict = judge(run.points, {step: f"ckpt-{step}" for step in range(25, run.steps, 25)})
    assert verdict is not None
    assert (verdict.best_step, verdict.best_checkpoint) == (None, None)


@pytest.mark.parametrize(
    ("end", "expected"), [(9.0, VerdictKind.BLEW_UP), (3.4, VerdictKind.ENDED_WORSE)], ids=["blew up", "ended worse"]
)
def test_what_was_good_before_it_went_wrong_is_recommended(end: float, expected: VerdictKind) -> None:
    train = curve("train_loss", [*falling(3.0, 2.0, 200), *falling(2.0, end, 50), *[end] * 50])
    valid = curve("valid_loss", [2.8, 2.5, 2.3, 2.1, 2.4, 4.0], first=50, every=50)
    verdict = judge([*train, *valid], {190: "good", 260: "bad", 300: "last"})
    assert verdict is not None
    assert (verdict.kind, verdict.best_step, verdict.best_checkpoint) == (expected, 200, "good")
    assert verdict.since_step is not None
    assert 200 < verdict.since_step < 260


STEPS = falling(3.0, 2.0, 100)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        pytest.param([], None, id="nothing"),
        pytest.param([Metrics(train_loss=3.0), Metrics(valid_loss=9.0)], None, id="no steps"),
        pytest.param(curve("train_loss", [1.0, 9.0]), None, id="two steps are no curve"),
        pytest.param(curve("train_loss", [1.0, nan, nan, nan]), VerdictKind.BLEW_UP, id="few steps, but lost"),
        pytest.param(curve("train_loss", [nan] * 20), VerdictKind.BLEW_UP, id="never a number"),
        pytest.param(curve("train_loss", [0.0] * 20), None, id="nothing to learn"),
        pytest.param(curve("train_loss", [-1.0] * 20), None, id="a loss that has no scale"),
        pytest.param(curve("train_loss", [1.0, 2.0] * 30), None, id="noise as great as the rise"),
        pytest.param(curve("train_loss", STEPS), None, id="learns"),
        pytest.param(curve("train_loss", STEPS[::-1]), VerdictKind.ENDED_WORSE, id="rises"),
        pytest.param(curve("train_loss", wavering(2.0, 0.02, 100)), VerdictKind.DID_NOT_LEARN, id="flat"),
        pytest.param(
            curve("train_loss", wavering(2.0, 0.02, 20), first=100, every=50), None, id="flat, but its start is unknown"
        ),
        pytest.param(
            [*curve("train_loss", wavering(2.0, 0.5, 100)), *curve("valid_loss", [2.0] * 5, every=20)],
            VerdictKind.DID_NOT_LEARN,
            id="steps of one example, and validation is flat",
        ),
        pytest.param(
            [*curve("train_loss", wavering(2.0, 0.5, 100)), *curve("valid_loss", falling(2.0, 1.7, 5), every=20)],
            None,
            id="steps of one example, and validation falls",
        ),
        pytest.param(
            [*curve("train_loss", [2.0, *wavering(2.3, 0.5, 100)]), *curve("valid_loss", [2.2, 2.0, 1.8], 0, 50)],
            None,
            id="a first step below the others, and validation falls from before it",
        ),
        pytest.param(
            [*curve("train_loss", [1.88, *wavering(2.0, 0.08, 100)]), *curve("valid_loss", [2.0, 1.99, 2.0], 25, 25)],
            VerdictKind.DID_NOT_LEARN,
            id="a first step below the others, and validation is flat",
        ),
        pytest.param(
            [*curve("train_loss", [1.88, *wavering(2.0, 0.08, 100)]), *curve("valid_loss", [2.0, 1.9, 2.0], 25, 25)],
            VerdictKind.ENDED_WORSE,
            id="a first step below the others, and validation is not flat",
        ),
        pytest.param(
            [*curve("train_loss", [1.9, *falling(2.2, 1.9, 100)]), *curve("valid_loss", falling(2.2, 1.9, 4), 25, 25)],
            None,
            id="a first step as low as the end, and validation falls",
        ),
        pytest.param(
            [*curve("train_loss", [3.0, 2.6, *[2.0] * 98]), *curve("valid_loss", [2.0] * 4, 25, 25)],
            None,
            id="flat, but after all was learned in three steps",
        ),
        pytest.param(
            [*curve("train_loss", STEPS), *curve("valid_loss", [2.0, 2.5], every=50)], None, id="two evaluations"
        ),
        pytest.param(
            [*curve("train_loss", STEPS), *curve("valid_loss", [3.0, 2.0, 2.03], every=40)], None, id="1.5 % above"
        ),
        pytest.param(
            [*curve("train_loss", STEPS), *curve("valid_loss", [3.0, 2.0, 2.05], every=40)],
            VerdictKind.OVERFITS,
            id="2.5 % above",
        ),
        pytest.param(
            [*curve("train_loss", STEPS), *curve("valid_loss", [3.0, nan, 2.0, 2.4, nan], every=20)],
            VerdictKind.OVERFITS,
            id="evaluations that are no numbers are none",
        ),
        pytest.param(
            [*curve("train_loss", STEPS), *curve("valid_loss", [2.0, 0.001, 0.002], every=40)], None, id="invisible"
        ),
        pytest.param(
            [*curve("train_loss", STEPS), *curve("valid_loss", wavering(2.0, 0.2, 100))],
            None,
            id="validation of single batches is noise",
        ),
        pytest.param(
            [
                *curve("train_loss", STEPS),
                *curve("valid_loss", [v + abs(i - 50) / 30 for i, v in enumerate(wavering(2.0, 0.1, 101))]),
            ],
            VerdictKind.OVERFITS,
            id="a valley in the noise",
        ),
        pytest.param(curve("valid_loss", [2.0, 1.99, 2.01, 1.99], first=0), VerdictKind.DID_NOT_LEARN, id="flat evals"),
        pytest.param(curve("valid_loss", [2.0, 2.5, 2.2], first=0), VerdictKind.ENDED_WORSE, id="worse than untuned"),
        pytest.param(curve("valid_loss", [2.0, 1.5, 2.0], first=0), VerdictKind.OVERFITS, id="better only for a while"),
        pytest.param(curve("train_reward", falling(0.2, 0.6, 50)), None, id="rewards rise"),
        pytest.param(curve("train_reward", falling(0.6, 0.2, 50)), VerdictKind.ENDED_WORSE, id="rewards fall"),
        pytest.param(curve("train_reward", [-0.5, -0.4] * 25), None, id="rewards below zero, with noise"),
        pytest.param(curve("train_reward", [0.0] * 50), VerdictKind.DID_NOT_LEARN, id="never a reward"),
        pytest.param(curve("train_reward", wavering(0.4, 0.02, 90)), VerdictKind.DID_NOT_LEARN, id="rewards stay"),
        pytest.param(curve("train_reward", wavering(0.4, 0.9, 30)), None, id="rewards too noisy to judge"),
        pytest.param(
            [
                *curve("train_reward", falling(0.2, 0.9, 50)),
                *curve("valid_reward", [0.3, 0.6, 0.6, 0.5, 0.4], every=10),
            ],
            VerdictKind.OVERFITS,
            id="only the rewards of training rise to the end",
        ),
        pytest.param(
            [*curve("train_reward", falling(0.2, 0.6, 50)), *curve("train_loss", falling(0.1, 9.0, 50))],
            None,
            id="where there are rewards, the loss is none to judge by",
        ),
        pytest.param(curve("train_accuracy", falling(0.3, 0.6, 50)), None, id="accuracy rises"),
        pytest.param(curve("train_accuracy", falling(0.6, 0.3, 50)), VerdictKind.ENDED_WORSE, id="accuracy falls"),
    ],
)
def test_a_curve_is_judged(points: list[Metrics], expected: VerdictKind | None) -> None:
    assert kind(judge(points)) is expected


@pytest.mark.parametrize(
    ("points", "text"),
    [
        (
            curve("train_loss", STEPS[::-1]),
            "Ended worse than it began: the training loss was 2 and is 2.95 at the end.",
        ),
        (curve("train_loss", [2.0] * 99), "Did not learn: the training loss was 2 and is 2 at the end."),
        (curve("train_reward", [0.25] * 99), "Did not learn: the training reward was 0.25 and is 0.25 at the end."),
        (curve("train_loss", [2.0, *[nan] * 99]), "Blew up at step 2: the training loss became NaN or infinite."),
        (
            curve("train_loss", [2.0] * 50 + [8.0] * 20 + [3.0] * 30),
            "Blew up at step 51: the training loss rose to 4.0 times its start and ended at 1.50 times.",
        ),
        (
            [*curve("train_loss", STEPS), *curve("valid_loss", [1.0, 2.0, 3.0], first=0, every=50)],
            "Overfits since its first step: the validation loss was 1 then and is 3 at the end.",
        ),
    ],
)
def test_a_verdict_is_one_sentence(points: list[Metrics], text: str) -> None:
    verdict = judge(points)
    assert verdict is not None
    assert verdict.text == text


def test_the_verdicts_are_a_closed_set_of_label_values() -> None:
    assert {one.value for one in VerdictKind} == {"blew_up", "ended_worse", "did_not_learn", "overfits"}


ANY_NUMBER = st.none() | st.floats() | st.sampled_from([0.0, 5e-324, 1e99, -1e99, 1e308, -1e308])
ANY_POINT = st.builds(
    Metrics,
    step=st.integers(0, 30) | st.none(),
    train_loss=ANY_NUMBER,
    valid_loss=ANY_NUMBER,
    train_accuracy=ANY_NUMBER,
    valid_accuracy=ANY_NUMBER,
    train_reward=ANY_NUMBER,
    valid_reward=ANY_NUMBER,
)


def test_a_loss_that_became_no_number_blew_up_and_what_was_good_before_is_recommended() -> None:
    train = curve("train_loss", falling(3.0, 2.0, 60))
    lost = [Metrics(step=step, lost=True, train_accuracy=0.1) for step in range(61, 101)]
    valid = curve("valid_loss", [2.8, 2.5, 2.3], first=15, every=15)
    verdict = judge([*train, *lost, *valid], {30: "good", 45: "best", 90: "lost"})
    assert verdict is not None
    assert (verdict.kind, verdict.best_step, verdict.best_checkpoint) == (VerdictKind.BLEW_UP, 45, "best")
    assert verdict.text == "Blew up at step 61: the training loss became NaN or infinite."


def test_one_loss_that_is_no_number_is_no_explosion() -> None:
    points = [Metrics(step=step, train_loss=3.0 - step / 50) for step in range(1, 101)]
    assert judge([*points[:50], Metrics(step=51, lost=True), *points[51:]]) is None


@pytest.mark.parametrize("rewards", [True, False], ids=["with rewards", "without"])
@given(st.lists(ANY_POINT, max_size=60), st.dictionaries(st.integers(0, 30), st.text(max_size=5), max_size=5))
def test_no_curve_is_too_strange(rewards: bool, points: list[Metrics], checkpoints: dict[int, str]) -> None:
    if not rewards:
        points = [replace(point, train_reward=None, valid_reward=None) for point in points]
    verdict = judge(points, checkpoints)
    if verdict is not None:
        assert verdict.best_checkpoint is None or verdict.best_checkpoint in checkpoints.values()
        assert verdict.best_step is None or verdict.best_step in {point.step for point in points}
        assert verdict.text.endswith(".")


@given(
    st.lists(st.floats(0.01, 100.0), min_size=10, max_size=80),
    st.lists(st.floats(0.01, 100.0), max_size=30),
    st.sampled_from([0.25, 0.5, 2.0, 8.0]),
)
def test_the_unit_of_the_loss_does_not_matter(train: list[float], valid: list[float], unit: float) -> None:
    def in_unit(unit: float) -> list[Metrics]:
        scaled = curve("train_loss", [unit * value for value in train])
        return [*scaled, *curve("valid_loss", [unit * value for value in valid], first=3, every=2)]

    one, other = judge(in_unit(1.0)), judge(in_unit(unit))
    assert kind(one) is kind(other)
    if one is not None and other is not None:
        assert (one.since_step, one.best_step) == (other.since_step, other.best_step)


@given(st.integers(20, 400), st.floats(0.3, 0.8), st.floats(0.0, 0.03), st.integers())
def test_a_run_that_learns_gets_no_comment(steps: int, to: float, noise: float, seed: int) -> None:
    dice = Random(seed)
    levels = falling(3.0, 3.0 * to, steps)
    train = curve("train_loss", [level * dice.uniform(1 - noise, 1 + noise) for level in levels])
    assert judge([*train, *curve("valid_loss", levels[4::5], first=5, every=5)]) is None
