"""The books are right after any import, however often it is made, and a notice is told once, ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from monitor.domain.costs import Bill, Spending, TokenDollars, TrainingDay, TunedModel, Usage
from monitor.domain.model import Basis, Cost, Method, TokenCount
from monitor.domain.news import News, Subject, SubjectKind
from monitor.store import ImportState, Stale, Stores
from tests.builders import DAY, HOUR, NOON, job, tracked
from tests.store.conftest import Opening
from tests.store.samples import change, delivery, ended

MODEL = "ft:gpt-4o-mini-2024-07-18:acme::abc"
TODAY = NOON.date()
YESTERDAY = TODAY - timedelta(days=1)
ALL = ("research", "search")


def used(day: date = TODAY, *, tokens: tuple[int, int, int] = (100, 10, 50), cents: int = 1, **over: Any) -> Usage:
    usd = TokenDollars(input=Decimal(cents) / 100, cached_input=Decimal(cents) / 1000, output=Decimal(cents) / 50)
    count = TokenCount(input=tokens[0], cached_input=tokens[1], output=tokens[2])
    return Usage(**{"org": "research", "project": "p1", "model": MODEL, "batch": False, "usd": usd, **over, "day": day,
                    "tokens": count})  # fmt: skip


def billed(usd: str, day: date = TODAY, *, item: str = "ft-gpt-4o-mini-2024-07-18, input", project: str = "p1") -> Bill:
    return Bill(org="research", project=project, line_item=item, day=day, usd=Decimal(usd))


async def tallied(store: Stores) -> dict[tuple[str, str], int]:
    snapshot = await store.reader.snapshot(NOON, orgs=ALL, job_retention=DAY, max_jobs=10)
    return {(one.metric, dict(one.labels)["kind"]): one.amount for one in snapshot.counters}


async def usages(store: Stores) -> dict[date, tuple[int, int, int]]:
    found = (await store.costs.spent(None, ALL)).usages
    return {one.day: (one.tokens.input, one.tokens.cached_input, one.tokens.output) for one in found}


async def test_usage_that_is_imported_again_counts_once_and_what_grew_counts_in_full(opening: Opening) -> None:
    async with opening() as store:
        for _ in range(3):
            await store.costs.record_usage("research", [used(YESTERDAY), used(TODAY)], until=YESTERDAY)
    async with opening() as store:
        await store.costs.record_usage("research", [used(TODAY, tokens=(150, 10, 60), cents=2)], until=TODAY)
        assert await usages(store) == {YESTERDAY: (100, 10, 50), TODAY: (150, 10, 60)}
        assert await tallied(store) == {
            ("usage_tokens", "input"): 250,
            ("usage_tokens", "cached_input"): 20,
            ("usage_tokens", "output"): 110,
            ("usage_nanodollars", "input"): 30_000_000,
            ("usage_nanodollars", "cached_input"): 3_000_000,
            ("usage_nanodollars", "output"): 60_000_000,
        }
        assert await store.costs.imported("research") == ImportState(usage_until=TODAY)


async def test_a_count_that_was_higher_before_stays(opening: Opening) -> None:
    async with opening() as store:
        await store.costs.record_usage("research", [used(tokens=(100, 10, 50), cents=5)], until=TODAY)
        await store.costs.record_usage("research", [used(tokens=(90, 20, 0), cents=1)], until=TODAY)
        assert await usages(store) == {TODAY: (100, 20, 50)}
        assert (await tallied(store))["usage_nanodollars", "input"] == 50_000_000
        assert (await tallied(store))["usage_tokens", "output"] == 50


async def test_use_without_a_price_costs_nothing_known_until_there_is_one(opening: Opening) -> None:
    async with opening() as store:
        await store.costs.record_usage("research", [used(usd=None)], until=TODAY)
        assert ("usage_nanodollars", "input") not in await tallied(store)
        assert [one.usd for one in (await store.costs.spent(None, ALL)).usages] == [None]
        await store.costs.record_usage("research", [used(cents=3)], until=TODAY)
        assert (await tallied(store))["usage_nanodollars", "input"] == 30_000_000
        await store.costs.record_usage("research", [used(usd=None)], until=TODAY)
        [kept] = (await store.costs.spent(None, ALL)).usages
        assert kept.usd is not None
        assert kept.usd.input == Decimal("0.03")


async def test_rows_of_one_place_in_one_import_are_added_up(opening: Opening) -> None:
    async with opening() as store:
        for _ in range(2):
            await store.costs.record_usage(
                "research", [used(), used(), used(batch=True), used(project="p2")], until=TODAY
            )
        found = (await store.costs.spent(None, ALL)).usages
        assert sorted((one.project, one.batch, one.tokens.input) for one in found) == [
            ("p1", False, 200),
            ("p1", True, 100),
            ("p2", False, 100),
        ]


async def test_parts_of_a_day_that_make_no_sense_together_hold_up_nothing(opening: Opening) -> None:
    dearest = 10_000_000_00
    async with opening() as store:
        parts = [used(cents=dearest) for _ in range(1000)]
        await store.costs.record_usage("research", [*parts, used(project="p2", cents=1)], until=TODAY)
        found = {one.project: one.usd for one in (await store.costs.spent(None, ALL)).usages}
        assert found["p1"] is None
        assert found["p2"] is not None
        lines = [*(billed("10000000") for _ in range(1000)), billed("2", item="other")]
        await store.costs.record_bill("research", lines, since=TODAY, until=TODAY, now=NOON)
        kept = {one.line_item: one.usd for one in (await store.costs.records(NOON, ALL)).bills}
        assert kept.pop("other") == 2
        assert all(usd < Decimal(2**63) / 10**9 for usd in kept.values())
        assert await store.costs.imported("research") == ImportState(usage_until=TODAY, bill_until=TODAY)


async def test_a_bill_read_again_replaces_its_days_and_no_others(opening: Opening) -> None:
    async with opening() as store:
        early, late = TODAY - timedelta(days=3), TODAY
        old = [billed("9.00", early - timedelta(days=1)), billed("1.00", early), billed("2.00", TODAY, item="gone")]
        await store.costs.record_bill("research", old, since=early - timedelta(days=1), until=late, now=NOON)
        new = [billed("1.50", early), billed("-0.25", TODAY, item="credit")]
        await store.costs.record_bill("research", new, since=early, until=late, now=NOON)
        found = (await store.costs.records(NOON - 30 * DAY, ALL)).bills
        assert [(one.day, one.line_item.split(",")[0], one.usd) for one in found] == [
            (early - timedelta(days=1), "ft-gpt-4o-mini-2024-07-18", Decimal(9)),
            (early, "ft-gpt-4o-mini-2024-07-18", Decimal("1.5")),
            (TODAY, "credit", Decimal("-0.25")),
        ]
        assert await store.costs.imported("research") == ImportState(bill_until=late)


async def test_the_month_to_date_is_of_this_month_and_of_the_asked_organisations(opening: Opening) -> None:
    async with opening() as store:
        first, before = TODAY.replace(day=1), TODAY.replace(day=1) - timedelta(days=1)
        rows = [billed("1", before), billed("2", first), billed("3", TODAY), billed("5", TODAY, project="p2")]
        await store.costs.record_bill("research", rows, since=before, until=TODAY, now=NOON)
        snapshot = await store.reader.snapshot(NOON, orgs=ALL, job_retention=DAY, max_jobs=10)
        assert snapshot.billed == {("research", "ft-gpt-4o-mini-2024-07-18, input"): Decimal(10)}
        other = await store.reader.snapshot(NOON, orgs=["search"], job_retention=DAY, max_jobs=10)
        assert other.billed == {}


async def test_the_month_so_far_is_summed_up_by_organisation(opening: Opening) -> None:
    async with opening() as store:
        before = spending("ftjob-0", at=NOON.replace(day=1, hour=0) - timedelta(seconds=1), usd="100")
        mine = (before, spending("ftjob-1", usd="1.5"), spending("ftjob-2", usd="2"))
        await store.jobs.commit(change(0, tracked=(ended(),), spendings=mine))
        unpriced = used(usd=None, project="p2")
        await store.costs.record_usage("research", [used(cents=1), used(cents=2, batch=True), unpriced], until=TODAY)
        snapshot = await store.reader.snapshot(NOON, orgs=ALL, job_retention=DAY, max_jobs=10)
        assert snapshot.trained == {"research": Decimal("3.5")}
        assert snapshot.used == {"research": Decimal("0.093")}


async def test_bills_of_more_than_a_year_ago_are_given_up(opening: Opening) -> None:
    async with opening() as store:
        old = TODAY - timedelta(days=401)
        await store.costs.record_bill("research", [billed("1", old)], since=old, until=old, now=NOON)
        await store.costs.record_bill("research", [billed("1")], since=TODAY, until=TODAY, now=NOON)
        assert [one.day for one in (await store.costs.records(NOON - 500 * DAY, ALL)).bills] == [TODAY]


def spending(id_: str = "ftjob-1", at: datetime = NOON, usd: str = "2.40") -> Spending:
    return Spending(
        org="research", job=id_, provider="openai", model="gpt-4o-mini-2024-07-18", method=Method.SUPERVISED, at=at,
        usd=Decimal(usd), metadata={"env": "prod"},
    )  # fmt: skip


async def test_a_spending_is_recorded_once_and_comes_back_as_it_was_last_said(opening: Opening) -> None:
    async with opening() as store:
        known = ended(cost=Cost(basis=Basis.COMPUTED, usd=Decimal("2.40")))
        await store.jobs.commit(change(0, tracked=(known, tracked(job("ftjob-2"))), spendings=(spending(),)))
        await store.jobs.commit(change(1, tracked=(known,), spendings=(spending(usd="9"),)))
        spent = await store.costs.spent(NOON, ALL)
        assert spent.spendings == (spending(usd="9"),), "an end that is corrected corrects its cost"
        assert [one.job.id for one in spent.active] == ["ftjob-2"]
        assert (await store.costs.spent(NOON + timedelta(seconds=1), ALL)).spendings == ()
        assert (await store.costs.spent(None, ["search"])).spendings == ()


async def test_a_stale_change_books_nothing(opening: Opening) -> None:
    async with opening() as store:
        await store.jobs.commit(change(0, tracked=(ended(),)))
        with pytest.raises(Stale):
            await store.jobs.commit(change(0, tracked=(ended(),), spendings=(spending(),), tuned=(tuned("ft:a"),)))
        assert (await store.costs.spent(None, ALL)).spendings == ()
        assert await store.costs.tuned_models(ALL) == ()


async def test_a_job_is_paid_for_on_the_utc_day_on_which_it_ended(opening: Opening) -> None:
    early = datetime.fromisoformat("2026-11-18T01:30:00+02:00")
    async with opening() as store:
        mine = (spending(at=early), spending("b", early - HOUR, "0.000000001"), spending("c", NOON, "1"))
        await store.jobs.commit(change(0, tracked=(ended(),), spendings=mine))
        records = await store.costs.records(NOON - 30 * DAY, ALL)
        assert records.trained == (
            TrainingDay(org="research", day=date(2026, 11, 17), usd=Decimal("2.400000001")),
            TrainingDay(org="research", day=TODAY, usd=Decimal(1)),
        )
        assert (await store.costs.records(NOON, ALL)).trained == records.trained[1:]


async def test_spendings_outlive_their_jobs(opening: Opening) -> None:
    async with opening() as store:
        await store.jobs.commit(
            change(0, tracked=(ended(at=NOON - 100 * DAY),), spendings=(spending(at=NOON - 100 * DAY),))
        )
        await store.jobs.prune(NOON, 90 * DAY)
        assert await store.reader.job("research", "ftjob-1") is None
        assert len((await store.costs.spent(None, ALL)).spendings) == 1


def tuned(id_: str, **over: Any) -> TunedModel:
    return TunedModel(**{"org": "research", "id": id_, "base": "gpt-4o-mini-2024-07-18", **over})


async def test_a_model_that_was_listed_and_is_no_more_is_forgotten_one_only_known_from_a_job_stays(
    opening: Opening,
) -> None:
    async with opening() as store:
        await store.jobs.commit(change(0, tracked=(ended(),), tuned=(tuned("ft:job", shared=True), tuned("ft:both"))))
        end = date(2027, 1, 14)
        listed = [tuned("ft:both", listed=True, shutdown=end), tuned("ft:other", listed=True)]
        await store.costs.replace_models("research", listed)
        assert await store.costs.tuned_models(ALL) == (listed[0], tuned("ft:job", shared=True), listed[1])
        await store.costs.replace_models("search", [])
        await store.costs.replace_models("research", [tuned("ft:other", listed=True, shutdown=end)])
        assert [one.id for one in await store.costs.tuned_models(ALL)] == ["ft:job", "ft:other"]
        snapshot = await store.reader.snapshot(NOON, orgs=ALL, job_retention=DAY, max_jobs=10)
        assert [(one.id, one.shutdown) for one in snapshot.models] == [("ft:other", end)]


async def test_what_a_job_knows_of_its_model_is_not_lost_when_it_is_listed(opening: Opening) -> None:
    async with opening() as store:
        await store.jobs.commit(change(0, tracked=(ended(),), tuned=(tuned("ft:job", shared=True),)))
        await store.costs.replace_models("research", [tuned("ft:job", listed=True)])
        assert [one.shared for one in await store.costs.tuned_models(ALL)] == [True]


async def test_a_day_that_becomes_known_is_kept_and_one_that_is_known_stays(opening: Opening) -> None:
    async with opening() as store:
        told_by_provider, later = date(2027, 1, 14), date(2028, 1, 1)
        await store.jobs.commit(
            change(0, tracked=(ended(),), tuned=(tuned("ft:a"), tuned("ft:b", shutdown=told_by_provider)))
        )
        await store.costs.date_models([tuned("ft:a", shutdown=later), tuned("ft:b", shutdown=later), tuned("ft:c")])
        assert [(one.id, one.shutdown) for one in await store.costs.tuned_models(ALL)] == [
            ("ft:a", later),
            ("ft:b", told_by_provider),
        ]


def notice(seq: int = 1, *, name: str = "search", period: str = "2026-11") -> News:
    subject = Subject(kind=SubjectKind.BUDGET, org=None, id=f"{name}/{period}")
    letter = replace(delivery(seq=seq), subject=subject)
    return News(subject=subject, seq=seq, deliveries=(letter, replace(letter, notifier="chat")))


async def test_a_notice_is_told_once_whoever_decides_it_and_also_after_a_restart(opening: Opening) -> None:
    async with opening() as store:
        assert await store.outbox.announce([notice(), notice()]) == ("budget:search/2026-11/1",)
        assert store.outbox.enqueued == 2
        assert await store.outbox.announce([notice(), notice(2)]) == ("budget:search/2026-11/2",)
    async with opening() as store:
        assert await store.outbox.announce([notice(2), notice(1)]) == ()
        told = {"budget:search/2026-11/1": None, "budget:search/2026-11/2": None}
        assert await store.outbox.notified(["budget:search"]) == told
        assert await store.outbox.notified(["budget:other"]) == {}
        keys = [one.key for one in (await store.reader.deliveries()).items]
        assert sorted(keys) == [f"budget:search/2026-11/{n}@{who}" for n in (1, 2) for who in ("chat", "ops")]


async def test_a_notice_stays_told_when_its_letters_are_forgotten(opening: Opening) -> None:
    async with opening() as store:
        await store.outbox.announce([notice()])
        [first, second] = [
            (await store.outbox.claim(name, owner="me", limit=5, lease=DAY))[0] for name in ("chat", "ops")
        ]
        assert await store.outbox.delivered(first)
        assert await store.outbox.delivered(second)
        await store.jobs.prune(NOON + 100 * DAY, 90 * DAY)
        assert (await store.reader.deliveries()).items == ()
        assert await store.outbox.announce([notice()]) == ()


async def test_the_notices_of_one_subject_go_out_in_order(opening: Opening) -> None:
    async with opening() as store:
        await store.outbox.announce([notice(2), notice(1)])
        [first] = await store.outbox.claim("ops", owner="me", limit=5, lease=DAY)
        assert first.delivery.key == "budget:search/2026-11/1@ops"
