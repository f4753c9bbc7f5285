"""Webhooks are stored once each, however many arrive at once, and one that cannot be stored affects no other."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import anyio
import pytest

from monitor.store import Gone, Stores, Unstorable
from tests.builders import NOON, job, tracked
from tests.store.conftest import Opening, Sql
from tests.store.samples import change, ended

pytestmark = pytest.mark.fault("W02", "G29")


async def accepted(store: Stores, *ids: str, org: str = "research") -> list[tuple[str, bool | str]]:
    """Send webhooks of these ids at once; what became of each."""
    found: list[tuple[str, bool | str]] = []

    async def send(id_: str) -> None:
        try:
            found.append((id_, await store.hints.accept(org, id_, "ftjob-1", NOON)))
        except Unstorable:
            found.append((id_, "unstorable"))

    async with anyio.create_task_group() as tasks:
        for id_ in ids:
            tasks.start_soon(send, id_)
    return found


async def test_of_many_that_arrive_at_once_each_counts_once(opening: Opening) -> None:
    ids = [f"wh-{number % 200}" for number in range(600)]
    async with opening() as store:
        found = Counter(await accepted(store, *ids))
        assert found == {(id_, fresh): 1 if fresh else 2 for id_ in set(ids) for fresh in (True, False)}
        assert set(await accepted(store, *ids[:5])) == {(id_, False) for id_ in ids[:5]}
        assert set(await accepted(store, *ids[:5], org="another")) == {(id_, True) for id_ in ids[:5]}
        assert await store.hints.open(NOON) == {"research": {"ftjob-1"}, "another": {"ftjob-1"}}


async def test_one_that_cannot_be_stored_is_refused_alone(opening: Opening) -> None:
    async with opening() as store:
        found = dict(await accepted(store, "a", "b", "\ud800", "c"))
        assert found == {"a": True, "b": True, "\ud800": "unstorable", "c": True}
        assert store.database.healthy


async def test_a_job_that_is_seen_to_be_over_is_not_looked_for_any_more(opening: Opening) -> None:
    async with opening() as store:
        await store.hints.accept("research", "wh-1", "ftjob-1", NOON)
        await store.jobs.commit(change(tracked=(tracked(job()),)))
        assert await store.hints.open(NOON) == {"research": {"ftjob-1"}}
        await store.jobs.commit(change(1, tracked=(ended(),)))
        assert await store.hints.open(NOON) == {}


@pytest.mark.fault("G12")
async def test_many_hints_of_one_organisation_hide_no_others(opening: Opening) -> None:
    async with opening() as store:
        await accepted(store, *(f"wh-{number}" for number in range(1100)), org="busy")
        await store.hints.accept("busy", "wh-last", "ftjob-2", NOON + timedelta(seconds=1))
        await store.hints.accept("quiet", "wh-1", "ftjob-1", NOON)
        assert await store.hints.open(NOON) == {"busy": {"ftjob-1", "ftjob-2"}, "quiet": {"ftjob-1"}}


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_while_the_database_lets_nobody_in_nothing_is_acknowledged(opening: Opening, sql: Sql) -> None:
    async with opening() as store:
        sql("ALTER TABLE hint RENAME TO elsewhere")
        try:
            with pytest.raises(Gone):
                await store.hints.accept("research", "wh-1", "ftjob-1", NOON)
            assert not store.database.healthy
        finally:
            sql("ALTER TABLE elsewhere RENAME TO hint")
        assert await store.hints.accept("research", "wh-1", "ftjob-1", NOON)
        assert store.database.healthy
