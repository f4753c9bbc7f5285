"""Concurrent requests share one answer, which is never older than the request."""

from __future__ import annotations

import asyncio

import pytest

from monitor.web.single_flight import SingleFlight


class AnswerMaker:
    """Makes numbered answers, each when it is allowed to."""

    def __init__(self) -> None:
        self.made = 0
        self.let = asyncio.Semaphore(0)

    async def make(self) -> int:
        self.made += 1
        number = self.made
        await self.let.acquire()
        return number


async def test_callers_during_a_run_share_the_next_result() -> None:
    kitchen, shared = AnswerMaker(), SingleFlight(1)
    first = asyncio.create_task(shared.get("page", kitchen.make))
    await asyncio.sleep(0.01)
    others = [asyncio.create_task(shared.get("page", kitchen.make)) for _ in range(100)]
    await asyncio.sleep(0.01)
    kitchen.let.release()
    kitchen.let.release()
    assert await first == 1
    assert await asyncio.gather(*others) == [2] * 100
    assert kitchen.made == 2


async def test_keys_are_separate_and_a_failure_reaches_the_callers_of_its_run_only() -> None:
    shared = SingleFlight(1)
    gate = asyncio.Event()

    async def broken() -> int:
        await gate.wait()
        raise OSError("no")

    async def whole() -> str:
        return "fine"

    async def blocker() -> int:
        await gate.wait()
        return 0

    tasks = [asyncio.create_task(shared.get(kind, make)) for kind, make in (
        ("first", blocker), ("bad", broken), ("bad", broken))]  # fmt: skip
    good = asyncio.create_task(shared.get("good", whole))
    await asyncio.sleep(0.01)
    gate.set()
    assert [type(one) for one in await asyncio.gather(*tasks, return_exceptions=True)] == [int, OSError, OSError]
    assert await good == "fine"
    assert await shared.get("bad", whole) == "fine"


async def test_the_caller_that_started_a_run_may_be_cancelled() -> None:
    kitchen, shared = AnswerMaker(), SingleFlight(1)
    busy = asyncio.create_task(shared.get("other", kitchen.make))
    await asyncio.sleep(0.01)
    maker, other = (asyncio.create_task(shared.get("page", kitchen.make)) for _ in range(2))
    await asyncio.sleep(0.01)
    maker.cancel()
    for _ in range(3):
        kitchen.let.release()
    assert await busy == 1
    assert await other == 2
    with pytest.raises(asyncio.CancelledError):
        await maker
