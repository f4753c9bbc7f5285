"""What a server does to its clients: connections end, transactions collide, and it comes back."""

from __future__ import annotations

import threading
from random import Random

import anyio
import pytest
import sqlalchemy as sa

from monitor.clock import SystemClock
from monitor.store import StoreError, StoreUnavailable, Unstorable, opened
from tests.builders import job, tracked
from tests.store.conftest import Opening, Server, Sql
from tests.store.samples import change, full

pytestmark = pytest.mark.fault("S12")

OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'migrated' AND pid <> pg_backend_pid()"


@pytest.fixture
def kind() -> str:
    """All of this is about a server."""
    return "postgresql"


async def test_connections_that_ended_while_nobody_used_them_are_made_anew(opening: Opening, sql: Sql) -> None:
    async with opening() as store:
        await store.jobs.commit(full(0))
        assert (await store.jobs.known("research")).version == 1
        sql(OTHERS)
        await store.jobs.commit(full(1))
        assert (await store.jobs.known("research")).version == 2
        assert store.database.healthy


async def test_a_connection_that_ends_within_a_transaction_stores_nothing_and_the_next_try_works(
    opening: Opening,
) -> None:
    def killed(connection: sa.Connection) -> None:
        connection.execute(sa.text("INSERT INTO lease VALUES ('research', 'another')"))
        connection.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))

    async with opening() as store:
        with pytest.raises(StoreUnavailable):
            await store.database.write(killed)
        assert not store.database.healthy
        assert await store.leases.take("research")


async def test_a_server_that_lets_nobody_in_is_unavailable_and_comes_back_without_a_restart(
    opening: Opening, server: Server, sql: Sql
) -> None:
    async with opening() as store:
        await store.jobs.commit(full(0))
        try:
            server.execute("ALTER DATABASE migrated ALLOW_CONNECTIONS false")
            server.execute(OTHERS)
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    await store.jobs.commit(full(1))
                with pytest.raises(StoreUnavailable):
                    await store.jobs.known("research")
                assert not store.database.healthy
        finally:
            server.execute("ALTER DATABASE migrated ALLOW_CONNECTIONS true")
        await store.jobs.commit(full(1))
        assert (await store.jobs.known("research")).version == 2
        assert store.database.healthy


async def test_a_server_that_became_read_only_is_unavailable_and_comes_back(opening: Opening, server: Server) -> None:
    async with opening() as store:
        await store.jobs.commit(full(0))
        try:
            server.execute("ALTER DATABASE migrated SET default_transaction_read_only = on")
            server.execute(OTHERS)
            with pytest.raises(StoreUnavailable, match="read-only"):
                await store.jobs.commit(full(1))
            assert (await store.jobs.known("research")).version == 1, "it can be read"
        finally:
            server.execute("ALTER DATABASE migrated RESET default_transaction_read_only")
        await store.jobs.commit(full(1))
        assert store.database.healthy


async def test_of_two_transactions_that_wait_for_each_other_one_is_done_again(opening: Opening, sql: Sql) -> None:
    both = threading.Barrier(2)
    tries: list[str] = []

    def touch(connection: sa.Connection, first: str, second: str) -> None:
        tries.append(first)
        update = sa.text("UPDATE replica SET until = until + 1 WHERE name = :name")
        connection.execute(update, {"name": first})
        if len(tries) <= 2:
            both.wait(20)
        connection.execute(update, {"name": second})

    sql("INSERT INTO replica VALUES ('a', 0), ('b', 0)")
    async with opening() as store, anyio.create_task_group() as tasks:
        tasks.start_soon(store.database.write, touch, "a", "b")
        tasks.start_soon(store.database.write, touch, "b", "a")
    assert len(tries) >= 3, "the one that is done again may be faster than the other one wakes up, and lose again"
    assert [row.until for row in sql("SELECT until FROM replica WHERE name IN ('a', 'b')")] == [2, 2]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_that_cannot_hold_every_name_is_refused(server: Server, encoding: str) -> None:
    name = f"narrow_{encoding.lower()}"
    server.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    with pytest.raises(StoreError, match=f"encoded in {encoding}: create it WITH ENCODING 'UTF8'"):
        async with opened(server.url(name), clock=SystemClock()):
            pass


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param("".join(Random(1).choices("abcdefghijklmnop", k=20_000)), id="longer than an index takes"),
        pytest.param("nul\0", id="a character that text there cannot have"),
    ],
)
async def test_a_job_that_the_database_cannot_hold_is_refused_alone(opening: Opening, odd: str) -> None:
    async with opening() as store:
        with pytest.raises(Unstorable):
            await store.jobs.commit(change(tracked=(tracked(job(odd)),)))
        assert store.database.healthy
        await store.jobs.commit(change(tracked=(tracked(),)))
