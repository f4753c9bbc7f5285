"""Sums of figures that are each within bounds, and organisations whose figures are absurd."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from monitor.domain.costs import Bill
from monitor.domain.flow import CounterIncrement
from monitor.store import Unstorable
from tests.builders import DAY, NOON, job, tracked
from tests.store.conftest import Opening
from tests.store.samples import change, ended
from tests.store.test_books import spending, used

pytestmark = pytest.mark.fault("P1")

HUGE = Decimal(9000000000)
"""US dollars: as nano-dollars within 64 bits, and twice it not."""


async def test_a_month_of_absurd_figures_is_summed_up_exactly(opening: Opening) -> None:
    async with opening() as store:
        costs = tuple(spending(f"ftjob-{number}", usd=str(HUGE)) for number in range(3))
        await store.jobs.commit(change(tracked=(ended(),), spendings=(*costs, spending("ftjob-9", usd="0.000000001"))))
        days = [Bill(org="research", project="p", line_item="l", day=date(2026, 11, n), usd=HUGE) for n in (1, 2, 3)]
        await store.costs.record_bill("research", days, since=days[0].day, until=days[2].day, now=NOON)
        many = [used(cents=400_000_000_000, project=f"p{number}") for number in range(3)]
        await store.costs.record_usage("research", many, until=NOON.date())
        seen = await store.reader.snapshot(NOON, orgs=["research"], job_retention=DAY, max_jobs=9)
    assert seen.trained == {"research": 3 * HUGE + Decimal("0.000000001")}
    assert seen.billed == {("research", "l"): 3 * HUGE}
    assert seen.used == {"research": 3 * (Decimal("4.0e9") + Decimal("0.4e9") + Decimal("8.0e9"))}


@pytest.mark.parametrize("amount", [1, 10**18, 2**63 - 1, 2**63, 2**64])
async def test_a_counter_outgrows_64_bits_and_stays_exact(opening: Opening, amount: int) -> None:
    one = CounterIncrement(metric="cost_nanodollars", labels=(("org", "research"),), amount=amount)
    async with opening() as store:
        for number in range(3):
            await store.jobs.commit(change(number, tracked=(tracked(job(f"job-{number}")),), counters=(one, one)))
        seen = await store.reader.snapshot(NOON, orgs=["research"], job_retention=DAY, max_jobs=9)
    assert [counter.amount for counter in seen.counters] == [6 * amount]


async def test_what_cannot_be_stored_changes_nothing_and_its_siblings_can_be_committed_without_it(
    opening: Opening,
) -> None:
    good = change(tracked=(tracked(job("good")),))
    bad = change(tracked=(tracked(job("good")), tracked(job("bad", model="\ud800"))))
    async with opening() as store:
        with pytest.raises(Unstorable):
            await store.jobs.commit(bad)
        assert store.database.healthy
        await store.jobs.commit(good)
        assert set((await store.jobs.known("research")).jobs) == {"good"}
