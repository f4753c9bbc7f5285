"""Who may poll an organisation."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.builders import HOUR, MINUTE, NOON, SECOND
from tests.store.conftest import Opening


def writes(tmp_path: Path) -> str:
    with closing(sqlite3.connect(f"file:{tmp_path}/monitor.db?mode=ro", uri=True)) as connection, connection:
        return str(connection.execute("SELECT org, owner, until FROM lease ORDER BY org").fetchall())


async def test_one_owner_at_a_time_until_the_lease_runs_out(opening: Opening) -> None:
    async with opening() as store:
        assert await store.lease("research", "a", NOON, MINUTE)
        assert not await store.lease("research", "b", NOON + 59 * SECOND, MINUTE)
        assert await store.lease("search", "b", NOON, MINUTE)
        assert await store.lease("research", "b", NOON + MINUTE, MINUTE)
        assert not await store.lease("research", "a", NOON + MINUTE, MINUTE)


async def test_a_lease_is_written_anew_only_in_its_second_half(opening: Opening, tmp_path: Path) -> None:
    async with opening() as store:
        await store.lease("research", "a", NOON, MINUTE)
        first = writes(tmp_path)
        assert await store.lease("research", "a", NOON + 29 * SECOND, MINUTE)
        assert writes(tmp_path) == first
        assert await store.lease("research", "a", NOON + 30 * SECOND, MINUTE)
        assert writes(tmp_path) != first


async def test_a_lease_from_a_clock_that_was_put_back_is_renewed(opening: Opening, tmp_path: Path) -> None:
    async with opening() as store:
        await store.lease("research", "a", NOON, MINUTE)
        first = writes(tmp_path)
        assert await store.lease("research", "a", NOON - HOUR, MINUTE)
        assert writes(tmp_path) != first


async def test_a_restart_takes_over_at_once_what_the_dead_process_held(opening: Opening) -> None:
    async with opening() as store:
        await store.lease("research", "dead", NOON, HOUR)
    async with opening() as store:
        assert await store.lease("research", "new", NOON, HOUR)
