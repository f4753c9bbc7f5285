"""Couriers of several replicas agree on turns, and on which targets are suspended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from monitor.courier import Lanes
from monitor.notifiers.base import FailureKind
from monitor.store import Leases
from monitor.store.targets import TargetStore
from tests.courier.parts import Office, Scripted, error, office

REFUSED = error(FailureKind.TARGET, "token_revoked")


@asynccontextmanager
async def pair(path: Path) -> AsyncIterator[tuple[Office, Office]]:
    """What two replicas have of one database."""
    async with office(path) as one:
        yield await beside(one, "a"), await beside(one, "b")


async def beside(one: Office, name: str) -> Office:
    await Leases(one.store.database, one.clock, owner=name, duration=timedelta(hours=1)).renew([])
    targets = TargetStore(database=one.store.database, owner=name)
    return Office(store=one.store, clock=one.clock, lanes=Lanes(targets))


async def test_a_target_that_takes_one_message_a_second_gets_one_from_all_of_them(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b):
        await a.enqueue("one", "two", "three")
        ours, theirs = Scripted(min_gap=1.0), Scripted(min_gap=1.0)
        mine, others = a.courier(ours), b.courier(theirs)
        assert await mine.drain_once() == 1
        assert await others.drain_once() == 0, "it is the other's turn for a second"
        a.clock.move(1.0)
        assert await others.drain_once() == 1
        assert await mine.drain_once() == 0
        a.clock.move(1.0)
        assert await mine.drain_once() == 1
        assert (len(ours.tried), len(theirs.tried)) == (2, 1)


async def test_a_pause_that_the_target_asks_of_one_is_kept_by_the_other(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b):
        await a.enqueue("one", "two")
        assert await a.courier(Scripted([error(FailureKind.RATE, retry_after=30.0)], min_gap=1.0)).drain_once() == 1
        others = b.courier(Scripted(min_gap=1.0))
        a.clock.move(29.0)
        assert await others.drain_once() == 0
        a.clock.move(1.0)
        assert await others.drain_once() == 1


async def test_a_turn_of_a_replica_that_died_while_it_sent_is_taken_when_its_session_is_over(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b):
        await a.enqueue("one")
        assert a.lanes.targets is not None
        assert await a.lanes.targets.take_turn("lane", timedelta(hours=2))
        others = b.courier(Scripted(min_gap=1.0))
        a.clock.move(3599.0)
        assert await others.drain_once() == 0
        a.clock.move(2.0)
        assert await others.drain_once() == 1


async def test_a_refusal_of_one_suspends_the_target_for_all_and_one_of_them_tries_it_again(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b):
        await a.enqueue("one", "two")
        ours, theirs = Scripted([REFUSED], always=None), Scripted()
        mine, others = a.courier(ours), b.courier(theirs)
        assert await others.drain_once() == 2
        await a.enqueue("three", "four")
        assert await mine.drain_once() == 2
        assert a.metrics.suspended == {"ops": True}
        await mine.drain_once()
        a.clock.move(5.0)
        assert await others.drain_once() == 0
        assert b.metrics.suspended == {"ops": True}
        a.clock.move(60.0)
        tried = [await others.drain_once(), await mine.drain_once()]
        assert tried == [1, 0], "whoever asks first"
        assert b.metrics.suspended == {"ops": False}
        await others.drain_once()
        a.clock.move(5.0)
        await mine.drain_once()
        assert a.metrics.suspended == {"ops": False}


async def test_a_restart_tries_a_suspended_target_at_once(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b):
        await a.enqueue("one")
        mine = a.courier(Scripted([REFUSED]))
        await mine.drain_once()
        await mine.drain_once()
        a.clock.move(10.0)
        assert await b.courier(Scripted()).drain_once() == 1


async def test_a_replica_alone_with_its_database_shares_nothing(tmp_path: Path) -> None:
    async with office(tmp_path) as one:
        await one.enqueue("one")
        assert one.lanes.targets is None
        assert one.store.targets is None
        assert await one.courier(Scripted(min_gap=1.0)).drain_once() == 1
