"""What a decision puts into the books: money spent, models made, the sizes of training files."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal

import pytest

from monitor.domain.costs import Spending, TunedModel
from monitor.domain.decide import Policy, decide, evolve
from monitor.domain.flow import Change, Known, Observation
from monitor.domain.model import UNKNOWN_COST, Basis, Cost, Job, Method, Metrics, Status, Training, TrainingSize
from monitor.domain.pricing import ModelEnd, Prices, Rate
from tests.builders import DAY, HOUR, MINUTE, NOON, SECOND, job, known, measured, read, seen, started, tracked, tuned

EIGHT = Rate(models=("turbo",), methods=frozenset({Method.SUPERVISED}), per_million=Decimal(8))
HOURLY = Rate(models=("o4",), methods=frozenset({Method.REINFORCEMENT}), per_hour=Decimal(100))
END = ModelEnd(models=("turbo",), base=date(2026, 9, 28), fine_tuned=date(2026, 10, 23))
BOOK = Prices(training=(EIGHT, HOURLY), ends=(END,))
POLICY = Policy(prices=BOOK)
SIZE = TrainingSize(tokens=100_000, low=100_000, high=100_000, examples=100, exact=True)
ACTIVE = job(model="turbo", training_file="file-1")
DONE = replace(
    tuned(ACTIVE, trained_tokens=300_000, fine_tuned_model="ft:turbo:acme::x"),
    status=Status.SUCCEEDED,
    finished_at=NOON - MINUTE,
    metadata={"team": "search"},
)
SPENT = Spending(
    org="research",
    job="ftjob-1",
    provider="openai",
    model="turbo",
    method=Method.SUPERVISED,
    at=NOON - MINUTE,
    usd=Decimal("2.4"),
    fine_tuned_model="ft:turbo:acme::x",
    metadata={"team": "search"},
)
MADE = TunedModel(org="research", id="ft:turbo:acme::x", base="turbo", shutdown=date(2026, 10, 23))


def test_what_a_job_cost_is_booked_when_it_ends_and_only_then() -> None:
    before = known(tracked(ACTIVE))
    assert decide(before, seen(ACTIVE), POLICY).spendings == ()
    change = decide(before, seen(DONE), POLICY)
    assert change.spendings == (SPENT,)
    after = evolve(before, change)
    assert decide(after, seen(DONE, at=NOON + SECOND), POLICY).spendings == ()
    settling = decide(after, seen(DONE, at=NOON + MINUTE, reads=(read(whole=True),)), POLICY)
    assert settling.tracked[0].finalized
    assert settling.spendings == ()
    assert settling.tuned == ()


def test_history_is_booked_at_first_sight() -> None:
    change = decide(Known(org="research"), seen(DONE, job("b", model="turbo")), POLICY)
    assert change.spendings == (SPENT,)
    assert change.tuned == (MADE,)
    assert change.counters == (), "counters start with what we see happen"


def test_a_job_that_came_and_went_unseen_is_booked() -> None:
    assert decide(known(), seen(DONE), POLICY).spendings == (SPENT,)


def test_what_is_known_late_is_booked_late_on_the_day_it_ended() -> None:
    ended = tracked(tuned(replace(DONE, finished_at=NOON - DAY), trained_tokens=None), cost=UNKNOWN_COST)
    change = decide(known(ended), seen(replace(DONE, finished_at=NOON - DAY)), POLICY)
    assert change.spendings == (replace(SPENT, at=NOON - DAY),)


ENDLESS = replace(DONE, finished_at=None, created_at=NOON - 40 * DAY)


@pytest.mark.parametrize(
    ("before", "ended", "at"),
    [
        pytest.param(known(tracked(ACTIVE)), ENDLESS, NOON, id="an end is when we saw it"),
        pytest.param(known(horizon=NOON - 50 * DAY), ENDLESS, NOON - 40 * DAY, id="it came and went"),
        pytest.param(Known(org="research"), ENDLESS, NOON - 40 * DAY, id="history is no cost of today"),
        pytest.param(
            Known(org="research"), replace(ENDLESS, started_at=NOON - 39 * DAY), NOON - 39 * DAY, id="but of its start"
        ),
    ],
)
def test_a_cost_without_an_end_is_booked(before: Known, ended: Job, at: datetime) -> None:
    [spending] = decide(before, seen(ended), replace(POLICY, lookback=50 * DAY)).spendings
    assert spending.at == at


@pytest.mark.parametrize("before", [Known(org="research"), known()], ids=["at first sight", "later"])
def test_a_cost_of_no_time_at_all_is_not_one_of_today(before: Known) -> None:
    change = decide(before, seen(replace(ENDLESS, created_at=None)), POLICY)
    assert [one.cost is not None and one.cost.usd for one in change.tracked] == [SPENT.usd]
    assert change.spendings == ()


def test_a_model_is_there_when_its_job_has_succeeded() -> None:
    early = tuned(ACTIVE, fine_tuned_model=MADE.id)
    failed = replace(DONE, status=Status.FAILED)
    assert decide(known(), seen(early), POLICY).tuned == decide(known(), seen(failed), POLICY).tuned == ()
    assert decide(known(tracked(early)), seen(DONE), POLICY).tuned == (MADE,)


def test_an_estimate_an_unknown_cost_and_a_failure_without_tokens_are_not_booked() -> None:
    unknown = tuned(replace(DONE, model="else"), fine_tuned_model=None)
    failed = tuned(replace(DONE, id="b", status=Status.FAILED), trained_tokens=None)
    early = tuned(replace(ACTIVE, id="c"), trained_tokens=10**6)
    change = decide(Known(org="research"), seen(unknown, failed, early), POLICY)
    assert [one.cost for one in change.tracked] == [
        UNKNOWN_COST,
        UNKNOWN_COST,
        Cost(basis=Basis.ESTIMATED, usd=Decimal(8)),
    ]
    assert change.spendings == ()


def test_a_model_is_listed_when_it_is_first_named_however_late() -> None:
    unnamed = tuned(DONE, fine_tuned_model=None)
    before = known(tracked(unnamed, cost=Cost(basis=Basis.COMPUTED, usd=Decimal("2.4"))))
    assert decide(before, seen(unnamed), POLICY).tuned == ()
    change = decide(before, seen(DONE), POLICY)
    assert (change.tuned, change.spendings) == ((MADE,), ())
    assert decide(evolve(before, change), seen(DONE), POLICY).tuned == ()


def test_a_model_knows_its_base_its_provider_s_calendar_and_whether_its_data_is_shared() -> None:
    again = tuned(replace(DONE, model="ft:turbo:acme::w", base_model="turbo"), shared=True)
    assert decide(known(), seen(again), POLICY).tuned == (replace(MADE, shared=True),)
    elsewhere = replace(POLICY, prices=POLICY.prices.of("azure", seller=None))
    assert decide(known(), seen(DONE), elsewhere).tuned == (replace(MADE, shutdown=None),)


def sized(of: Job, *, at: int = 0) -> Observation:
    return seen(at=NOON + at * SECOND, listed=False, sizes={of.id: SIZE})


def test_a_size_gives_an_estimate_is_kept_and_is_no_sign_of_life() -> None:
    before = known(tracked(ACTIVE), tracked(job("b")))
    change = decide(before, sized(ACTIVE), POLICY)
    [now] = change.tracked
    assert (now.size, now.cost) == (SIZE, Cost(basis=Basis.ESTIMATED, usd=Decimal("2.4")))
    assert now.last_activity_at == before.jobs["ftjob-1"].last_activity_at
    assert not change.empty
    after = evolve(before, change)
    assert decide(after, seen(ACTIVE, job("b")), POLICY).empty, "it stays without being read again"
    assert decide(after, sized(ACTIVE), POLICY).empty, "nor is there news in the same size"


def test_a_size_of_a_job_that_is_not_known_changes_nothing() -> None:
    assert decide(known(tracked(ACTIVE)), seen(listed=False, sizes={"else": SIZE}), POLICY).empty


def test_an_estimate_by_size_follows_the_epochs_and_gives_way_to_what_was_computed() -> None:
    before = known(tracked(ACTIVE, size=SIZE))
    change = decide(before, seen(tuned(ACTIVE, epochs=2)), POLICY)
    assert change.tracked[0].cost == Cost(basis=Basis.ESTIMATED, usd=Decimal("1.6"))
    assert decide(evolve(before, change), seen(DONE), POLICY).spendings == (SPENT,)


RFT = job(model="o4", method=Method.REINFORCEMENT, started_at=NOON - 2 * HOUR)


def test_time_in_pauses_is_not_estimated_with() -> None:
    paused = tracked(replace(RFT, status=Status.PAUSED), since=NOON - HOUR, paused=10 * MINUTE)
    still = decide(known(paused), seen(paused.job), POLICY)
    assert still.tracked == ()
    goes_on = decide(known(paused), seen(RFT, reads=(read(measured(5, 10), started(NOON - 2 * HOUR)),)), POLICY)
    [now] = goes_on.tracked
    assert now.paused == 70 * MINUTE
    assert now.cost == Cost(basis=Basis.ESTIMATED, usd=Decimal(167)), (
        "50 minutes for five of ten steps, to the hundredth of an hour"
    )
    later = decide(known(now), seen(replace(RFT, status=Status.QUEUED), at=NOON + HOUR), POLICY)
    assert later.tracked[0].paused == 70 * MINUTE, "what was no pause adds nothing"


def test_a_reinforcement_job_is_booked_once_all_its_steps_are_told() -> None:
    told = Training(latest=Metrics(step=2, steps=2), loop_seconds=3600.0, counted_step=1, timed_steps=1)
    before = known(tracked(replace(RFT, training=told)))
    over = replace(RFT, status=Status.SUCCEEDED, finished_at=NOON)
    ended = decide(before, seen(over), POLICY)
    assert ended.spendings == ()
    assert ended.tracked[0].cost == Cost(basis=Basis.ESTIMATED, usd=Decimal(100))
    events = read(measured(1, 2, loop_seconds=3600.0), measured(2, 2, loop_seconds=1800.0), whole=True)
    finalized = decide(evolve(before, ended), seen(over, at=NOON + MINUTE, reads=(events,)), POLICY)
    assert [(one.at, one.usd) for one in finalized.spendings] == [(NOON, Decimal(150))]
    assert [one.amount for one in finalized.counters if one.metric == "cost_nanodollars"] == [150 * 10**9]


def test_a_change_with_a_spending_or_a_model_alone_is_not_empty() -> None:
    nothing = Change(org="research", based_on=1, at=NOON)
    assert nothing.empty
    assert not replace(nothing, spendings=(SPENT,)).empty
    assert not replace(nothing, tuned=(MADE,)).empty
