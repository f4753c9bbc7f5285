"""The pages of the JSON API."""

from __future__ import annotations

import base64
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from monitor.domain.flow import Tracked
from monitor.domain.model import Method, Status
from monitor.store import BadCursor, Stores, opened
from monitor.store.reader import ENDED_SINCE, FINISHED
from monitor.store.schema import job as job_table
from monitor.store.shown import ENDED, SHOWN
from tests.builders import NOON, SECOND, event, job, tracked
from tests.store.conftest import Opening
from tests.store.samples import StillClock, change, delivery, ids, letters


async def fill(store: Stores) -> None:
    """Two organisations with 12 jobs each, some created in the same second and one at a time nobody knows."""
    for org in ("a", "b"):
        jobs = [
            job(
                f"job-{number:02}",
                Status.FAILED if number % 3 == 0 else Status.RUNNING,
                org=org,
                created_at=NOON + number // 2 * SECOND if number else None,
            )
            for number in range(12)
        ]
        await store.jobs.commit(change(org=org, tracked=tuple(tracked(one) for one in jobs)))


@pytest.mark.parametrize("limit", [1, 5, 24, 50])
async def test_every_job_is_on_exactly_one_page_newest_first(opening: Opening, limit: int) -> None:
    async with opening() as store:
        await fill(store)
        page = await store.reader.jobs(limit=limit)
        found = list(page.items)
        while page.next:
            page = await store.reader.jobs(limit=limit, after=page.next)
            assert page.items
            found += page.items
    places = [(one.job.org, one.job.id) for one in found]
    assert len(set(places)) == len(places) == 24
    assert [one.job.created_at for one in found[-2:]] == [None, None]
    moments = [one.job.created_at or NOON for one in found]
    assert moments == sorted(moments, reverse=True)


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        pytest.param({"org": "a"}, 12, id="of one organisation"),
        pytest.param({"status": Status.FAILED}, 8, id="of one status"),
        pytest.param({"org": "b", "status": Status.RUNNING}, 8, id="of both"),
        pytest.param({"org": "nobody"}, 0, id="of nobody"),
    ],
)
async def test_a_listing_can_be_narrowed(opening: Opening, asked: dict[str, object], count: int) -> None:
    async with opening() as store:
        await fill(store)
        found = await store.reader.jobs(**asked)  # type: ignore[arg-type]  # a table of keywords
    assert len(found.items) == count
    for one in found.items:
        assert asked.get("org", one.job.org) == one.job.org
        assert asked.get("status", one.job.status) == one.job.status


async def test_a_job_that_comes_while_pages_are_read_disturbs_none(opening: Opening) -> None:
    async with opening() as store:
        await fill(store)
        first = await store.reader.jobs(org="a", limit=3)
        await store.jobs.commit(
            change(1, "a", tracked=(tracked(job("newest", org="a", created_at=NOON + 99 * SECOND)),))
        )
        second = await store.reader.jobs(org="a", limit=3, after=first.next)
    assert ids(first.items + second.items) == [f"job-{number:02}" for number in (11, 10, 9, 8, 7, 6)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("%%%", id="not base64"),
        pytest.param("é", id="not ASCII"),
        pytest.param(base64.urlsafe_b64encode(b'[1,"a"]').decode(), id="another listing's"),
        pytest.param(base64.urlsafe_b64encode(b'["1","a","b"]').decode(), id="of the wrong kind"),
        pytest.param(base64.urlsafe_b64encode(b"[99999999999999999999,1]").decode(), id="out of range"),
    ],
)
async def test_a_cursor_that_we_did_not_give_is_refused_without_harm(opening: Opening, text: str) -> None:
    async with opening() as store:
        for asked in (store.reader.jobs(after=text), store.reader.events("a", "b", after=text)):
            with pytest.raises(BadCursor):
                await asked
        assert store.database.healthy


