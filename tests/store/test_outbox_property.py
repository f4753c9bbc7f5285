"""Whatever crashes, and in whatever order: each envelope is sent at least once, and in order."""

from __future__ import annotations

from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from monitor.store import ClaimedDelivery, Stores
from tests.builders import SECOND
from tests.store.conftest import Opening, Sql
from tests.store.samples import LEASE, StillClock, delivery, letters

pytestmark = pytest.mark.fault("G9")

JOBS, SEQS, NOTIFIERS = ("a", "b"), (1, 2, 3), ("ops", "hook")
Move = tuple[str, str | int]
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.sampled_from(NOTIFIERS)),
        st.tuples(st.sampled_from(["deliver", "lose the answer", "postpone", "crash", "wait"]), st.integers(0, 3)),
    ),
    max_size=15,
)


@dataclass
class World:
    """What receivers got, and what couriers hold."""

    clock: StillClock
    held: list[ClaimedDelivery] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    settled: set[str] = field(default_factory=set)

    async def claim(self, store: Stores, notifier: str) -> bool:
        fresh = await store.outbox.claim(notifier, owner="me", limit=2, lease=LEASE)
        for one in fresh:
            of = one.delivery
            before = {delivery(of.subject.id, seq, of.notifier).key for seq in range(1, of.seq)}
            assert before <= self.settled, f"{of.key} came before its turn"
            assert of.key not in self.settled, f"{of.key} came again after it had arrived"
        self.held += fresh
        return bool(fresh)

    async def act(self, store: Stores, move: str, which: int) -> None:
        if move == "wait":
            self.clock.time += (which + 1) * LEASE / 3
        elif self.held:
            one = self.held.pop(which % len(self.held))
            if move == "postpone":
                await store.outbox.postpone(one, SECOND, reason="r")
            elif move != "crash":
                self.sent.append(one.delivery.key)
                if move == "deliver" and await store.outbox.delivered(one):
                    self.settled.add(one.delivery.key)


async def play(store: Stores, world: World, moves: list[Move]) -> None:
    """The moves of one life of the process; what was held before went with the life before."""
    world.held.clear()
    for move, argument in moves:
        if isinstance(argument, str):
            await world.claim(store, argument)
        else:
            await world.act(store, move, argument)


async def drain(store: Stores, world: World) -> None:
    """Couriers that work, long enough for each lease to end."""
    world.held.clear()
    for _ in SEQS:
        world.clock.time += LEASE + 2 * SECOND
        for notifier in NOTIFIERS:
            while await world.claim(store, notifier):
                while world.held:
                    await world.act(store, "deliver", 0)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lives=st.lists(MOVES, min_size=1, max_size=3))
async def test_every_delivery_is_sent_in_order_whatever_is_lost(
    opening: Opening, clock: StillClock, sql: Sql, lives: list[list[Move]]
) -> None:
    world = World(clock)
    every = [delivery(job, seq, notifier) for job in JOBS for seq in SEQS for notifier in NOTIFIERS]
    async with opening() as store:
        sql("DELETE FROM outbox")
        sql("DELETE FROM organization")
        await store.jobs.commit(letters(*every))
    for moves in lives:
        async with opening() as store:
            await play(store, world, moves)
    async with opening() as store:
        await drain(store, world)
        assert await store.outbox.next_due("ops") is None
    assert set(world.sent) == {one.key for one in every} == world.settled
