"""What readers keep of the jobs they show equals what the database has, whatever was committed meanwhile."""

from __future__ import annotations

from datetime import datetime
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from monitor.domain.flow import Tracked
from monitor.domain.model import Status
from monitor.store import Stores
from monitor.store.reader import Reader
from monitor.store.schema import organization
from monitor.store.shown import ShownJobs
from tests.builders import DAY, HOUR, NOON, job, tracked
from tests.store.conftest import Opening
from tests.store.samples import change, ended, ids

ORGS: tuple[str, ...] = ("a", "b", "c")


def some(dice: Random, org: str, at: datetime) -> Tracked:
    """A job in some state, perhaps one that was there before."""
    id_, created = f"ftjob-{dice.randrange(12)}", NOON - dice.randrange(30) * HOUR
    if dice.random() < 0.5:
        return tracked(job(id_, org=org, created_at=created, name=f"n{dice.randrange(9)}"))
    return ended(id_, at - dice.randrange(30) * HOUR, org=org, created_at=created)


def fresh(store: Stores) -> Reader:
    """A reader that has kept nothing."""
    return Reader(database=store.database, changes=store.reader.changes)


@pytest.mark.parametrize("seed", range(3))
async def test_a_reader_that_keeps_jobs_shows_what_one_without_shows(opening: Opening, seed: int) -> None:
    dice, versions, at = Random(seed), dict.fromkeys(ORGS, 0), NOON
    retention, most, orgs, shown = DAY, 100, ORGS, set[int]()
    async with opening() as store:
        for _ in range(60):
            org = dice.choice(ORGS)
            jobs = {one.job.id: one for one in (some(dice, org, at) for _ in range(dice.randrange(1, 5)))}
            await store.jobs.commit(change(versions[org], org, tracked=tuple(jobs.values())))
            versions[org] += 1
            at += dice.random() * HOUR
            if dice.random() < 0.2:
                retention = dice.choice((HOUR, 12 * HOUR, DAY))
            if dice.random() < 0.2:
                most = dice.choice((0, 3, 10, 100))
            if dice.random() < 0.2:
                orgs = tuple(sorted(dice.sample(ORGS, dice.randrange(1, 4))))
            if dice.random() < 0.6:
                what: dict[str, Any] = {"orgs": orgs, "job_retention": retention, "max_jobs": most}
                seen, plain = await store.reader.snapshot(at, **what), await fresh(store).snapshot(at, **what)
                assert (seen.jobs, seen.dropped) == (plain.jobs, plain.dropped)
                shown.add(len(seen.jobs))
    assert len(shown) > 5


async def test_organisations_that_have_not_changed_are_not_asked_for_their_jobs(opening: Opening) -> None:
    statements: list[str] = []

    def refreshed(connection: sa.Connection, shown: ShownJobs) -> ShownJobs:
        def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
            statements.append(statement)

        sa.event.listen(connection, "before_cursor_execute", note)
        try:
            return shown.refreshed(connection, ORGS, 0, 9)
        finally:
            sa.event.remove(connection, "before_cursor_execute", note)

    async with opening() as store:
        for org in ORGS:
            await store.jobs.commit(change(0, org, tracked=(tracked(job("a", org=org)),)))
        shown = await store.database.read(refreshed, ShownJobs())
        await store.jobs.commit(change(1, "b", tracked=(tracked(job("a", Status.PAUSED, org="b")),)))
        statements.clear()
        shown = await store.database.read(refreshed, shown)
        assert len(statements) == 2, "one for the versions, one for the jobs of b"
        statements.clear()
        assert await store.database.read(refreshed, shown) == shown
        assert len(statements) == 1


async def test_a_job_that_was_deleted_is_shown_no_longer_than_it_would_be_without_that(opening: Opening) -> None:
    async with opening() as store:
        await store.jobs.commit(change(tracked=(ended("old", NOON - DAY), ended("new", NOON))))
        for since, expected in ((2 * DAY, ["new", "old"]), (DAY / 2, ["new"])):
            seen = await store.reader.snapshot(NOON, orgs=["research"], job_retention=since, max_jobs=9)
            assert ids(seen.jobs) == expected
            await store.jobs.prune(NOON, DAY / 2)


async def test_a_restored_database_is_read_anew(opening: Opening) -> None:
    async with opening() as store:
        await store.jobs.commit(change(tracked=(tracked(job("a", Status.QUEUED)),)))
        await store.jobs.commit(change(1, tracked=(tracked(job("a", Status.RUNNING)),)))
        await store.reader.snapshot(NOON, orgs=["research"], job_retention=DAY, max_jobs=9)

        def restore(connection: sa.Connection) -> None:
            connection.execute(sa.update(organization).values(version=0))

        await store.database.write(restore)
        await store.jobs.commit(change(tracked=(tracked(job("a", Status.PAUSED)),)))
        seen = await store.reader.snapshot(NOON, orgs=["research"], job_retention=DAY, max_jobs=9)
        assert [one.job.status for one in seen.jobs] == [Status.PAUSED]