async def test_events_are_listed_newest_first_and_those_of_the_same_second_as_they_came(opening: Opening) -> None:
    timeless = replace(event("none"), at=None)
    async with opening() as store:
        await store.jobs.commit(change(events=(timeless, event("a"), event("b"), event("late", NOON - SECOND))))
        first = await store.reader.events("research", "ftjob-1", limit=3)
        second = await store.reader.events("research", "ftjob-1", limit=3, after=first.next)
    assert [one.id for one in first.items + second.items] == ["b", "a", "late", "none"]
    assert second.next is None


async def test_deliveries_are_listed_newest_first(opening: Opening, clock: StillClock) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery("a"), delivery("b")))
        clock.time += SECOND
        await store.jobs.commit(letters(delivery("c"), based_on=1))
        first = await store.reader.deliveries(limit=2)
        second = await store.reader.deliveries(limit=2, after=first.next)
        assert [one.job for one in first.items + second.items] == ["c", "b", "a"]
        assert (await store.reader.deliveries(state="dead")).items == ()


async def test_what_finished_before_a_moment_is_listed_from_the_last_on(opening: Opening) -> None:
    def finished(number: int, org: str) -> Tracked:
        at = NOON - number // 2 * SECOND  # two at a time
        return tracked(job(f"job-{number:02}", Status.FAILED, org=org, created_at=at, finished_at=at))

    async with opening() as store:
        for org in ("a", "b"):
            await store.jobs.commit(
                change(org=org, tracked=(*(finished(n, org) for n in range(12)), tracked(job(org=org))))
            )
        found: list[Tracked] = []
        after: str | None = None
        while True:
            page = await store.reader.finished_before(NOON - SECOND, limit=5, after=after)
            found += page.items
            if (after := page.next) is None:
                break
    places = [(one.job.org, one.job.id) for one in found]
    assert set(places) == {(org, f"job-{number:02}") for org in "ab" for number in range(4, 12)}
    assert len(places) == 16
    moments = [one.job.finished_at for one in found if one.job.finished_at is not None]
    assert moments == sorted(moments, reverse=True)


async def plan_of(query: sa.Select[Any], tmp_path: Path) -> list[str]:
    """How SQLite goes about it."""
    async with opened(f"sqlite:///{tmp_path / 'monitor.db'}", clock=StillClock()):
        pass
    sql = str(query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    with closing(sqlite3.connect(tmp_path / "monitor.db")) as connection:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]


async def test_what_finished_is_found_by_its_index(tmp_path: Path) -> None:
    plan = await plan_of(FINISHED.params(b_before=1).where(job_table.c.ended_at <= 1).limit(15), tmp_path)
    assert plan[0] == "SEARCH job USING INDEX job_ended (ended_at<?)"
    assert "USE TEMP B-TREE FOR ORDER BY" not in plan, "only what ended in the same millisecond is sorted"


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(ENDED.params(b_most=1), id="shown"),
        pytest.param(ENDED_SINCE, id="counted for an outage"),
        pytest.param(SHOWN, id="how many there are"),
    ],
)
async def test_what_ended_lately_costs_nothing_by_what_ended_long_ago(query: sa.Select[Any], tmp_path: Path) -> None:
    plan = await plan_of(query.params(b_orgs=["a", "b"], b_since=1), tmp_path)
    searches = [step for step in plan if step.startswith(("SEARCH job", "SCAN job"))]
    assert searches
    assert all("INDEX job_ended (ended_at" in step for step in searches), plan


async def test_a_job_is_also_found_by_the_provider_s_id(opening: Opening) -> None:
    stored = [job("dpo:one", method=Method.DPO), job("two"), job("dpo:two", method=Method.DPO), job("batch:three")]
    async with opening() as store:
        await store.jobs.commit(change(tracked=tuple(map(tracked, stored))))
        found = {id_: await store.reader.job("research", id_) for id_ in ("one", "two", "dpo:two", "three", "four")}
        ids_found = {id_: file and file.tracked.job.id for id_, file in found.items()}
        assert ids_found == {"one": "dpo:one", "two": "two", "dpo:two": "dpo:two", "three": "batch:three", "four": None}
