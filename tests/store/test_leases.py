"""Who may poll an organisation."""

from __future__ import annotations

import pytest

from monitor.store import NewerSchema, Stale, opened
from tests.builders import HOUR, MINUTE, NOON, SECOND, tracked
from tests.store.conftest import Opening, Sql
from tests.store.samples import StillClock, change

WRITTEN = "SELECT org, owner, until FROM lease ORDER BY org"


async def test_one_owner_at_a_time_until_the_lease_runs_out(opening: Opening, clock: StillClock) -> None:
    async with opening() as store:
        assert await store.leases.take("research", "a", MINUTE)
        clock.time = NOON + 59 * SECOND
        assert not await store.leases.take("research", "b", MINUTE)
        assert await store.leases.take("search", "b", MINUTE)
        clock.time = NOON + MINUTE
        assert await store.leases.take("research", "b", MINUTE)
        assert not await store.leases.take("research", "a", MINUTE)


async def test_a_lease_is_written_anew_only_in_its_second_half(opening: Opening, clock: StillClock, sql: Sql) -> None:
    async with opening() as store:
        await store.leases.take("research", "a", MINUTE)
        first = sql(WRITTEN)
        clock.time = NOON + 29 * SECOND
        assert await store.leases.take("research", "a", MINUTE)
        assert sql(WRITTEN) == first
        clock.time = NOON + 30 * SECOND
        assert await store.leases.take("research", "a", MINUTE)
        assert sql(WRITTEN) != first


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_a_restart_takes_over_at_once_what_the_dead_process_held(opening: Opening) -> None:
    async with opening() as store:
        await store.leases.take("research", "dead", HOUR)
    async with opening() as store:
        assert await store.leases.take("research", "new", HOUR)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_a_start_beside_another_replica_frees_nothing_that_has_not_run_out(
    opening: Opening, clock: StillClock
) -> None:
    async with opening() as one:
        await one.leases.take("research", "one", HOUR)
        async with opening() as other:
            assert not await other.leases.take("research", "other", HOUR)
            clock.time = NOON + HOUR
            assert await other.leases.take("research", "other", HOUR)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_the_lease_is_by_the_databases_clock_not_the_replicas(opening: Opening, url: str, sql: Sql) -> None:
    ahead = StillClock()
    ahead.time = NOON + 10 * MINUTE
    async with opening() as one, opened(url, clock=ahead) as other:
        assert await one.leases.take("research", "one", MINUTE)
        assert not await other.leases.take("research", "other", MINUTE)
        [(until,)] = sql("SELECT until FROM lease")
    assert until == (NOON + MINUTE).timestamp() * 1000


async def test_who_was_stopped_while_another_took_the_lease_is_refused(
    opening: Opening, clock: StillClock, sql: Sql
) -> None:
    async with opening() as store:
        await store.leases.take("research", "stopped", MINUTE)
        await store.jobs.commit(change(tracked=(tracked(),)))
        sql("UPDATE lease SET owner = 'another'")
        with pytest.raises(Stale, match="another replica"):
            await store.jobs.commit(change(1, tracked=(tracked(stalled=True),)))
        assert not (await store.jobs.known("research")).jobs["ftjob-1"].stalled
        clock.time = NOON + MINUTE
        await store.jobs.commit(change(1, tracked=(tracked(stalled=True),)))


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
            await store.leases.take("research", "old", MINUTE)
        assert not store.database.healthy
