"""Streams are read to their beginning a few at a time, and nobody waits for a server that does not answer."""

from __future__ import annotations

import anyio
import anyio.lowlevel

from monitor.clock import SystemClock
from monitor.watchers.long_reads import LongReads


class Time(SystemClock):
    """A clock on which every wait that nobody ends is over at once."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return self.passed

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        if not event.is_set():
            self.passed += seconds


async def test_as_many_read_at_once_as_may() -> None:
    reads, now, most = LongReads(most=3), 0, 0
    clock = SystemClock()

    async def read() -> None:
        nonlocal now, most
        async with reads.turn(clock):
            now += 1
            most = max(most, now)
            await anyio.lowlevel.checkpoint()
            now -= 1

    with anyio.fail_after(4.0):  # a turn that is not handed on would be waited for for five seconds
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(read)
    assert (now, most) == (0, 3)


async def test_a_turn_that_lasts_keeps_nobody_waiting() -> None:
    reads, clock, turns = LongReads(most=2), Time(), []

    async def hang() -> None:
        async with reads.turn(clock):
            turns.append(clock.passed)
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(hang)
        with anyio.fail_after(4.0):
            while len(turns) < 4:
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert turns[:2] == [0.0, 0.0]
    assert min(turns[2:]) >= 5.0


async def test_what_is_in_memory_counts_until_it_is_committed() -> None:
    reads, clock, turns = LongReads(most=2), Time(), []
    committed = anyio.Event()

    async def read() -> None:
        async with reads.turn(clock) as turn:
            turns.append(clock.passed)
            turn.answered = True
            await committed.wait()

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(read)
        while clock.passed < 60.0:
            await anyio.lowlevel.checkpoint()
        assert turns == [0.0, 0.0]
        committed.set()
    assert len(turns) == 4


async def test_who_leaves_the_queue_keeps_no_turn() -> None:
    reads, clock = LongReads(most=1), SystemClock()
    async with reads.turn(clock):
        with anyio.move_on_after(0.01) as scope:
            async with reads.turn(clock):
                raise AssertionError
    assert scope.cancelled_caught
    with anyio.fail_after(1.0):
        async with reads.turn(clock):
            pass
