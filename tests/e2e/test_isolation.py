"""Five failing organisations next to a healthy one, which is not affected; all recover by themselves."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from monitor.simulator import Simulation, organisations, serve, training_file
from tests.e2e.daemon import running, until
from tests.e2e.receivers import webhook
from tests.e2e.test_story import BRISK, configuration, create, upload

SICK = ("hangs", "fails", "limited", "portal", "revoked")
INTERVAL = 0.3


@dataclass
class Illnesses:
    """A middleware that makes some organisations fail, by their key."""

    illness: dict[str, str] = field(default_factory=dict)
    asked: dict[str, list[float]] = field(default_factory=dict)

    @property
    def middleware(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        @web.middleware
        async def sicken(
            request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            key = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if request.path.endswith("/jobs") and request.method == "GET":
                self.asked.setdefault(key, []).append(time.monotonic())
            return await self._answer(self.illness.get(key)) or await handler(request)

        return sicken

    async def _answer(self, illness: str | None) -> web.Response | None:
        if illness == "hangs":
            await asyncio.sleep(30)
        if illness == "fails":
            return web.json_response({"error": {"message": "boom"}}, status=500)
        if illness == "limited":
            return web.json_response({"error": {"message": "slow"}}, status=429, headers={"Retry-After": "2"})
        if illness == "portal":
            return web.Response(text="<html>log in</html>", content_type="text/html")
        if illness == "revoked":
            return web.json_response({"error": {"message": "no", "code": "invalid_api_key"}}, status=401)
        return None


@pytest.mark.timeout(120)
async def test_five_sick_organisations_hold_up_nobody_and_recover(tmp_path: Path) -> None:
    orgs = organisations(6)
    simulation, illnesses = Simulation(orgs, pace=BRISK), Illnesses()
    healthy, sick = orgs[0], dict(zip(SICK, orgs[1:], strict=True))
    async with serve(simulation, middlewares=[illnesses.middleware]) as base_url, webhook() as hook:
        async with running(tmp_path, configuration(orgs, base_url, hook)) as daemon:

            async def up() -> dict[str, float]:
                found = await daemon.metrics()
                return {org.name: found.get(f'finetune_org_up{{org="{org.name}"}}', -1) for org in orgs}

            async def all_well() -> bool:
                return set((await up()).values()) == {1.0}

            async def only_one_well() -> bool:
                return [name for name, value in (await up()).items() if value == 1.0] == [healthy.name]

            await until(all_well)
            illnesses.illness = {org.key: illness for illness, org in sick.items()}
            await until(only_one_well)
            illnesses.asked.clear()
            file = await upload(base_url, healthy.key, training_file(examples=10, tokens=1_000))
            job_id = await create(base_url, healthy.key, training_file=file, model="gpt-4o-mini")
            await until(lambda: hook.ends() == [f"{healthy.name}/{job_id}"])
            told = time.time()
            ended = simulation.job(healthy, job_id).plan.ended_at
            assert ended is not None
            assert told - ended < 2 * INTERVAL + 1.0
            polls = illnesses.asked[healthy.key]
            assert max(b - a for a, b in itertools.pairwise(polls)) < INTERVAL + 1.0
            limited = illnesses.asked.get(sick["limited"].key, [])
            assert all(b - a >= 2.0 for a, b in itertools.pairwise(limited))
            for illness in ("hangs", "fails", "portal", "revoked"):
                asked = illnesses.asked.get(sick[illness].key, [])
                assert len(asked) <= 2 * (time.monotonic() - min(asked, default=0)) + 1
            illnesses.illness = {}
            await until(all_well, 40)
            assert hook.ends() == [f"{healthy.name}/{job_id}"]
