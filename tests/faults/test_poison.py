"""Deliveries that cannot be decoded or rendered: each becomes a dead letter, and those behind it are sent."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.daemon import until
from tests.faults.delivery import hook, running_couriers, slack
from tests.faults.targets import Target, listening
from tests.metrics.scrapes import value

pytestmark = pytest.mark.fault("G10")


@pytest.mark.fault("D15")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("not JSON", id="D15 no JSON"),
        pytest.param("{}", id="D15 an empty envelope"),
        pytest.param('{"type": 7}', id="D15 of another shape"),
        pytest.param('{"at": "yesterday"', id="D15 half of one"),
    ],
)
async def test_an_envelope_that_cannot_be_read_is_buried_and_those_behind_it_go_out(tmp_path: Path, text: str) -> None:
    target = Target()
    async with listening(target):
        async with running_couriers(tmp_path) as couriers:
            await couriers.enqueue("poison", "a", "b", to=("hook",))
        with closing(sqlite3.connect(tmp_path / "monitor.db")) as database, database:
            database.execute("UPDATE outbox SET message = ? WHERE subject_id = 'poison'", (text,))
        database.close()
        async with running_couriers(tmp_path, hook("hook", target)) as couriers:

            async def settled() -> bool:
                return await couriers.states("hook") == {"dead": 1, "sent": 2}

            await until(settled)
            (dead,) = await couriers.posted("dead")
            assert (dead.key, dead.reason) == ("research/poison/1@hook", "unreadable")
    assert sorted(target.keys()) == ["research/a/1@hook", "research/b/1@hook"]


@pytest.mark.fault("D16")
async def test_an_envelope_that_no_renderer_can_take_is_given_up_alone(tmp_path: Path) -> None:
    """Its time is outside of every calendar once it is converted to UTC, so that every renderer raises."""
    target, chat = Target(), Target()
    async with listening(target, chat):
        async with running_couriers(tmp_path) as couriers:
            await couriers.enqueue("poison", "a", "b", to=("hook", "chat"))
        with closing(sqlite3.connect(tmp_path / "monitor.db")) as database, database:
            rows = database.execute("SELECT key, message FROM outbox WHERE subject_id = 'poison'").fetchall()
            for key, text in rows:
                broken = json.dumps({**json.loads(text), "at": "0001-01-01T00:00:00+14:00", "severity": "bad"})
                database.execute("UPDATE outbox SET message = ? WHERE key = ?", (broken, key))
        database.close()
        async with running_couriers(tmp_path, hook("hook", target), slack("chat", chat)) as couriers:
            await until(lambda: len(target.letters) == 2)

            async def settled() -> bool:
                return await couriers.states("hook") == {"dead": 1, "sent": 2}

            await until(settled)
            dead = [one for one in await couriers.posted("dead") if one.notifier == "hook"]
            assert [(one.key, one.reason) for one in dead] == [("research/poison/1@hook", "bug")]
            assert value(couriers.own, "finetune_notifications_dead_total", {"notifier": "hook", "reason": "bug"}) == 1
    await asyncio.sleep(0)
