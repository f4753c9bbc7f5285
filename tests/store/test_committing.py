"""What is committed is known, whole or not at all, and stays."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from monitor.domain.flow import Change, CounterIncrement, Known
from monitor.domain.model import Basis, Cost, EventKind, JobError, Metrics, Status, Training
from monitor.store import Stale, StoreError, Stores, Unstorable
from tests.builders import HOUR, NOON, SECOND, event, job, measured, tracked
from tests.store.conftest import Opening, Sql
from tests.store.samples import change, delivery, ended, full, transition
from tests.store.test_books import spending

pytestmark = pytest.mark.fault("G8")

RICH = tracked(
    job(
        "rich",
        Status.FAILED,
        name="bot \N{ROCKET} \0 '\"",
        started_at=NOON,
        finished_at=NOON + HOUR,
        trained_tokens=2**40,
        error=JobError(code="server_error", message="…"),
        metadata={"env": "prod", "": ""},
        result_files=("file-1", "file-2"),
        training=Training(started_at=NOON, latest=Metrics(step=3, train_loss=0.25), loop_seconds=1.5, counted_step=3),
    ),
    seq=7,
    stalled=True,
    missing=1,
    cost=Cost(basis=Basis.COMPUTED, usd=Decimal("2.40")),
    since=NOON.replace(microsecond=123456),
)


async def tallied(store: Stores, org: str = "research") -> dict[str, int]:
    seen = await store.reader.snapshot(NOON, orgs=[org], job_retention=HOUR, max_jobs=1)
    return {one.metric: one.amount for one in seen.counters}


async def test_an_organisation_never_seen_has_version_0(opening: Opening) -> None:
    async with opening() as store:
        assert await store.jobs.known("research") == Known(org="research")


async def test_what_was_committed_is_known_after_a_restart_to_the_last_field(opening: Opening) -> None:
    seen = change(tracked=(RICH, tracked()), events=(event("a"), event("b", NOON + SECOND)), horizon=NOON)
    async with opening() as store:
        await store.jobs.commit(seen)
    async with opening() as store:
        assert await store.jobs.known("research") == Known(
            org="research",
            version=1,
            jobs={"rich": RICH, "ftjob-1": tracked(recent=("a", "b"))},
            horizon=NOON,
        )


async def test_a_settled_job_is_known_by_its_name_only(opening: Opening) -> None:
    async with opening() as store:
        await store.jobs.commit(change(tracked=(ended("old"), ended("fresh", finalized=False))))
        known = await store.jobs.known("research")
        assert known.final.keys() == {"old"}
        assert set(known.jobs) == {"fresh"}
        await store.jobs.commit(change(1, tracked=(ended("fresh"),)))
        known = await store.jobs.known("research")
        assert known.final.keys() == {"old", "fresh"}
        assert known.jobs == {}


@pytest.mark.parametrize("leased", [pytest.param(True, id="remembered"), pytest.param(False, id="read each time")])
async def test_what_is_remembered_is_what_is_stored(opening: Opening, leased: bool) -> None:
    async with opening() as store:
        if leased:
            await store.leases.take("research")
        await store.jobs.known("research")
        await store.jobs.commit(change(tracked=(tracked(job("a")), tracked(job("b"))), horizon=NOON))
        await store.jobs.commit(change(1, tracked=(tracked(recent=("x", "y")),), events=(event("x"), event("y"))))
        await store.jobs.commit(change(2, tracked=(ended("a"),)))
        remembered = await store.jobs.known("research")
        assert (await store.jobs.known("research") is remembered) is leased
    async with opening() as store:
        assert await store.jobs.known("research") == remembered


async def test_a_horizon_only_ever_rises_and_is_never_cut_below_its_job(opening: Opening) -> None:
    exact = NOON.replace(microsecond=1)
    async with opening() as store:
        await store.jobs.commit(change(horizon=exact))
        await store.jobs.commit(change(1, tracked=(tracked(),), horizon=NOON - HOUR))
        await store.jobs.commit(change(2, tracked=(tracked(job("b")),)))
        horizon = (await store.jobs.known("research")).horizon
        assert horizon is not None
        assert exact <= horizon < exact + SECOND


@pytest.mark.parametrize("based_on", [0, 2, 7])
async def test_a_change_based_on_other_than_the_newest_knowledge_is_stale_and_changes_nothing(
    opening: Opening, based_on: int
) -> None:
    async with opening() as store:
        await store.leases.take("research")
        await store.jobs.commit(full(0))
        before = await store.jobs.known("research")
        with pytest.raises(Stale):
            await store.jobs.commit(replace(full(5), based_on=based_on))
        assert await store.jobs.known("research") == before
        assert await tallied(store) == {"changes": 1}
        await store.jobs.commit(full(1))
        assert (await store.jobs.known("research")).version == 2


async def test_after_a_stale_change_the_newer_knowledge_is_read(opening: Opening, sql: Sql) -> None:
    async with opening() as store:
        await store.leases.take("research")
        await store.jobs.commit(full(0))
        assert (await store.jobs.known("research")).version == 1
        sql("UPDATE organization SET version = 5")
        with pytest.raises(Stale):
            await store.jobs.commit(full(1))
        assert (await store.jobs.known("research")).version == 5


async def test_of_two_changes_at_once_on_the_same_knowledge_one_wins(opening: Opening) -> None:
    stale = 0

    async def commit(store: Stores, id_: str) -> None:
        nonlocal stale
        try:
            await store.jobs.commit(change(tracked=(tracked(job(id_)),)))
        except Stale:
            stale += 1

    async with opening() as store:
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(commit, store, f"job-{number}")
        assert stale == 4
        assert len((await store.jobs.known("research")).jobs) == 1


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_of_two_replicas_that_see_an_organisation_first_at_once_one_wins(opening: Opening) -> None:
    outcomes: list[bool] = []

    async def commit(store: Stores, org: str, id_: str) -> None:
        try:
            await store.jobs.commit(change(org=org, tracked=(tracked(job(id_, org=org)),)))
        except Stale:
            outcomes.append(False)
        else:
            outcomes.append(True)

    async with opening() as one, opening() as other:
        for number in range(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(commit, one, f"org-{number}", "a")
                tasks.start_soon(commit, other, f"org-{number}", "b")
            assert len((await one.jobs.known(f"org-{number}")).jobs) == 1
    assert sorted(outcomes) == [False] * 10 + [True] * 10


async def test_an_empty_change_writes_nothing_but_the_first_sight_is_never_empty(opening: Opening) -> None:
    async with opening() as store:
        await store.jobs.commit(change())
        assert (await store.jobs.known("research")).version == 1
        await store.jobs.commit(change(1))
        assert (await store.jobs.known("research")).version == 1


async def test_200_commits_at_once_are_all_stored_and_a_bad_one_among_them_fails_alone(opening: Opening) -> None:
    failures: dict[str, type[StoreError]] = {}

    async def commit(store: Stores, one: Change) -> None:
        try:
            await store.jobs.commit(one)
        except StoreError as error:
            failures[one.org] = type(error)

    async with opening() as store:
        changes = [full(0, f"org-{number}") for number in range(200)]
        changes.append(change(3, "behind", tracked=(tracked(job(org="behind")),)))
        changes.append(change(0, "surrogate", tracked=(tracked(job(org="surrogate", name="\ud800")),)))
        changes.append(change(0, "huge", tracked=(tracked(job(org="huge")),), spendings=(spending(usd="1e12"),)))
        async with anyio.create_task_group() as tasks:
            for one in changes:
                tasks.start_soon(commit, store, one)
        assert failures == {"behind": Stale, "surrogate": Unstorable, "huge": Unstorable}
        assert store.database.healthy
        assert [(await store.jobs.known(org)).version for org in failures] == [0, 0, 0]
        seen = await store.reader.snapshot(NOON, orgs=[one.org for one in changes], job_retention=HOUR, max_jobs=300)
        assert len(seen.jobs) == 200
        assert sum(one.amount for one in seen.counters) == 200
        assert seen.backlogs[0].pending == 200


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_commits_of_many_organisations_at_once_share_their_statements(opening: Opening) -> None:
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    async with opening() as store:
        sa.event.listen(sa.Engine, "before_cursor_execute", note)
        try:
            async with anyio.create_task_group() as tasks:
                for number in range(100):
                    tasks.start_soon(store.jobs.commit, full(0, f"org-{number}"))
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", note)
        assert sum(statement.startswith("INSERT INTO job ") for statement in statements) == 2  # who leads, all others
        assert await tallied(store, "org-99") == {"changes": 1}


async def test_a_caller_who_is_cancelled_in_the_middle_leaves_a_whole_commit_behind(opening: Opening) -> None:
    async with opening() as store:
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(store.jobs.commit, full(0, f"org-{number}"))
            await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        for number in range(50):
            known = await store.jobs.known(f"org-{number}")
            kept = await store.reader.job(f"org-{number}", "job-0")
            assert known.version == len(known.jobs) == (len(kept.deliveries) if kept else 0)
        await store.jobs.commit(full(0, "after"))
        assert (await store.jobs.known("after")).version == 1


async def test_the_same_transition_and_envelope_twice_are_one(opening: Opening) -> None:
    async with opening() as store:
        await store.jobs.commit(change(tracked=(tracked(),), transitions=(transition(),), deliveries=(delivery(),)))
        await store.jobs.commit(change(1, tracked=(tracked(),), transitions=(transition(),), deliveries=(delivery(),)))
        kept = await store.reader.job("research", "ftjob-1")
        assert kept is not None
        assert kept.transitions == (transition(),)
        assert [posted.key for posted in kept.deliveries] == ["research/ftjob-1/1@ops"]


async def test_tallies_add_up_over_changes_organisations_and_restarts(opening: Opening) -> None:
    one = CounterIncrement(metric="tokens", labels=(("model", "m"),), amount=2)
    async with opening() as store:
        await store.jobs.commit(change(0, "a", tracked=(tracked(job(org="a")),), counters=(one, one)))
        await store.jobs.commit(change(0, "b", tracked=(tracked(job(org="b")),), counters=(one,)))
    async with opening() as store:
        await store.jobs.commit(change(1, "a", tracked=(tracked(job(org="a")),), counters=(replace(one, amount=4),)))
        assert await tallied(store) == {"tokens": 10}


async def test_an_event_with_an_absurd_step_is_stored_as_it_was_told(opening: Opening) -> None:
    async with opening() as store:
        await store.jobs.commit(change(events=(measured(2**70),)))
        assert (await store.reader.events("research", "ftjob-1")).items == (measured(2**70),)


async def test_what_no_database_can_hold_is_not_found_and_harms_nothing(opening: Opening, kind: str) -> None:
    async with opening() as store:
        with pytest.raises(Unstorable):
            await store.reader.job("research", "\ud800")
        with pytest.raises(Unstorable) if kind == "postgresql" else nullcontext():
            assert await store.reader.job("research", "\0") is None
        assert store.database.healthy


async def test_an_event_is_stored_once_however_often_it_is_read(opening: Opening) -> None:
    async with opening() as store:
        await store.jobs.commit(change(events=(event("a"), measured(1, train_loss=0.5))))
        await store.jobs.commit(change(1, events=(measured(1, train_loss=0.5), event("z", level="warn"))))
        listed = (await store.reader.events("research", "ftjob-1")).items
    assert listed == (event("z", level="warn"), measured(1, train_loss=0.5), event("a"))
    assert listed[1].kind is EventKind.METRICS


async def test_who_asks_during_a_commit_learns_what_it_makes_known(opening: Opening) -> None:
    async with opening() as store, anyio.create_task_group() as tasks:
        assert await store.jobs.leases.take("research")
        assert (await store.jobs.known("research")).version == 0
        tasks.start_soon(store.jobs.commit, change(tracked=(tracked(),)))
        await anyio.lowlevel.checkpoint()
        assert (await store.jobs.known("research")).version == 1
