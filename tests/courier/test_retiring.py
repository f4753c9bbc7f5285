"""A courier that is relieved, as by a reload: it claims nothing more, and what it has in flight lands."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from monitor.clock import SystemClock
from monitor.notifiers.base import Attempt
from tests.courier.parts import Scripted, office
from tests.courier.test_loop import Failing, in_real_time

pytestmark = pytest.mark.fault("F04")


@pytest.mark.fault("G23", "F04")
async def test_one_that_waits_ends_at_once(tmp_path: Path) -> None:
    async with office(tmp_path, due_by=SystemClock()) as here:
        courier = in_real_time(here, Scripted())
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(courier.run)
                await anyio.sleep(0.1)
                courier.retire()


@pytest.mark.fault("G23", "F04")
async def test_what_is_in_flight_lands_and_what_waits_is_left_to_the_successor(tmp_path: Path) -> None:
    async with office(tmp_path, due_by=SystemClock()) as here:
        await here.enqueue("a", seqs=(1, 2))
        begun, over = anyio.Event(), anyio.Event()

        async def fly(_: Attempt) -> None:
            begun.set()
            await over.wait()

        target = Scripted([fly])
        old, new = in_real_time(here, target, 0.05), in_real_time(here, target)
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(old.run)
                await begun.wait()
                old.retire()
                await anyio.sleep(0.15)
                over.set()
            assert await here.states() == {"a/1@ops": "sent", "a/2@ops": "pending"}
            async with anyio.create_task_group() as group:
                group.start_soon(new.run)
                while (await here.states())["a/2@ops"] != "sent":  # noqa: ASYNC110 - seen from outside
                    await anyio.sleep(0.01)
                new.retire()
        assert len(target.tried) == 2


@pytest.mark.fault("G1", "G6", "G19", "G23", "S01", "F04")
@pytest.mark.timeout(20)
async def test_an_outcome_that_the_disk_did_not_take_is_stored_before_it_leaves(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue("a")
        disk = Failing(here.store.outbox)

        async def fill(_: Attempt) -> None:
            disk.full = True

        courier = here.courier(Scripted([fill]), outbox=disk)  # type: ignore[arg-type]  # the store, but for its faults
        async with anyio.create_task_group() as group:
            group.start_soon(courier.run)
            while not disk.full:  # noqa: ASYNC110 - seen from outside
                await anyio.sleep(0.01)
            courier.retire()
            await anyio.sleep(0.05)
            assert await here.states() == {"a/1@ops": "pending"}
            disk.full = False
        assert await here.states() == {"a/1@ops": "sent"}
