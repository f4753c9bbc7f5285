"""Whatever crashes, and in whatever order: each envelope is sent at least once, and in order."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import given, settings

from monitor.store import Claimed, Store, opened
from tests.builders import SECOND
from tests.store.samples import LEASE, StillClock, delivery, letters

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

    clock: StillClock = field(default_factory=StillClock)
    held: list[Claimed] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    settled: set[str] = field(default_factory=set)

    async def claim(self, store: Store, notifier: str) -> bool:
        fresh = await store.claim(notifier, self.clock.now(), owner="me", limit=2, lease=LEASE)
        for one in fresh:
            of = one.delivery
            before = {delivery(of.subject.id, seq, of.notifier).key for seq in range(1, of.seq)}
            assert before <= self.settled, f"{of.key} came before its turn"
            assert of.key not in self.settled, f"{of.key} came again after it had arrived"
        self.held += fresh
        return bool(fresh)

    async def act(self, store: Store, move: str, which: int) -> None:
        if move == "wait":
            self.clock.time += (which + 1) * LEASE / 3
        elif self.held:
            one = self.held.pop(which % len(self.held))
            if move == "postpone":
                await store.postpone(one, self.clock.now() + SECOND, reason="r")
            elif move != "crash":
                self.sent.append(one.delivery.key)
                if move == "deliver" and await store.delivered(one, self.clock.now()):
                    self.settled.add(one.delivery.key)


async def play(store: Store, world: World, moves: list[Move]) -> None:
    """The moves of one life of the process; what was held before went with the life before."""
    world.held.clear()
    for move, argument in moves:
        if isinstance(argument, str):
            await world.claim(store, argument)
        else:
            await world.act(store, move, argument)


async def drain(store: Store, world: World) -> None:
    """Couriers that work, long enough for each lease to end."""
    world.held.clear()
    for _ in SEQS:
        world.clock.time += LEASE + 2 * SECOND
        for notifier in NOTIFIERS:
            while await world.claim(store, notifier):
                while world.held:
                    await world.act(store, "deliver", 0)


@settings(max_examples=25, deadline=None)
@given(lives=st.lists(MOVES, min_size=1, max_size=3))
async def test_every_envelope_is_sent_in_order_whatever_is_lost(lives: list[list[Move]]) -> None:
    world = World()
    every = [delivery(job, seq, notifier) for job in JOBS for seq in SEQS for notifier in NOTIFIERS]
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite:///{directory}/monitor.db"
        async with opened(url, clock=world.clock) as store:
            await store.commit(letters(*every))
        for moves in lives:
            async with opened(url, clock=world.clock) as store:
                await play(store, world, moves)
        async with opened(url, clock=world.clock) as store:
            await drain(store, world)
            assert await store.next_due("ops") is None
    assert set(world.sent) == {one.key for one in every} == world.settled
