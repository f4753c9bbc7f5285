"""Slack refuses: nothing is lost to a rate limit, and a rejected message becomes a dead letter alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from monitor.simulator import Simulation, organisations, serve, training_file
from tests.e2e.daemon import FAST, organization, running, until
from tests.e2e.receivers import Inbox, slack
from tests.e2e.test_story import BRISK, create, upload

pytestmark = pytest.mark.fault("G10")


@pytest.mark.fault("D15")
async def test_a_rate_limit_loses_nothing_and_invalid_blocks_are_buried_alone(tmp_path: Path) -> None:
    limits = iter(range(2))

    def answer(body: dict[str, Any]) -> web.Response | None:
        if "poison" in str(body):
            return web.Response(text="invalid_blocks", status=400)
        if next(limits, None) is not None:
            return web.Response(text="rate_limited", status=429, headers={"Retry-After": "1"})
        return None

    simulation = Simulation(organisations(1), pace=BRISK)
    org = simulation.orgs[0]
    async with serve(simulation) as base_url, slack(Inbox(answer=answer)) as chat:
        settings = {
            "organizations": [organization(org, base_url)],
            "poll": FAST,
            "notifiers": [{"name": "chat", "type": "slack", "webhook_url": chat.url}],
            "routes": [{"notify": ["chat"]}],
        }
        async with running(tmp_path, settings) as daemon:
            await until(lambda: '"event":"org.first_seen"' in daemon.log)
            file = await upload(base_url, org.key, training_file(examples=10, tokens=1_000))
            for suffix in ("poison", "good-1", "good-2"):
                await create(base_url, org.key, training_file=file, model="gpt-4o-mini", suffix=suffix)

            async def settled() -> bool:
                states = [one["state"] for one in (await daemon.json("/api/v1/deliveries"))["data"]]
                return sorted(states) == ["dead", "sent", "sent"]

            await until(settled, 30)
            dead = (await daemon.json("/api/v1/deliveries?state=dead"))["data"]
            metrics = await daemon.metrics()
    assert [one["title"] for one in dead] == ["poison succeeded"]
    assert dead[0]["reason"] == "invalid_blocks"
    assert sorted(body["text"].split()[1] for body in chat.bodies) == ["good-1", "good-2"]
    assert metrics['finetune_notifications_dead_total{notifier="chat",reason="invalid_blocks"}'] == 1
    assert metrics['finetune_notifications_sent_total{notifier="chat"}'] == 2
