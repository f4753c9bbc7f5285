"""Killed again and again in the middle of its work: no end is lost, and what is repeated is the same."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from monitor.simulator import Pace, Simulation, Traffic, organisations, serve
from tests.e2e.daemon import running, until
from tests.e2e.receivers import Inbox, webhook
from tests.e2e.test_story import configuration, rounds

QUICK = Pace(
    validation=(0.1, 0.3), queue=(0.1, 0.5), step=(0.02, 0.04), evaluation=(0.1, 0.3), announcement=(0.2, 0.4), steps=20
)
KILLS = 50


@pytest.mark.timeout(420)
async def test_no_end_is_lost_to_50_kills_and_repeats_are_the_same(tmp_path: Path) -> None:
    dice = random.Random(20231)
    simulation = Simulation(organisations(2), pace=QUICK, traffic=Traffic(history=5, gap=(0.4, 1.2)))
    arrived: dict[str, set[str]] = {}
    copies: dict[str, int] = {}

    def keep(body: dict[str, Any]) -> None:
        key = body["data"]["transition"]["id"]
        arrived.setdefault(key, set()).add(json.dumps(body["data"], sort_keys=True))
        copies[key] = copies.get(key, 0) + 1

    async with serve(simulation) as base_url, webhook(Inbox(answer=keep)) as hook:
        settings = configuration(simulation.orgs, base_url, hook)
        async with running(tmp_path, settings) as daemon:
            await rounds(daemon, 1)
            born = time.time()
            for _ in range(KILLS):
                await asyncio.sleep(dice.random() * 0.8)
                await daemon.stop(signal.SIGKILL)
                await daemon.start()
            stop = time.time()
            ended = [
                f"{org.name}/{job.id}"
                for org in simulation.orgs
                for job in simulation.jobs(org)
                if job.plan.ended_at is not None and born < job.plan.ended_at <= stop
            ]
            await until(lambda: set(ended) <= set(hook.ends()), 30)
    assert len(ended) > 50
    assert all(len(bodies) == 1 for bodies in arrived.values()), "one id came with two bodies"
    extra = sum(copies.values()) - len(copies)
    assert extra <= KILLS * 8, "more repeats than deliveries in flight"
