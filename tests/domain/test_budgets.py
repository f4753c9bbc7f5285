"""What counts against a budget, in which period, and which threshold it crosses."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.budgets import Budget, BudgetRecords, Period, Span, Sum, add_up, crossed, period_of, since
from monitor.domain.costs import Spending, TokenDollars, Usage
from monitor.domain.model import UNKNOWN_COST, Basis, Cost, Method, TokenCount
from monitor.domain.routing import Match, OrgRef
from monitor.providers.openai.naming import NAMING
from tests.builders import NOON, job, tracked

RESEARCH = OrgRef(org="research", provider="openai", labels={"team": "search"}, naming=NAMING)
LEGAL = OrgRef(org="legal", provider="azure", labels={"team": "law"})
ACCOUNTS = (RESEARCH, LEGAL)
MODEL = "gpt-4o-mini-2024-07-18"


def budget(**over: Any) -> Budget:
    return Budget(**{"name": "search", "amount": Decimal(500), "period": Period.MONTH, **over})


def spending(usd: str = "10", at: datetime = NOON, **over: Any) -> Spending:
    fields: dict[str, Any] = {
        "org": "research",
        "job": "ftjob-1",
        "provider": "openai",
        "model": MODEL,
        "method": Method.SUPERVISED,
    }
    return Spending(at=at, usd=Decimal(usd), **{**fields, **over})


def active(usd: str | None, basis: Basis = Basis.ESTIMATED, **over: Any) -> Any:
    cost = Cost(basis=basis, usd=Decimal(usd)) if usd is not None else None
    return tracked(job(**over), cost=cost)


def used(usd: str | None, at: datetime = NOON, **over: Any) -> Usage:
    dollars = TokenDollars(input=Decimal(usd), cached_input=Decimal(0), output=Decimal(0)) if usd else None
    fields = {"org": "research", "project": "", "model": f"ft:{MODEL}:acme::abc", "batch": False}
    return Usage(**{**fields, "day": at.date(), "tokens": TokenCount(input=5), "usd": dollars, **over})


@pytest.mark.parametrize(
    ("period", "now", "id_", "start", "end"),
    [
        pytest.param("day", "2026-11-23T09:00", "2026-11-23", "2026-11-23", "2026-11-24", id="a day"),
        pytest.param("day", "2026-12-31T23:59", "2026-12-31", "2026-12-31", "2027-01-01", id="the last of a year"),
        pytest.param("week", "2026-11-23T00:00", "2026-W48", "2026-11-23", "2026-11-30", id="a Monday begins a week"),
        pytest.param("week", "2026-11-29T23:59", "2026-W48", "2026-11-23", "2026-11-30", id="a Sunday ends it"),
        pytest.param("week", "2027-01-01T12:00", "2026-W53", "2026-12-28", "2027-01-04", id="a week of two years"),
        pytest.param("month", "2026-11-30T23:59", "2026-11", "2026-11-01", "2026-12-01", id="a month"),
        pytest.param("month", "2026-12-01T00:00", "2026-12", "2026-12-01", "2027-01-01", id="the month after"),
        pytest.param("month", "2028-02-29T12:00", "2028-02", "2028-02-01", "2028-03-01", id="a leap day"),
    ],
)
def test_periods_are_those_of_the_calendar_in_utc(period: str, now: str, id_: str, start: str, end: str) -> None:
    moment, first, after = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (now, start, end))
    assert period_of(Period(period), moment) == Span(id=id_, start=first, end=after)


def test_total_is_one_period_for_ever() -> None:
    assert period_of(Period.TOTAL, NOON) == Span(id="total", start=None, end=None)


def test_another_time_zone_changes_no_period() -> None:
    west = timezone(timedelta(hours=-8))
    late = datetime(2026, 11, 30, 20, 0, tzinfo=west)  # December in UTC
    assert period_of(Period.MONTH, late).id == "2026-12"


@given(st.timedeltas(timedelta(0), timedelta(days=80_000)), st.sampled_from(list(Period)[:3]))
def test_every_moment_is_in_its_period_and_the_next_begins_where_it_ends(since_1970: timedelta, period: Period) -> None:
    now = datetime(1970, 1, 1, tzinfo=UTC) + since_1970
    span = period_of(period, now)
    assert span.start is not None
    assert span.end is not None
    assert span.start <= now < span.end
    assert span.has(now.date())
    assert period_of(period, span.end).start == span.end
    assert period_of(period, span.start).id == span.id != period_of(period, span.end).id


def test_the_books_are_asked_from_the_first_moment_that_any_budget_counts() -> None:
    month, day = budget(), budget(period=Period.DAY)
    assert since([month, day], NOON) == datetime(2026, 11, 1, tzinfo=UTC)
    assert since([day], NOON) == datetime(2026, 11, 21, tzinfo=UTC)
    assert since([month, budget(period=Period.TOTAL)], NOON) is None


@pytest.mark.parametrize(
    ("of", "books", "expected"),
    [
        pytest.param(budget(), BudgetRecords(), Sum(), id="nothing was spent"),
        pytest.param(
            budget(),
            BudgetRecords(spendings=(spending("10"), spending("2.40", job="ftjob-2"))),
            Sum(computed=Decimal("12.40")),
            id="what ended this month",
        ),
        pytest.param(
            budget(),
            BudgetRecords(
                spendings=(
                    spending("1", datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC)),
                    spending("2", datetime(2026, 11, 1, tzinfo=UTC)),
                    spending("4", datetime(2026, 12, 1, tzinfo=UTC)),
                )
            ),
            Sum(computed=Decimal(2)),
            id="what ended in another month belongs to that",
        ),
        pytest.param(
            budget(period=Period.TOTAL),
            BudgetRecords(spendings=(spending("1", NOON - timedelta(days=900)), spending("2"))),
            Sum(computed=Decimal(3)),
            id="a total never begins anew",
        ),
        pytest.param(
            budget(period=Period.DAY),
            BudgetRecords(active=(active("7", created_at=NOON - timedelta(days=3)),)),
            Sum(estimated=Decimal(7)),
            id="an active job counts in full, whenever it began",
        ),
        pytest.param(
            budget(),
            BudgetRecords(active=(active(None), active("7"), tracked(job(), cost=UNKNOWN_COST))),
            Sum(estimated=Decimal(7), unknown_jobs=2),
            id="unknown costs count as nothing, and are counted",
        ),
        pytest.param(
            budget(include_usage=True),
            BudgetRecords(usages=(used("3"), used(None), used("5", NOON - timedelta(days=30)))),
            Sum(usage=Decimal(3)),
            id="use of the period counts where that is asked for, as far as its price is known",
        ),
        pytest.param(budget(), BudgetRecords(usages=(used("3"),)), Sum(), id="use does not count where it is not"),
        pytest.param(
            budget(include_usage=True, match=Match(metadata={"env": "prod"})),
            BudgetRecords(usages=(used("3"),), spendings=(spending("9", metadata={"env": "prod"}),)),
            Sum(computed=Decimal(9)),
            id="use has no metadata",
        ),
        pytest.param(
            budget(),
            BudgetRecords(
                spendings=(spending(org="gone"),),
                active=(active("9", org="gone"),),
                usages=(used("9", org="gone"),),
            ),
            Sum(),
            id="an organisation that is not configured any more",
        ),
    ],
)
def test_a_sum_is_of_what_ended_what_is_under_way_and_perhaps_of_use(
    of: Budget, books: BudgetRecords, expected: Sum
) -> None:
    assert add_up(of, books, ACCOUNTS, period_of(of.period, NOON), now=NOON) == expected


@pytest.mark.parametrize(
    ("match", "counts"),
    [
        pytest.param(Match(), True, id="everything"),
        pytest.param(Match(orgs=frozenset({"research"})), True, id="its organisation"),
        pytest.param(Match(orgs=frozenset({"legal"})), False, id="another organisation"),
        pytest.param(Match(providers=frozenset({"openai"})), True, id="its provider"),
        pytest.param(Match(providers=frozenset({"azure"})), False, id="another provider"),
        pytest.param(Match(labels={"team": "search"}), True, id="a label of its organisation"),
        pytest.param(Match(labels={"team": "law"}), False, id="another value of the label"),
        pytest.param(Match(labels={"region": "eu"}), False, id="a label it has not"),
        pytest.param(Match(models=("gpt-4o-mini*",)), True, id="its base"),
        pytest.param(Match(models=("ft:*:acme:*",)), True, id="the fine-tuned model"),
        pytest.param(Match(models=("gpt-4.1*",)), False, id="another base"),
    ],
)
def test_a_budget_counts_what_it_matches_alike_in_all_its_parts(match: Match, *, counts: bool) -> None:
    tuned = f"ft:{MODEL}:acme::abc"
    books = BudgetRecords(
        spendings=(spending("1", fine_tuned_model=tuned),),
        active=(active("2", fine_tuned_model=tuned),),
        usages=(used("4"),),
    )
    counted = add_up(budget(match=match, include_usage=True), books, ACCOUNTS, period_of(Period.MONTH, NOON), now=NOON)
    expected = [Decimal(1), Decimal(2), Decimal(4)] if counts else [Decimal(0)] * 3
    assert [counted.computed, counted.estimated, counted.usage] == expected


def test_metadata_of_jobs_are_asked_for() -> None:
    of = budget(match=Match(metadata={"env": "prod"}))
    books = BudgetRecords(
        spendings=(spending("1"), spending("2", metadata={"env": "prod", "x": "y"})),
        active=(active("4"), active("8", metadata={"env": "prod"})),
    )
    assert add_up(of, books, ACCOUNTS, period_of(Period.MONTH, NOON), now=NOON).spent == 10


@pytest.mark.parametrize(
    ("spent", "threshold"),
    [
        pytest.param("249.99", None, id="just below the first"),
        pytest.param("250", "0.5", id="the first"),
        pytest.param("399.999999999", "0.5", id="just below the second"),
        pytest.param("400", "0.8", id="the second"),
        pytest.param("500", "1", id="all of it"),
        pytest.param("1e9", "1", id="far more"),
    ],
)
def test_a_threshold_is_crossed_when_it_is_reached(spent: str, threshold: str | None) -> None:
    found = crossed(budget(), Decimal(spent))
    assert found == (Decimal(threshold) if threshold else None)


def test_sums_are_exact() -> None:
    tenth = spending("0.1")
    books = BudgetRecords(spendings=tuple(replace(tenth, job=f"ftjob-{n}") for n in range(3)))
    assert (
        crossed(
            budget(amount=Decimal("0.3")),
            add_up(budget(), books, ACCOUNTS, period_of(Period.MONTH, NOON), now=NOON).spent,
        )
        == 1
    )


def test_what_was_spent_under_a_former_name_counts_under_the_present_one_and_once() -> None:
    renamed = replace(RESEARCH, org="lab", was=("research",))
    both = BudgetRecords(
        spendings=(spending("10", org="research"), spending("10", org="lab"), spending("5", org="research", job="b")),
        usages=(used("1", org="research"), used("1", org="lab"), used("2", org="research", project="p")),
    ).renamed([renamed, LEGAL])
    assert {(one.org, one.job, one.usd) for one in both.spendings if one.org == "lab"} == {
        ("lab", "ftjob-1", Decimal(10)),
        ("lab", "b", Decimal(5)),
    }
    assert sorted(one.project for one in both.usages if one.org == "lab") == ["", "p"]
