"""Routes, paces and causes, as tables."""

from typing import Any

import pytest

from monitor.domain.flow import Reason, Transition, TransitionKind, Trouble
from monitor.domain.model import FailureClass, JobError, Status
from monitor.domain.pace import Pace, next_delay
from monitor.domain.routing import Match, Rule, event_types, matches, route_job
from monitor.domain.triage import triage
from tests.builders import NOON, job, on


def moved(before: Status | None, after: Status, kind: TransitionKind = TransitionKind.MOVED, **over: Any) -> Transition:
    return Transition(org="research", job="ftjob-1", seq=2, at=NOON, kind=kind, before=before, after=after, **over)


S = Status


@pytest.mark.parametrize(
    ("transition", "expected"),
    [
        pytest.param(moved(None, S.FAILED, TransitionKind.BASELINE), (), id="a baseline is never told"),
        pytest.param(moved(None, S.QUEUED, TransitionKind.APPEARED), ("appeared",), id="a new job"),
        pytest.param(
            moved(None, S.RUNNING, TransitionKind.APPEARED), ("started", "appeared"), id="a new job that runs already"
        ),
        pytest.param(moved(None, S.FAILED, TransitionKind.APPEARED), ("failed",), id="a new job that is over"),
        pytest.param(moved(S.SUCCEEDED, S.FAILED, TransitionKind.CORRECTED), ("failed",), id="another end after all"),
        pytest.param(moved(S.CANCELLED, S.RUNNING, TransitionKind.CORRECTED), ("resumed",), id="no end after all"),
        pytest.param(moved(S.QUEUED, S.RUNNING), ("started",), id="start"),
        pytest.param(moved(S.PAUSED, S.RUNNING, resumed=True), ("resumed",), id="resume"),
        pytest.param(moved(S.PAUSED, S.QUEUED, resumed=True), ("resumed",), id="resume by way of the queue"),
        pytest.param(moved(S.QUEUED, S.RUNNING, restarted=True), (), id="the second start is no start"),
        pytest.param(moved(S.RUNNING, S.PAUSED), ("paused",), id="pause"),
        pytest.param(moved(S.RUNNING, S.CANCELLED), ("cancelled",), id="cancel"),
        pytest.param(moved(S.RUNNING, S.UNKNOWN), (), id="an unknown status"),
        pytest.param(moved(S.RUNNING, S.UNKNOWN, TransitionKind.GONE), ("gone",), id="gone"),
        pytest.param(moved(S.UNKNOWN, S.RUNNING, TransitionKind.BACK), (), id="back"),
        pytest.param(moved(S.RUNNING, S.RUNNING, TransitionKind.STALLED), ("stalled",), id="stall"),
    ],
)
def test_a_transition_goes_by(transition: Transition, expected: tuple[str, ...]) -> None:
    assert event_types(transition) == expected


def test_a_notifier_hears_once_however_many_rules_match() -> None:
    rules = (
        Rule(notify=("a", "b")),
        Rule(notify=("b", "c"), match=Match(orgs=frozenset({"other"}))),
        Rule(notify=("c", "a", "a")),
    )
    assert dict(route_job(moved(S.RUNNING, S.FAILED), job(), rules, {})) == {
        "a": "failed",
        "b": "failed",
        "c": "failed",
    }


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        pytest.param(Match(), True, id="everything"),
        pytest.param(Match(orgs=frozenset({"research", "x"})), True, id="org"),
        pytest.param(Match(orgs=frozenset({"x"})), False, id="another org"),
        pytest.param(Match(providers=frozenset({"azure"})), False, id="another provider"),
        pytest.param(Match(models=("gpt-4o*",)), True, id="model pattern"),
        pytest.param(Match(models=("gpt-4o",)), False, id="a pattern is for the whole name"),
        pytest.param(Match(models=("x*", "gpt-4o-mini*")), True, id="any of the patterns"),
        pytest.param(Match(models=("XX*",)), False, id="no pattern"),
        pytest.param(Match(providers=frozenset({"openai"})), True, id="provider"),
        pytest.param(Match(labels={"team": "sales"}), False, id="another label"),
        pytest.param(Match(labels={"team": "search"}), True, id="label"),
        pytest.param(Match(labels={"team": "search", "x": "y"}), False, id="all labels"),
        pytest.param(Match(metadata={"env": "prod"}), False, id="metadata"),
    ],
)
def test_a_rule_matches(match: Match, expected: bool) -> None:
    assert matches(match, job(), {"team": "search"}) is expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("gpt-4o*", True), ("ft:gpt-4o:*", True), ("ft:*:bot:*", True), ("*bot*", True), ("bot", False), ("GPT*", False)],
)
def test_a_model_goes_by_its_name_its_base_and_what_is_made_of_it(pattern: str, expected: bool) -> None:
    again = job(model="ft:gpt-4o:acme::1", fine_tuned_model="ft:gpt-4o:acme:bot:2")
    assert matches(Match(models=(pattern,)), again, {}) is expected


