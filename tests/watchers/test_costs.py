"""The cost watcher: what it imports, what it reads again, and that no figure counts twice or gets lost."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from monitor.domain.costs import TunedModel
from monitor.providers.base import Malformed, ProviderUnavailable
from tests.fakes import another_replica
from tests.source.books import MODEL, TODAY, Books, billed, refused, used
from tests.watchers.books import NOON, Enough, amounts, bookkeeping, totals

DAY = timedelta(days=1)
OCTOBER = date(2026, 10, 1)
EVER = [OCTOBER + DAY * n for n in range((TODAY - OCTOBER).days + 1)]
DAVINCI = "davinci:ft-acme-2021-03-03-21-44-20"


def full() -> Books:
    """Figures for every day of two months."""
    return Books(
        usage={day: [used(input=n + 1), used(DAVINCI, input=n)] for n, day in enumerate(EVER)},
        costs={day: [billed(n + 1), billed(-1, "credit")] for n, day in enumerate(EVER)},
    )


async def test_the_first_import_starts_with_the_month_before_and_ends_today(tmp_path: Path) -> None:
    async with bookkeeping(tmp_path, full()) as of:
        assert [await of.read(), await of.read()] == [False, True]
        assert await of.usage() == totals(of.books.usage)
        assert await of.bills() == amounts(of.books.costs)
        assert (await of.store.costs.imported("research")).usage_until == TODAY
        assert min(since for _, since, _ in of.books.asked) == OCTOBER


async def test_a_longer_lookback_is_gone_back_to(tmp_path: Path) -> None:
    async with bookkeeping(tmp_path, Books(), lookback=timedelta(days=100)) as of:
        await of.read_all()
        assert min(since for _, since, _ in of.books.asked) == TODAY - 100 * DAY


async def test_afterwards_the_last_three_days_and_today_are_read_again(tmp_path: Path) -> None:
    async with bookkeeping(tmp_path, full()) as of:
        await of.read_all()
        of.books.asked.clear()
        assert await of.read() is True
        assert of.books.asked == [("usage", TODAY - 3 * DAY, TODAY), ("costs", TODAY - 3 * DAY, TODAY)]


async def test_a_day_that_is_booked_late_is_booked(tmp_path: Path) -> None:
    async with bookkeeping(tmp_path, full()) as of:
        await of.read_all()
        of.time.move(2 * 86400)
        of.books.costs[TODAY] = [billed(99), billed(7.25, "fine-tuning training")]
        of.books.usage[TODAY][0]["input_tokens"] += 5000
        await of.read_all()
        assert await of.bills() == amounts(of.books.costs)
        assert await of.usage() == totals(of.books.usage)
        assert (await of.counters("usage_tokens"))[MODEL, "input"] == sum(range(len(EVER) + 1)) + 5000


async def test_after_two_weeks_of_absence_nothing_is_missing_not_even_of_the_last_days_before(tmp_path: Path) -> None:
    async with bookkeeping(tmp_path, full()) as of:
        await of.read_all()
        of.books.costs[TODAY - 2 * DAY] = [billed(500, "late")]
        of.time.move(14 * 86400)
        for n in range(15):
            of.books.usage.setdefault(TODAY + DAY * n, [used(input=7)])
        await of.read_all()
        assert await of.usage() == totals(of.books.usage)
        assert (await of.bills())[TODAY - 2 * DAY, "late"] == 500


async def test_reading_the_same_again_adds_nothing(tmp_path: Path) -> None:
    async with bookkeeping(tmp_path, full()) as of:
        await of.read_all()
        before = await of.counters("usage_tokens"), await of.counters("usage_nanodollars"), await of.bills()
        for _ in range(5):
            await of.read()
        assert (await of.counters("usage_tokens"), await of.counters("usage_nanodollars"), await of.bills()) == before


async def test_counts_that_shrink_stay_and_do_not_count_again_when_they_grow_back(tmp_path: Path) -> None:
    async with bookkeeping(tmp_path, Books(usage={TODAY: [used(input=1000)]})) as of:
        sums = []
        for count in (1000, 400, 1000, 1500):
            of.books.usage[TODAY] = [used(input=count)]
            await of.read_all()
            sums.append((await of.counters("usage_tokens"))[MODEL, "input"])
        assert sums == [1000, 1000, 1000, 1500]
        of.books.usage[TODAY] = []
        await of.read_all()
        assert (await of.counters("usage_tokens"))[MODEL, "input"] == 1500


async def test_a_row_that_comes_twice_counts_once(tmp_path: Path) -> None:
    async with bookkeeping(tmp_path, Books(usage={TODAY: [used(), used()]}, costs={TODAY: [billed(2)] * 3})) as of:
        await of.read_all()
        assert (await of.counters("usage_tokens"))[MODEL, "input"] == 1000
        assert await of.bills() == {(TODAY, "ft-gpt-4o-mini-2024-07-18, input"): Decimal(2)}


@pytest.mark.parametrize(
    ("day", "dollars"),
    [
        pytest.param(date(2023, 8, 25), (12, 16), id="in August 2023"),
        pytest.param(date(2024, 6, 1), (3, 6), id="in 2024"),
    ],
)
async def test_a_million_tokens_cost_what_they_cost_on_that_day(
    tmp_path: Path, day: date, dollars: tuple[int, int]
) -> None:
    model = "ft:gpt-3.5-turbo-0613:acme::AbC"
    books = Books(usage={day: [used(model, input=10**6, output=10**6, input_cached_tokens=0)]})
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    async with bookkeeping(tmp_path, books, at=at) as of:
        await of.read_all()
        (booked,) = (await of.store.costs.spent(None, ["research"])).usages
        assert booked.usd is not None
        assert [booked.usd.input, booked.usd.output] == list(map(Decimal, dollars))
        counters = await of.counters("usage_nanodollars")
        assert counters[model, "input"] == dollars[0] * 10**9
        assert counters[model, "output"] == dollars[1] * 10**9


async def test_batches_and_shared_training_data_have_their_own_prices(tmp_path: Path) -> None:
    model = "ft:o4-mini-2025-04-16:acme::AbC"
    row = used(model, input=10**6, output=0)
    books = Books(today=date(2026, 1, 10), usage={date(2026, 1, 10): [row, row | {"batch": True}]})
    async with bookkeeping(tmp_path, books, at=datetime(2026, 1, 10, 12, tzinfo=UTC)) as of:
        await of.store.costs.replace_models("research", [])
        await of.read_all()
        dollars = {
            one.batch: one.usd.total for one in (await of.store.costs.spent(None, ["research"])).usages if one.usd
        }
        assert dollars == {False: 4, True: 2}
    (tmp_path / "shared").mkdir()
    async with bookkeeping(tmp_path / "shared", books, at=datetime(2026, 1, 10, 12, tzinfo=UTC)) as of:
        shared = TunedModel(org="research", id=model, base="o4-mini-2025-04-16", listed=True, shared=True)
        await of.store.costs.replace_models("research", [shared])
        await of.read_all()
        dollars = {
            one.batch: one.usd.total for one in (await of.store.costs.spent(None, ["research"])).usages if one.usd
        }
        assert dollars == {False: 2, True: 1}


async def test_a_model_without_a_price_has_tokens_and_no_cost(tmp_path: Path) -> None:
    model = "ft:gpt-7:acme::AbC"
    async with bookkeeping(tmp_path, Books(usage={TODAY: [used(model)]})) as of:
        await of.read_all()
        (booked,) = (await of.store.costs.spent(None, ["research"])).usages
        assert booked.usd is None
        assert (await of.counters("usage_tokens"))[model, "input"] == 1000
        assert (model, "input") not in await of.counters("usage_nanodollars")


@pytest.mark.parametrize("name", ["usage", "costs"])
async def test_of_a_stretch_whose_second_page_fails_nothing_is_booked_and_all_of_it_the_next_time(
    tmp_path: Path, name: str
) -> None:
    async with bookkeeping(tmp_path, full()) as of:
        of.books.faults[name, 1] = refused(500)
        with pytest.raises(ProviderUnavailable):
            await of.read()
        assert (await of.usage() if name == "usage" else await of.bills()) == {}
        booked = await of.store.costs.imported("research")
        assert (booked.usage_until if name == "usage" else booked.bill_until) is None
        await of.read_all()
        assert await of.usage() == totals(of.books.usage)
        assert await of.bills() == amounts(of.books.costs)


async def test_a_closed_half_does_not_close_the_other(tmp_path: Path) -> None:
    async with bookkeeping(tmp_path, full()) as of:
        of.books.always["usage"] = refused(404)
        with pytest.raises(Malformed):
            await of.read()
        assert await of.bills() == amounts(of.books.costs)


async def test_a_clock_that_was_ahead_leaves_no_hole(tmp_path: Path) -> None:
    async with bookkeeping(tmp_path, full()) as of:
        await of.read_all()
        of.time.move(400 * 86400)
        await of.watcher.read_once(of.time.now())
        assert (await of.store.costs.imported("research")).usage_until != TODAY
        of.time.at = NOON
        of.books.costs[TODAY - 20 * DAY] = [billed(5, "found again")]
        await of.read_all()
        assert (await of.bills())[TODAY - 20 * DAY, "found again"] == 5
        assert await of.usage() == totals(of.books.usage)


async def test_the_replica_that_watches_the_jobs_reads_the_costs(tmp_path: Path) -> None:
    async with bookkeeping(tmp_path, full()) as of:
        assert await of.store.leases.take("research")
        assert await of.read() is False
        await of.store.leases.end()
        assert await another_replica(of.store, of.time).take("research")
        assert await of.read() is None


async def test_the_loop_catches_up_at_once_and_then_waits_an_hour(tmp_path: Path) -> None:
    async with bookkeeping(tmp_path, full()) as of:
        of.time.most = 4
        with pytest.raises(Enough):
            await of.watcher.run(first=7.0)
        assert of.time.naps == [7.0, 0.0, pytest.approx(3600 * 0.975), pytest.approx(3600 * 0.975)]
        assert of.watcher.health.last_success is not None
        assert await of.usage() == totals(of.books.usage)
