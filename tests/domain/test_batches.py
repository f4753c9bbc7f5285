"""Batches go the same way as fine-tuning jobs: poll, decide, commit, news; what they cost and count is their own."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from monitor.domain.counters import increments
from monitor.domain.decide import Policy, decide, evolve
from monitor.domain.flow import CounterIncrement, Tracked
from monitor.domain.model import (
    UNKNOWN_COST,
    Basis,
    Batch,
    Cost,
    Job,
    JobKind,
    Status,
    TokenCount,
    listed_id,
    stored_id,
)
from monitor.domain.news import EventType, Severity
from monitor.domain.pricing import Prices, TokenPrices, TokenRate, batch_price
from monitor.domain.replay import as_of
from monitor.domain.routing import Match, Rule
from monitor.providers.openai.naming import NAMING
from tests.builders import HOUR, MINUTE, NOON, job, known, read, seen, tracked
from tests.store.samples import transition

TUNED = "ft:gpt-4o-mini-2024-07-18:acme:support:a1b2c3d4"
ASKED = Batch(endpoint="/v1/responses", total=100, completed=0, failed=0, input_file="file-in", expires_at=NOON + HOUR)
DONE = replace(
    ASKED,
    completed=98,
    failed=2,
    output_file="file-out",
    error_file="file-errors",
    tokens=TokenCount(input=1_000_000, cached_input=0, output=500_000),
)
RULES = (Rule(notify=("ops",), on=frozenset(EventType)),)
PRICES = Prices(
    tokens=(
        TokenRate(
            models=("gpt-4o-mini-2024-07-18",),
            prices=TokenPrices(input=Decimal(4), output=Decimal(16)),
            batch=TokenPrices(input=Decimal(2), output=Decimal(8)),
            valid_from=date(2026, 11, 1),
        ),
    ),
    naming=NAMING,
)
POLICY = Policy(rules=RULES, prices=PRICES)


def batch(status: Status = Status.RUNNING, of: Batch = ASKED, **over: Any) -> Job:
    return job("batch:batch_1", status, **{"model": TUNED, "batch": of, "started_at": NOON - 30 * MINUTE, **over})


def of(status: Status = Status.RUNNING, detail: Batch = ASKED, **over: Any) -> Tracked:
    return tracked(batch(status, detail), **over)


def test_a_batch_and_a_job_of_the_same_id_are_two() -> None:
    both = seen(batch(), job("batch_1"))
    change = decide(known(), both, POLICY)
    assert [one.key for one in change.deliveries] == ["research/batch:batch_1/1@ops", "research/batch_1/1@ops"]
    assert [one.message.type for one in change.deliveries] == ["finetune.batch.started", "finetune.job.started"]
    after = evolve(known(), change)
    ended = decide(after, seen(batch(Status.SUCCEEDED, DONE, finished_at=NOON), job("batch_1")), POLICY)
    assert [(one.job, one.seq, one.after) for one in ended.transitions] == [("batch:batch_1", 2, Status.SUCCEEDED)]
    assert after.of({JobKind.FINE_TUNING}).jobs.keys() == {"batch_1"}
    assert after.of({JobKind.BATCH}).jobs.keys() == {"batch:batch_1"}
    assert after.of({*JobKind}) is after


def test_the_end_of_a_batch_is_told_with_its_figures() -> None:
    change = decide(known(of()), seen(batch(Status.SUCCEEDED, DONE, finished_at=NOON)), POLICY)
    [delivery] = change.deliveries
    message, view = delivery.message, json.loads(delivery.message.data)["job"]
    assert message.facts == (
        ("Organisation", "research"),
        ("Model", TUNED),
        ("Duration", "30m"),
        ("Queued for", "30m"),
        ("Endpoint", "/v1/responses"),
        ("Requests", "98 of 100 answered, 2 failed"),
        ("Tokens", "1,000,000 in, 500,000 out"),
        ("Output", "file-out"),
        ("Errors", "file-errors"),
        ("Cost", "$6.00"),
        ("Batch", "batch_1"),
    )
    assert (message.title, message.severity) == ("batch_1 succeeded", Severity.WARNING)
    assert (view["id"], view["kind"], view["provider_id"]) == ("batch:batch_1", "batch", "batch_1")
    assert view["batch"] == {
        "endpoint": "/v1/responses",
        "requests": {"total": 100, "completed": 98, "failed": 2},
        "tokens": {"input": 1_000_000, "cached_input": 0, "output": 500_000},
        "input_file": "file-in",
        "output_file": "file-out",
        "error_file": "file-errors",
        "expires_at": "2026-11-22T13:00:00Z",
    }
    assert (change.spendings, change.tuned) == ((), ()), "budgets know it from the provider's report of use"


def test_a_batch_whose_requests_are_all_answered_looks_good_and_one_that_runs_says_when_it_expires() -> None:
    good = decide(known(of()), seen(batch(Status.SUCCEEDED, replace(DONE, failed=0))), POLICY)
    assert good.deliveries[0].message.severity is Severity.GOOD
    begins = decide(known(tracked(batch(Status.VALIDATING, started_at=None))), seen(batch()), POLICY)
    assert dict(begins.deliveries[0].message.facts)["Expires"] == "13:00 UTC"


def test_routes_tell_batches_from_jobs() -> None:
    rules = (Rule(match=Match(kinds=frozenset({JobKind.BATCH})), notify=("ops",), on=frozenset(EventType)),)
    change = decide(known(), seen(batch(), job("ftjob-1")), Policy(rules=rules))
    assert [one.subject.id for one in change.deliveries] == ["batch:batch_1"]


def test_counts_are_a_sign_of_life_and_what_stands_still_stalls() -> None:
    policy, quiet = Policy(stall_after={Status.RUNNING: HOUR}), of(last_activity_at=NOON - 2 * HOUR)
    nothing = read(job_id="batch:batch_1", whole=True)
    still = decide(known(quiet), seen(batch(), reads=(nothing,)), policy)
    assert [one.kind.value for one in still.transitions] == ["stalled"]
    goes_on = decide(known(quiet), seen(batch(of=replace(ASKED, completed=1)), reads=(nothing,)), policy)
    assert goes_on.transitions == ()
    assert goes_on.tracked[0].last_activity_at == NOON


def test_what_comes_late_of_an_ended_batch_fills_in_and_takes_nothing_back() -> None:
    bare = replace(DONE, tokens=None, output_file=None)
    ended = of(Status.SUCCEEDED, bare, cost=UNKNOWN_COST)
    change = decide(known(ended), seen(batch(Status.SUCCEEDED, replace(DONE, error_file=None, completed=0))), POLICY)
    [now] = change.tracked
    assert now.job.batch == DONE
    assert now.cost == Cost(basis=Basis.COMPUTED, usd=Decimal(6))
    assert decide(known(now), seen(batch(Status.SUCCEEDED, DONE)), POLICY).tracked == ()


@pytest.mark.parametrize(
    ("of_", "cost"),
    [
        pytest.param(batch(Status.SUCCEEDED, DONE), Decimal(6), id="a tuned model at batch prices"),
        pytest.param(batch(Status.CANCELLED, DONE), Decimal(6), id="what was answered is charged, however it ended"),
        pytest.param(batch(Status.SUCCEEDED, DONE, model="gpt-4o-mini-2024-07-18"), None, id="a base model"),
        pytest.param(batch(Status.SUCCEEDED, replace(DONE, tokens=None)), None, id="no tokens"),
        pytest.param(batch(Status.FAILED, replace(DONE, tokens=TokenCount()), model="x"), Decimal(0), id="none used"),
        pytest.param(
            batch(Status.SUCCEEDED, DONE, created_at=NOON - 700 * HOUR, finished_at=NOON - 600 * HOUR),
            None,
            id="before the price held",
        ),
        pytest.param(
            batch(Status.SUCCEEDED, DONE, created_at=None, finished_at=None), None, id="at no time that is known"
        ),
        pytest.param(
            batch(Status.SUCCEEDED, replace(DONE, tokens=TokenCount(cached_input=1))), None, id="a kind has no price"
        ),
        pytest.param(batch(Status.SUCCEEDED, replace(DONE, tokens=TokenCount(input=10**14))), None, id="beyond belief"),
        pytest.param(job(status=Status.SUCCEEDED), None, id="no batch"),
    ],
)
def test_what_a_batch_cost(of_: Job, cost: Decimal | None) -> None:
    expected = UNKNOWN_COST if cost is None else Cost(basis=Basis.COMPUTED, usd=cost)
    assert batch_price(of_, PRICES) == expected


def test_a_price_that_rests_on_shared_data_is_not_known() -> None:
    [rate] = PRICES.tokens
    shared = TokenPrices(input=Decimal(1), output=Decimal(4))
    assert batch_price(batch(Status.SUCCEEDED, DONE), replace(PRICES, tokens=(replace(rate, shared=shared),))) == (
        UNKNOWN_COST
    )


ORG, MODEL, STATUS = ("org", "research"), ("model", TUNED), ("status", "succeeded")


def one(metric: str, amount: int, *labels: tuple[str, str]) -> CounterIncrement:
    return CounterIncrement(metric=metric, labels=(ORG, MODEL, *labels), amount=amount)


ENDED = tracked(
    batch(Status.SUCCEEDED, DONE, finished_at=NOON), cost=Cost(basis=Basis.COMPUTED, usd=Decimal("0.0000003"))
)
OVER = [
    one("batches_finished", 1, ("endpoint", "/v1/responses"), STATUS),
    one("batch_seconds_bucket", 1, STATUS, ("le", "3600.0")),
    one("batch_milliseconds", 3_600_000, STATUS),
]
REQUESTS = [
    one("batch_requests", 98, ("result", "completed")),
    one("batch_requests", 2, ("result", "failed")),
]
TOKENS = [
    one("batch_tokens", 1_000_000, ("kind", "input")),
    one("batch_tokens", 0, ("kind", "cached_input")),
    one("batch_tokens", 500_000, ("kind", "output")),
]
COST = [one("batch_cost_nanodollars", 300)]
BARE = replace(ENDED, job=replace(ENDED.job, batch=replace(DONE, tokens=None)), cost=UNKNOWN_COST)
EMPTY = tracked(batch(Status.SUCCEEDED, Batch(), created_at=None))


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        pytest.param(None, of(), [], id="a batch that runs"),
        pytest.param(of(Status.VALIDATING), of(), [], id="its start"),
        pytest.param(of(), ENDED, [*OVER, *REQUESTS, *TOKENS, *COST], id="its end"),
        pytest.param(None, ENDED, [*OVER, *REQUESTS, *TOKENS, *COST], id="the end of one that was not known"),
        pytest.param(ENDED, replace(ENDED, finalized=True), [], id="an end counts once"),
        pytest.param(BARE, ENDED, [*TOKENS, *COST], id="what comes late counts when it comes"),
        pytest.param(None, EMPTY, [one("batches_finished", 1, ("endpoint", "unknown"), STATUS)], id="little is known"),
    ],
)
def test_counters(was: Tracked | None, now: Tracked, expected: list[CounterIncrement]) -> None:
    assert list(increments(was, now)) == expected


def test_a_replay_shows_of_an_earlier_state_what_never_changes() -> None:
    ended = of(Status.SUCCEEDED, DONE, seq=3)
    earlier = as_of(ended, transition("batch:batch_1", 1, after=Status.VALIDATING))
    assert earlier.job.batch == Batch(endpoint="/v1/responses", input_file="file-in", expires_at=NOON + HOUR)
    assert as_of(ended, transition("batch:batch_1", 3, after=Status.SUCCEEDED)) == ended


@pytest.mark.parametrize(
    ("of_", "progress"),
    [
        pytest.param(batch(), 0.0, id="none yet"),
        pytest.param(batch(of=replace(ASKED, completed=40, failed=10)), 0.5, id="answered or refused"),
        pytest.param(batch(of=replace(ASKED, total=None)), None, id="not counted"),
        pytest.param(batch(of=replace(ASKED, completed=400)), 1.0, id="more than there are"),
        pytest.param(batch(Status.SUCCEEDED, of=replace(ASKED, completed=1)), 1.0, id="all, once it succeeded"),
    ],
)
def test_progress_is_that_of_its_requests(of_: Job, progress: float | None) -> None:
    assert of_.progress == progress


@pytest.mark.parametrize(
    ("listed", "lists", "stored"),
    [
        pytest.param("a", {}, "a", id="the usual list"),
        pytest.param("dpo:a", {}, "dpo:a", id="another list"),
        pytest.param("dpo:a", {"a": "dpo"}, "a", id="stored when ids did not name their list"),
        pytest.param("reinforcement:a", {"a": "dpo"}, "reinforcement:a", id="another list than the stored one's"),
        pytest.param("a", {"a": "dpo"}, "supervised:a", id="the usual list, but the id is taken"),
        pytest.param("b", {"a": "dpo"}, "b", id="another id"),
        pytest.param("supervised:b", {"a": "dpo"}, "supervised:b", id="a server's own id"),
        pytest.param("arn:x:a", {"a": "dpo"}, "arn:x:a", id="of another provider"),
    ],
)
def test_ids_of_several_lists_are_told_apart_and_stored_ones_stay(
    listed: str, lists: dict[str, str], stored: str
) -> None:
    assert stored_id(listed, lists) == stored
    assert listed_id(stored, lists) == listed
