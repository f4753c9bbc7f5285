"""Routes, paces and causes, as tables."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from monitor.domain.flow import Reason, Transition, TransitionKind, Trouble
from monitor.domain.model import Basis, Cost, FailureClass, JobError, JobKind, Method, Status
from monitor.domain.pace import Pace, next_delay
from monitor.domain.routing import (
    AllowedChannel,
    Match,
    MentionFrom,
    NotifyFrom,
    Rule,
    event_types,
    matches,
    mismatches,
    route_job,
)
from monitor.domain.triage import triage
from tests.builders import NOON, job, on, tracked


def moved(before: Status | None, after: Status, kind: TransitionKind = TransitionKind.MOVED, **over: Any) -> Transition:
    return Transition(org="research", job="ftjob-1", seq=2, at=NOON, kind=kind, before=before, after=after, **over)


S = Status


@pytest.mark.parametrize(
    ("transition", "expected"),
    [
        pytest.param(moved(None, S.FAILED, TransitionKind.BASELINE), (), id="a baseline is never told"),
        pytest.param(moved(None, S.QUEUED, TransitionKind.APPEARED), ("appeared",), id="a new job"),
        pytest.param(
            moved(None, S.RUNNING, TransitionKind.APPEARED),
            ("started", "progress", "appeared"),
            id="a new job that runs already",
        ),
        pytest.param(moved(None, S.FAILED, TransitionKind.APPEARED), ("failed",), id="a new job that is over"),
        pytest.param(moved(S.SUCCEEDED, S.FAILED, TransitionKind.CORRECTED), ("failed",), id="another end after all"),
        pytest.param(moved(S.CANCELLED, S.RUNNING, TransitionKind.CORRECTED), ("resumed",), id="no end after all"),
        pytest.param(moved(S.QUEUED, S.RUNNING), ("started", "progress"), id="start"),
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


def events(transition: Transition, rules: Sequence[Rule], **over: Any) -> dict[str, str]:
    """The event that each address gets, of a job like this."""
    routed = route_job(transition, tracked(job(**over)), rules, {})
    return {address: recipient.event.value for address, recipient in routed.items()}


def test_a_notifier_hears_once_however_many_rules_match() -> None:
    rules = (
        Rule(notify=("a", "b")),
        Rule(notify=("b", "c"), match=Match(orgs=frozenset({"other"}))),
        Rule(notify=("c", "a", "a")),
    )
    assert events(moved(S.RUNNING, S.FAILED), rules) == {"a": "failed", "b": "failed", "c": "failed"}


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
    assert events(appears, rules) == {"a": "appeared", "b": "started"}
    assert events(appears, rules[::-1]) == {"a": "started", "b": "started"}
    assert not events(moved(None, S.FAILED, TransitionKind.BASELINE), (Rule(notify=("a",)),))


def test_who_was_notified_of_an_end_hears_that_it_was_none() -> None:
    rules = (
        Rule(on=on("cancelled"), notify=("told",)),
        Rule(match=Match(statuses=frozenset({S.CANCELLED})), on=on("cancelled"), notify=("by-status",)),
        Rule(on=on("resumed"), notify=("all",)),
        Rule(on=on("failed"), notify=("other",)),
    )
    corrected = moved(S.CANCELLED, S.RUNNING, TransitionKind.CORRECTED)
    assert events(corrected, rules) == dict.fromkeys(("told", "by-status", "all"), "resumed")
    corrected = moved(S.CANCELLED, S.FAILED, TransitionKind.CORRECTED)
    assert events(corrected, rules) == dict.fromkeys(("told", "by-status", "other"), "failed")


TEN: Any = Cost(basis=Basis.ESTIMATED, usd=Decimal(10))
QUOTA = JobError(code="exceeded_quota", failure=FailureClass.QUOTA)


@pytest.mark.parametrize(
    ("match", "over", "why"),
    [
        pytest.param(Match(kinds=frozenset({JobKind.FINE_TUNING})), {}, None, id="kind"),
        pytest.param(Match(kinds=frozenset({JobKind.BATCH})), {}, "kind is not batch", id="another kind"),
        pytest.param(Match(methods=frozenset({Method.SUPERVISED, Method.DPO})), {}, None, id="method"),
        pytest.param(Match(methods=frozenset({Method.DPO})), {}, "method is not dpo", id="another method"),
        pytest.param(Match(statuses=frozenset({S.FAILED})), {"status": S.FAILED}, None, id="status"),
        pytest.param(Match(statuses=frozenset({S.FAILED})), {}, "status is not failed", id="another status"),
        pytest.param(
            Match(error_classes=frozenset({FailureClass.QUOTA})),
            {"status": S.FAILED, "error": QUOTA},
            None,
            id="class of the error",
        ),
        pytest.param(
            Match(error_classes=frozenset({FailureClass.QUOTA})),
            {"status": S.CANCELLED, "error": QUOTA},
            "error_class is not quota",
            id="what did not fail has no class",
        ),
        pytest.param(
            Match(error_classes=frozenset({FailureClass.UNKNOWN})),
            {"status": S.FAILED},
            None,
            id="failed without a word",
        ),
        pytest.param(
            Match(metadata={"team": "search"}),
            {"metadata": {"team": "ads"}},
            "metadata is not team: search",
            id="metadata",
        ),
        pytest.param(Match(cost_at_least=Decimal(10)), {}, None, id="cost, just so"),
        pytest.param(Match(cost_at_least=Decimal("10.01")), {}, "cost is not at least $10.01", id="too cheap"),
    ],
)
def test_a_rule_asks_of_a_job(match: Match, over: dict[str, Any], why: str | None) -> None:
    assert mismatches(match, job(**over), {}, TEN) == ([why] if why else [])
    assert matches(match, job(**over), {}, TEN) is (why is None)


def test_a_cost_that_is_not_known_is_not_high() -> None:
    assert not matches(Match(cost_at_least=Decimal(1)), job(), {}, None)
    assert not matches(Match(cost_at_least=Decimal(1)), job(), {}, Cost(basis=Basis.UNKNOWN))


def test_the_walk_ends_at_a_rule_that_matches_and_is_the_last() -> None:
    rules = (
        Rule(on=on("failed"), notify=("oncall",), last=True),
        Rule(match=Match(orgs=frozenset({"other"})), notify=("x",), last=True),
        Rule(on=on("failed", "succeeded"), notify=("all",)),
    )
    assert events(moved(S.RUNNING, S.FAILED), rules) == {"oncall": "failed"}
    assert events(moved(S.RUNNING, S.SUCCEEDED), rules) == {"all": "succeeded"}, "it is not on that"


SAYS = NotifyFrom(
    key="notify",
    notifiers=frozenset({"ml", "ops"}),
    channels=(AllowedChannel(prefix="slack", notifier="bot", pattern="#team-*"),),
)


@pytest.mark.parametrize(
    ("says", "expected", "refused"),
    [
        ("ml", ["ml"], []),
        ("ops, ml ops", ["ops", "ml"], []),
        ("slack:#team-nlp", ["bot#team-nlp"], []),
        ("slack:#general", [], ["slack:#general"]),
        ("bot:#team-nlp", [], ["bot:#team-nlp"]),
        ("slack:#team-x/../y", [], ["slack:#team-x/../y"]),
        ("slack:#team-@here", [], ["slack:#team-@here"]),
        ("everybody ml", ["ml"], ["everybody"]),
        ("", [], []),
    ],
)
def test_a_job_says_who_is_notified_among_those_who_are_allowed(
    says: str, expected: list[str], refused: list[str]
) -> None:
    assert [[*part] for part in SAYS.read({"notify": says})] == [expected, refused]
    assert [*events(moved(S.RUNNING, S.FAILED), [Rule(notify_from=SAYS)], metadata={"notify": says})] == expected


def test_a_job_says_who_is_mentioned_only_by_what_the_operator_wrote() -> None:
    rules = (Rule(notify=("a",), mention_from=MentionFrom(key="owner", mentions={"ana": "<@U1>"})),)
    for says, expected in (("ana", "<@U1>"), ("<!channel>", None), ("", None)):
        of = tracked(job(metadata={"owner": says}))
        assert route_job(moved(S.RUNNING, S.FAILED), of, rules, {})["a"].mention == expected


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


@pytest.mark.parametrize("cls", FailureClass)
def test_the_hint_for_a_batch_does_not_speak_of_jobs(cls: FailureClass) -> None:
    error = JobError(failure=cls)
    assert not {"job", "jobs", "job's", "training"} & {*triage(error, JobKind.BATCH).hint.split()}
    assert triage(error, JobKind.BATCH).retryable is triage(error).retryable