def test_what_the_vendor_says_of_a_code_comes_before_its_words() -> None:
    told = JobError(code="server_error", message="quota", failure=FailureClass.PROVIDER, hint="Ask them.")
    assert (triage(told).cls, triage(told).hint) == (FailureClass.PROVIDER, "Ask them.")


def test_all_pairs_of_metadata_must_be_there() -> None:
    of = job(metadata={"env": "prod", "run": "7"})
    assert matches(Match(metadata={"env": "prod"}), of, {})
    assert not matches(Match(metadata={"env": "test"}), of, {})
    assert not matches(Match(metadata={"env": "prod", "x": "y"}), of, {})


def test_a_notifier_hears_by_the_word_that_its_first_rule_asks_for() -> None:
    appears = moved(None, S.RUNNING, TransitionKind.APPEARED)
    rules = (
        Rule(on=on("appeared"), notify=("a",)),
        Rule(on=on("started"), notify=("a", "b")),
    )
    assert dict(route_job(appears, job(), rules, {})) == {"a": "appeared", "b": "started"}
    assert dict(route_job(appears, job(), rules[::-1], {})) == {"a": "started", "b": "started"}
    assert not route_job(moved(None, S.FAILED, TransitionKind.BASELINE), job(), (Rule(notify=("a",)),), {})


def trouble(reason: Reason, retry_after: float | None = None) -> Trouble:
    return Trouble(reason=reason, text="…", retry_after=retry_after)


@pytest.mark.parametrize(
    ("active", "failures", "what", "least", "most"),
    [
        pytest.param(True, 0, None, 28.5, 30, id="active"),
        pytest.param(False, 0, None, 285, 300, id="idle"),
        pytest.param(True, 1, trouble(Reason.UNAVAILABLE), 0.5, 30, id="the first failure"),
        pytest.param(True, 3, trouble(Reason.UNAVAILABLE), 0.5, 120, id="the third"),
        pytest.param(True, 99, trouble(Reason.MALFORMED), 0.5, 300, id="five minutes at most"),
        pytest.param(True, 9, trouble(Reason.RATE_LIMITED, 7.0), 7.0, 7.7, id="what the provider asks for"),
        pytest.param(True, 1, trouble(Reason.RATE_LIMITED, 0.0), 0.5, 0.55, id="but never a hot loop"),
        pytest.param(True, 1, trouble(Reason.AUTH), 150, 300, id="a refused key waits for people"),
    ],
)
def test_the_next_poll_comes(active: bool, failures: int, what: Trouble | None, least: float, most: float) -> None:
    for jitter in (0.0, 0.5, 0.999999):
        delay = next_delay(Pace(), active=active, failures=failures, trouble=what, jitter=jitter)
        assert least <= delay <= most


@pytest.mark.parametrize(
    ("pace", "failures", "longest"),
    [
        *((Pace(), failures, longest) for failures, longest in ((1, 30), (2, 60), (3, 120), (4, 240), (5, 300))),
        *((Pace(interval=1.0), failures, longest) for failures, longest in ((1, 1), (4, 8), (5, 10), (10_000, 10))),
    ],
)
def test_the_bound_doubles_with_each_failure(pace: Pace, failures: int, longest: float) -> None:
    what = trouble(Reason.UNAVAILABLE)
    assert next_delay(pace, active=True, failures=failures, trouble=what, jitter=1.0) == longest


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, FailureClass.UNKNOWN),
        (JobError(), FailureClass.UNKNOWN),
        (JobError(code="server_error"), FailureClass.PROVIDER),
        (JobError(code="invalid_n_examples", message="Training file has 7 example(s)"), FailureClass.FILE),
        (JobError(code="invalid_training_file"), FailureClass.FILE),
        (JobError(code="unsafe_file"), FailureClass.MODERATION),
        (
            JobError(code="odd", message="blocked because too many examples were flagged by our moderation"),
            "moderation",
        ),
        (JobError(code="insufficient_quota"), FailureClass.QUOTA),
        (JobError(code="x", failure=FailureClass.PERMISSION), FailureClass.PERMISSION),
        (JobError(message="The job failed due to an internal error"), FailureClass.PROVIDER),
        (JobError(code="x", param="hyperparameters.n_epochs"), FailureClass.SETTINGS),
    ],
)
def test_a_failure_is_of_class(error: JobError | None, expected: FailureClass) -> None:
    failure = triage(error)
    assert failure.cls == expected
    assert failure.hint
    assert failure.retryable is (expected in (FailureClass.PROVIDER, FailureClass.QUOTA))
