"""A notifier that refuses everything, by the real process: another one tells of it once, through a kill."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from monitor.simulator import Simulation, organisations, serve, training_file
from tests.e2e.daemon import FAST, organization, running, until
from tests.e2e.receivers import SIGNING, Inbox, webhook
from tests.e2e.test_story import BRISK, create, rounds, upload

pytestmark = [pytest.mark.slow, pytest.mark.fault("G11")]


async def test_another_notifier_tells_of_one_that_is_down_and_of_its_end(tmp_path: Path) -> None:
    refusing = [True]

    def answer(_body: dict[str, Any]) -> web.Response | None:
        return web.Response(text="the token was revoked", status=503) if refusing[0] else None

    simulation = Simulation(organisations(1), pace=BRISK)
    org = simulation.orgs[0]
    async with serve(simulation) as base_url, webhook(Inbox(answer=answer)) as ops, webhook() as mail:
        settings = {
            "organizations": [organization(org, base_url)],
            "poll": FAST,
            "notifiers": [
                {"name": name, "type": "webhook", "url": box.url, "secret": SIGNING}
                for name, box in (("ops", ops), ("mail", mail))
            ],
            "routes": [{"notify": ["ops"]}, {"on": ["notifier_down", "notifier_up"], "notify": ["ops", "mail"]}],
            "delivery": {"timeout": "1s", "retry_base": "100ms", "retry_max": "500ms", "down_after": "2s"},
        }
        async with running(tmp_path, settings) as daemon:
            await until(lambda: '"event":"org.first_seen"' in daemon.log)
            file = await upload(base_url, org.key, training_file(examples=10, tokens=1_000))
            await create(base_url, org.key, training_file=file, model="gpt-4o-mini")
            await until(lambda: mail.ids == ["notifier:ops/outage/1@mail"], 30)
            await daemon.stop(signal.SIGKILL)
            await daemon.start()
            await rounds(daemon, 20)
            refusing[0] = False
            await until(lambda: len(mail.ids) == 2, 30)
            assert await daemon.stop() == 0
    assert mail.ids == ["notifier:ops/outage/1@mail", "notifier:ops/outage/2@mail"]
    down, up = (body["data"]["notifier"] for body in mail.bodies)
    assert (down["name"], down["waiting"], down["answer"]) == ("ops", 1, "503 the token was revoked")
    assert (up["name"], up["waiting"], up["down_since"]) == ("ops", 0, down["down_since"])
    assert len(ops.ids) == 1
