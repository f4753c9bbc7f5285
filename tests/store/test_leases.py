"""Who may poll an organisation, and how several replicas share them."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from monitor.store import Leases, NewerSchema, Stale, Stores, opened
from tests.builders import HOUR, MINUTE, NOON, SECOND, tracked
from tests.store.conftest import Opening, Sql
from tests.store.samples import StillClock, change

WRITTEN = "SELECT name, until FROM replica ORDER BY name"
ORGS = [f"org-{number:03}" for number in range(30)]


def replica(store: Stores, clock: StillClock, name: str, lasting: timedelta = MINUTE) -> Leases:
    return Leases(store.database, clock, owner=name, duration=lasting)


async def test_one_owner_at_a_time_until_its_session_is_over(opening: Opening, clock: StillClock) -> None:
    async with opening() as store:
        a, b = replica(store, clock, "a"), replica(store, clock, "b")
        assert await a.take("research")
        clock.time = NOON + 59 * SECOND
        assert not await b.take("research")
        assert await b.take("search")
        clock.time = NOON + MINUTE
        assert await b.take("research")
        assert not await a.take("research")


async def test_a_session_is_written_anew_only_in_its_second_half(opening: Opening, clock: StillClock, sql: Sql) -> None:
    async with opening() as store:
        a = replica(store, clock, "a")
        await a.take("research")
        first = sql(WRITTEN)
        clock.time = NOON + 29 * SECOND
        assert await a.take("research")
        assert sql(WRITTEN) == first
        clock.time = NOON + 30 * SECOND
        assert await a.take("research")
        assert sql(WRITTEN) != first


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_a_restart_takes_over_at_once_what_the_dead_process_held(opening: Opening, clock: StillClock) -> None:
    async with opening() as store:
        await replica(store, clock, "dead", HOUR).take("research")
    async with opening() as store:
        assert await store.leases.take("research")


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_whoever_is_alone_with_a_file_writes_no_session_again(
    opening: Opening, clock: StillClock, sql: Sql
) -> None:
    async with opening() as store:
        await store.leases.renew(ORGS)
        written = sql(WRITTEN)
        clock.time = NOON + 1000 * HOUR
        assert await store.leases.take(ORGS[0])
        assert sql(WRITTEN) == written


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_a_start_beside_another_replica_frees_nothing_and_its_end_frees_all_at_once(
    opening: Opening, clock: StillClock
) -> None:
    async with opening() as one:
        await one.leases.renew(["research"])
        async with opening() as other:
            assert not await other.leases.take("research")
            await other.leases.renew(["search"])
        assert await one.leases.take("search"), "its session ended with it"
    async with opening() as again:
        assert await again.leases.take("research")


@pytest.mark.fault("M05")
@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_the_session_is_by_the_databases_clock_not_the_replicas(opening: Opening, url: str, sql: Sql) -> None:
    ahead = StillClock()
    ahead.time = NOON + 10 * MINUTE
    async with opening() as one, opened(url, clock=ahead, owner="other") as other:
        assert await one.leases.take("research")
        assert not await other.leases.take("research")
        assert {until for _, until in sql(WRITTEN)} == {(NOON + 30 * SECOND).timestamp() * 1000}


@pytest.mark.fault("M03")
async def test_who_was_stopped_while_another_took_its_place_is_refused(opening: Opening, clock: StillClock) -> None:
    async with opening() as store:
        await store.leases.take("research")
        await store.jobs.commit(change(tracked=(tracked(),)))
        await store.database.write(store.leases._end)
        another = replica(store, clock, "another")
        assert await another.take("research")
        with pytest.raises(Stale, match="another replica"):
            await store.jobs.commit(change(1, tracked=(tracked(stalled=True),)))
        assert not (await store.jobs.known("research")).jobs["ftjob-1"].stalled
        await another.end()
        await store.jobs.commit(change(1, tracked=(tracked(stalled=True),)))


async def test_who_comes_back_late_has_a_new_term_and_reads_anew_what_it_knew(
    opening: Opening, clock: StillClock
) -> None:
    async with opening() as store:
        a = replica(store, clock, "a")
        await a.renew(["research"])
        first = a.term("research")
        clock.time += MINUTE
        assert a.term("research") is None
        renewal = await a.renew(["research"])
        assert renewal.acquired == ("research",)
        assert a.term("research") not in (None, first)


async def test_with_little_left_nothing_is_begun_and_a_renewal_says_that_it_may_go_on(
    opening: Opening, clock: StillClock
) -> None:
    async with opening() as store:
        a = replica(store, clock, "a")
        assert (await a.renew(["research"])).acquired == ("research",)
        clock.time += 39 * SECOND
        assert await a.take("research")
        clock.time += 2 * SECOND
        assert not await a.take("research"), "another may take its place before a poll is over"
        assert (await a.renew(["research"])).acquired == ("research",)
        assert await a.take("research")


async def test_the_first_replica_has_all_and_later_ones_get_one_at_a_time_until_all_have_as_many(
    opening: Opening, clock: StillClock
) -> None:
    async with opening() as store:
        a, b, c = (replica(store, clock, name) for name in "abc")
        assert (await a.renew(ORGS)).again == 20.0, "a third of a minute, as all is well"
        assert a.shared == 30
        moves = 0
        for _ in range(40):
            for one in (a, b, c):
                assert (await one.renew(ORGS)).again <= 20.0
                moved = [org for org in ORGS if await one.hand_over(org)]
                assert len(moved) <= 1
                moves += len(moved)
            clock.time += SECOND
        await b.renew(ORGS)
        await c.renew(ORGS)
        assert [one.shared for one in (a, b, c)] == [10, 10, 10]
        assert moves == 20, "none of them moved twice"
        assert [[await one.take(org) for one in (a, b, c)].count(True) for org in ORGS] == [1] * 30


async def test_what_a_dead_replica_held_goes_to_the_others_as_soon_as_its_session_is_over(
    opening: Opening, clock: StillClock
) -> None:
    async with opening() as store:
        a, b = replica(store, clock, "a"), replica(store, clock, "b")
        await a.renew(ORGS[:2])
        clock.time += 10 * SECOND
        assert (await b.renew(ORGS[:2])).acquired == ()
        clock.time += 20 * SECOND
        wait = (await b.renew(ORGS[:2])).again
        clock.time += wait * SECOND
        again = (await b.renew(ORGS[:2])).again
        clock.time += again * SECOND
        renewal = await b.renew(ORGS[:2])
        while not renewal.acquired:
            clock.time += renewal.again * SECOND
            renewal = await b.renew(ORGS[:2])
        assert renewal.acquired == tuple(ORGS[:2])
        assert MINUTE <= clock.time - NOON < MINUTE + SECOND


async def test_what_only_one_replica_is_configured_to_watch_is_watched_by_it(
    opening: Opening, clock: StillClock
) -> None:
    async with opening() as store:
        a, b = replica(store, clock, "a"), replica(store, clock, "b")
        await b.renew(ORGS[:1])
        for _ in range(3):
            await a.renew(ORGS[:6])
            clock.time += SECOND
        assert a.shared == 5
        await b.renew([])
        await a.renew(ORGS[:6])
        await a.renew(ORGS[:6])
        assert a.shared == 6, "the other one was reloaded without it"


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_after_a_newer_replica_has_migrated_the_database_an_older_one_stops_writing(
    opening: Opening, sql: Sql
) -> None:
    async with opening() as store:
        await store.jobs.commit(change(tracked=(tracked(),)))
        sql("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(NewerSchema, match="9999"):
            await store.jobs.commit(change(1, tracked=(tracked(stalled=True),)))
        with pytest.raises(NewerSchema):
            await store.leases.take("research")
        assert not store.database.healthy


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_a_replica_that_was_stopped_amid_its_renewal_holds_nobody_up(
    opening: Opening, clock: StillClock, url: str
) -> None:
    async with opening() as store:
        stopped, other = replica(store, clock, "stopped"), replica(store, clock, "other")
        await stopped.renew(ORGS[:2])
        clock.time += MINUTE
        engine = sa.create_engine(sa.make_url(url), poolclass=sa.NullPool)
        with engine.begin() as held:
            held.execute(sa.text("UPDATE replica SET until = until WHERE name = 'stopped'"))
            renewal = await other.renew(ORGS[:2])
        engine.dispose()
        assert renewal.acquired == tuple(ORGS[:2])
