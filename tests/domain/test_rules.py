"""Prices, routes, paces and causes, as tables."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from monitor.domain.flow import Kind, Reason, Transition, Trouble
from monitor.domain.model import Basis, JobError, Method, Status, Training
from monitor.domain.pace import Pace, next_delay
from monitor.domain.pricing import Rate, base_model, dollars, price
from monitor.domain.routing import Match, Rule, matches, route, words
from monitor.domain.tallies import tallies
from monitor.domain.triage import FailureClass, triage
from tests.builders import HOUR, MINUTE, NOON, job, tracked

TOKENS = frozenset({Method.SUPERVISED, Method.DPO})
RATES = (
    Rate(models=("gpt-3.5-turbo", "gpt-3.5-turbo-0613"), methods=TOKENS, per_million=Decimal(8)),
    Rate(models=("mini",), methods=TOKENS, per_million=Decimal(3), valid_until=date(2026, 11, 21)),
    Rate(models=("mini",), methods=TOKENS, per_million=Decimal(4), valid_from=date(2026, 11, 22)),
    Rate(models=("o4-mini",), methods=frozenset({Method.REINFORCEMENT}), per_hour=Decimal(100)),
)
RFT: dict[str, Any] = {"model": "o4-mini", "method": Method.REINFORCEMENT}


@pytest.mark.parametrize(
    ("over", "usd"),
    [
        pytest.param(
            {"model": "gpt-3.5-turbo-0613", "trained_tokens": 300_000}, "2.4", id="the announcement's example"
        ),
        pytest.param(
            {"model": "ft:gpt-3.5-turbo:acme::x", "trained_tokens": 300_000}, "2.4", id="a tuned model's base"
        ),
        pytest.param({"model": "gpt-3.5-turbo", "method": Method.DPO, "trained_tokens": 1}, "0.000008", id="one token"),
        pytest.param({"model": "gpt-3.5-turbo", "trained_tokens": None}, None, id="no tokens, no cost"),
        pytest.param({"model": "gpt-3.5-turbo-9999", "trained_tokens": 5}, None, id="no price, no cost"),
        pytest.param({"model": "mini", "trained_tokens": 10**6, "finished_at": NOON}, "4", id="the price of the day"),
        pytest.param({"model": "mini", "trained_tokens": 10**6, "finished_at": NOON - 24 * HOUR}, "3", id="of its day"),
        pytest.param({**RFT, "training": Training(loop_seconds=14_400.0)}, "400", id="four hours of core training"),
        pytest.param({**RFT, "training": Training(loop_seconds=100.0)}, "3", id="hours have two decimals"),
        pytest.param({**RFT, "trained_tokens": 10**6}, None, id="hours unknown"),
        pytest.param(
            {"model": "gpt-3.5-turbo", "method": Method.REINFORCEMENT, "trained_tokens": 5}, None, id="method"
        ),
        pytest.param({"model": "gpt-3.5-turbo", "provider": "azure", "trained_tokens": 5}, None, id="provider"),
    ],
)
def test_a_job_costs(over: dict[str, Any], usd: str | None) -> None:
    cost = price(job(status=Status.SUCCEEDED, **over), RATES)
    assert cost.usd == (Decimal(usd) if usd is not None else None)
    assert cost.basis is (Basis.UNKNOWN if usd is None else Basis.COMPUTED)


@pytest.mark.parametrize(
    ("usd", "text"), [("2.4", "2.40"), ("400", "400.00"), ("0.000008", "0.000008"), ("1E+3", "1000.00"), ("0", "0.00")]
)
def test_dollars(usd: str, text: str) -> None:
    assert dollars(Decimal(usd)) == text


def test_the_base_of_a_model() -> None:
    assert base_model("ft:gpt-4o:acme:bot:id") == "gpt-4o"
    assert base_model("gpt-4o") == "gpt-4o"
    assert base_model("ft:") == ""


def moved(before: Status | None, after: Status, kind: Kind = Kind.MOVED, **over: Any) -> Transition:
    return Transition(org="research", job="ftjob-1", seq=2, at=NOON, kind=kind, before=before, after=after, **over)


S = Status


@pytest.mark.parametrize(
    ("transition", "expected"),
    [
        pytest.param(moved(None, S.FAILED, Kind.BASELINE), (), id="a baseline is never told"),
        pytest.param(moved(None, S.QUEUED, Kind.APPEARED), ("appeared",), id="a new job"),
        pytest.param(moved(None, S.RUNNING, Kind.APPEARED), ("started", "appeared"), id="a new job that runs already"),
        pytest.param(moved(None, S.FAILED, Kind.APPEARED), ("failed",), id="a new job that is over"),
        pytest.param(moved(S.QUEUED, S.RUNNING), ("started",), id="start"),
        pytest.param(moved(S.PAUSED, S.RUNNING, resumed=True), ("resumed",), id="resume"),
        pytest.param(moved(S.PAUSED, S.QUEUED, resumed=True), ("resumed",), id="resume by way of the queue"),
        pytest.param(moved(S.QUEUED, S.RUNNING, restarted=True), (), id="the second start is no start"),
        pytest.param(moved(S.RUNNING, S.PAUSED), ("paused",), id="pause"),
        pytest.param(moved(S.RUNNING, S.CANCELLED), ("cancelled",), id="cancel"),
        pytest.param(moved(S.RUNNING, S.UNKNOWN), (), id="an unknown status"),
        pytest.param(moved(S.RUNNING, S.UNKNOWN, Kind.GONE), (), id="gone"),
        pytest.param(moved(S.UNKNOWN, S.RUNNING, Kind.BACK), (), id="back"),
        pytest.param(moved(S.RUNNING, S.RUNNING, Kind.STALLED), ("stalled",), id="stall"),
    ],
)
def test_a_transition_goes_by(transition: Transition, expected: tuple[str, ...]) -> None:
    assert words(transition) == expected


def test_a_notifier_hears_once_however_many_rules_match() -> None:
    rules = (
        Rule(notify=("a", "b")),
        Rule(notify=("b", "c"), match=Match(orgs=frozenset({"other"}))),
        Rule(notify=("c", "a", "a")),
    )
    assert dict(route(moved(S.RUNNING, S.FAILED), job(), rules, {})) == {"a": "failed", "b": "failed", "c": "failed"}


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        pytest.param(Match(), True, id="everything"),
        pytest.param(Match(orgs=frozenset({"research", "x"})), True, id="org"),
        pytest.param(Match(orgs=frozenset({"x"})), False, id="another org"),
        pytest.param(Match(providers=frozenset({"azure"})), False, id="another provider"),
        pytest.param(Match(models=("gpt-4o*",)), True, id="model pattern"),
        pytest.param(Match(models=("gpt-4o",)), False, id="a pattern is for the whole name"),
        pytest.param(Match(labels={"team": "search"}), True, id="label"),
        pytest.param(Match(labels={"team": "search", "x": "y"}), False, id="all labels"),
        pytest.param(Match(metadata={"env": "prod"}), False, id="metadata"),
    ],
)
def test_a_rule_matches(match: Match, expected: bool) -> None:
    assert matches(match, job(), {"team": "search"}) is expected


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
        (JobError(code="training_not_available"), FailureClass.PERMISSION),
        (JobError(message="The job failed due to an internal error"), FailureClass.PROVIDER),
        (JobError(code="x", param="hyperparameters.n_epochs"), FailureClass.SETTINGS),
    ],
)
def test_a_failure_is_of_class(error: JobError | None, expected: FailureClass) -> None:
    failure = triage(error)
    assert failure.cls == expected
    assert failure.hint
    assert failure.retryable is (expected in (FailureClass.PROVIDER, FailureClass.QUOTA))


def test_each_fact_is_tallied_once() -> None:
    runs = tracked(job(started_at=NOON - 30 * MINUTE))
    ended = replace(runs, job=replace(runs.job, status=Status.FAILED, finished_at=NOON, trained_tokens=9))
    names = [tally.metric for tally in tallies(None, runs)]
    assert names == ["queue_seconds_bucket", "queue_milliseconds"]
    assert [(tally.metric, tally.amount) for tally in tallies(runs, ended)] == [
        ("jobs_finished", 1),
        ("job_failures", 1),
        ("run_seconds_bucket", 1),
        ("run_milliseconds", 1_800_000),
        ("trained_tokens", 9),
    ]
    assert list(tallies(ended, replace(ended, settled=True))) == []
