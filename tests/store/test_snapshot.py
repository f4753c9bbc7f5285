"""What readers see."""

from __future__ import annotations

from monitor.domain.flow import GONE_AFTER, CounterIncrement
from monitor.domain.model import UNKNOWN_COST, Basis, Cost, Status
from monitor.domain.snapshot import Backlog, Snapshot
from monitor.store import Stores
from tests.builders import DAY, HOUR, NOON, SECOND, job, tracked
from tests.store.conftest import Opening
from tests.store.samples import LEASE, StillClock, change, delivery, ended, ids, letters


async def look(store: Stores, *orgs: str, max_jobs: int = 100) -> Snapshot:
    return await store.reader.snapshot(NOON, orgs=orgs or ("research",), job_retention=DAY, max_jobs=max_jobs)


async def test_an_empty_store_shows_nothing(opening: Opening) -> None:
    async with opening() as store:
        assert await look(store) == Snapshot(at=NOON)


async def test_active_jobs_come_first_then_newest_first_and_the_rest_is_counted(opening: Opening) -> None:
    async with opening() as store:
        await store.jobs.commit(
            change(
                tracked=(
                    ended("just ended", NOON - HOUR),
                    ended("ended long ago", NOON - DAY - SECOND),
                    tracked(job("older", created_at=NOON - 3 * HOUR)),
                    tracked(job("newer", created_at=NOON - HOUR)),
                    tracked(job("vanished", Status.UNKNOWN), missing=GONE_AFTER, since=NOON - DAY - SECOND),
                )
            )
        )
        seen = await look(store)
        assert (ids(seen.jobs), seen.dropped) == (["newer", "older", "just ended"], 0)
        assert seen.counts == {
            ("research", Status.RUNNING): 2,
            ("research", Status.SUCCEEDED): 2,
        }, "what the provider does not know any more counts nowhere"
        few = await look(store, max_jobs=1)
        assert (ids(few.jobs), few.dropped) == (["newer"], 2)


async def test_only_the_organisations_asked_for_are_shown(opening: Opening) -> None:
    async with opening() as store:
        for org in ("a", "b"):
            counters = (
                CounterIncrement(metric="m", labels=(("org", org),), amount=1),
                CounterIncrement(metric="all", labels=(), amount=1),
            )
            await store.jobs.commit(change(org=org, tracked=(tracked(job(org=org)),), counters=counters))
        seen = await look(store, "b", "never seen")
        assert [one.job.org for one in seen.jobs] == ["b"]
        assert seen.counts == {("b", Status.RUNNING): 1}
        assert [(one.labels, one.amount) for one in seen.counters] == [((), 2), ((("org", "b"),), 1)]


async def test_a_job_that_did_not_change_is_the_same_value_in_the_next_view(opening: Opening) -> None:
    async with opening() as store:
        await store.jobs.commit(change(tracked=(tracked(job("a")), tracked(job("b")))))
        before = {one.job.id: one for one in (await look(store)).jobs}
        await store.jobs.commit(change(1, tracked=(tracked(job("b", name="new")),)))
        after = {one.job.id: one for one in (await look(store)).jobs}
        assert after["a"] is before["a"]
        assert after["b"].job.name == "new"


async def test_ended_jobs_without_a_price_are_counted_by_model(opening: Opening) -> None:
    async with opening() as store:
        await store.jobs.commit(
            change(
                tracked=(
                    *(ended(f"m-{number}", model="m", cost=UNKNOWN_COST) for number in range(2)),
                    ended("priced", cost=Cost(basis=Basis.COMPUTED)),
                    tracked(cost=UNKNOWN_COST),
                )
            )
        )
        assert (await look(store)).unpriced == {("research", "m"): 2}


async def test_the_backlog_is_what_is_not_settled_and_since_when(opening: Opening, clock: StillClock) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery("a"), delivery("b"), delivery("c", notifier="hook")))
        clock.time += SECOND
        await store.jobs.commit(letters(delivery("d"), based_on=1))
        (first, _) = await store.outbox.claim("ops", owner="me", limit=2, lease=LEASE)
        await store.outbox.delivered(first)
        assert (await look(store)).backlogs == (
            Backlog(notifier="hook", pending=1, oldest=NOON),
            Backlog(notifier="ops", pending=2, oldest=NOON),
        )
