"""The story of OpenAI's announcement, and a restart: real process, real HTTP on every side."""

from __future__ import annotations

import json
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from monitor.simulator import Org, Pace, Simulation, Traffic, organisations, serve, training_file
from tests.e2e.daemon import FAST, Daemon, organization, pricing, running, until
from tests.e2e.receivers import SIGNING, Inbox, slack, webhook

BRISK = Pace(
    validation=(0.3, 0.5), queue=(1.1, 1.6), step=(0.05, 0.06), evaluation=(0.2, 0.4), announcement=(0.3, 0.5), steps=30
)


async def upload(base_url: str, key: str, content: bytes) -> str:
    form = aiohttp.FormData()
    form.add_field("purpose", "fine-tune")
    form.add_field("file", content, filename="train.jsonl")
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{base_url}/files", data=form) as response,
    ):
        assert response.status == 200, await response.text()
        return str((await response.json())["id"])


async def create(base_url: str, key: str, **body: Any) -> str:
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{base_url}/fine_tuning/jobs", json=body) as response,
    ):
        assert response.status == 200, await response.text()
        return str((await response.json())["id"])


def configuration(orgs: tuple[Org, ...], base_url: str, hook: Inbox, **over: Any) -> dict[str, Any]:
    return {
        "organizations": [organization(org, base_url) for org in orgs],
        "pricing": pricing(orgs),
        "poll": FAST,
        "notifiers": [{"name": "hook", "type": "webhook", "url": hook.url, "secret": SIGNING}],
        "routes": [{"notify": ["hook"]}],
        "delivery": {"timeout": "2s", "retry_base": "200ms", "retry_max": "1s"},
        **over,
    }


def unix(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


async def test_a_job_of_100_000_tokens_and_3_epochs_costs_2_dollars_40_and_is_told_once(tmp_path: Path) -> None:
    simulation = Simulation(organisations(1), pace=BRISK)
    org = simulation.orgs[0]
    async with serve(simulation) as base_url, webhook() as hook, slack() as chat:
        settings = configuration(simulation.orgs, base_url, hook)
        settings["notifiers"].append({"name": "chat", "type": "slack", "webhook_url": chat.url})
        settings["routes"] = [{"notify": ["hook", "chat"]}, {"match": {"model": "gpt-3.5*"}, "notify": ["chat"]}]
        async with running(tmp_path, settings) as daemon:
            await until(lambda: '"event":"org.first_seen"' in daemon.log)
            file = await upload(base_url, org.key, training_file(examples=100, tokens=100_000))
            job_id = await create(
                base_url, org.key, training_file=file, model="gpt-3.5-turbo", hyperparameters={"n_epochs": 3}
            )
            await until(lambda: bool(hook.bodies and chat.bodies))
            truth = simulation.job(org, job_id).truth
            told = hook.bodies[0]["data"]["job"]
            stored = await daemon.json(f"/api/v1/jobs/{org.name}/{job_id}")
            metrics = await daemon.metrics()
            assert await daemon.stop() == 0
    assert hook.bodies[0]["type"] == "finetune.job.succeeded"
    assert hook.ids == [f"{hook.bodies[0]['data']['transition']['id']}@hook"]
    assert len(chat.bodies) == 1
    assert "$2.40" in json.dumps(chat.bodies[0])
    assert told["cost"] == stored["data"]["cost"] == {"usd": "2.40", "basis": "computed"}
    labels = f'method="supervised",model="gpt-3.5-turbo-0125",org="{org.name}"'
    assert metrics[f"finetune_cost_dollars_total{{{labels}}}"] == 2.4
    assert told["trained_tokens"] == truth.trained_tokens == 300_000
    assert unix(told["started_at"]) == truth.started_at
    assert unix(told["finished_at"]) == truth.finished_at
    assert truth.started_at is not None
    assert truth.finished_at is not None
    assert told["queue_seconds"] == truth.started_at - truth.created_at
    assert told["run_seconds"] == truth.finished_at - truth.started_at


@pytest.mark.fault("G1", "G5", "G7")
async def test_what_ended_while_it_was_down_is_told_once_and_history_never(tmp_path: Path) -> None:
    clock = [time.time()]
    simulation = Simulation(organisations(3), clock=lambda: clock[0], traffic=Traffic(history=300))
    async with serve(simulation) as base_url, webhook() as hook:
        settings = configuration(simulation.orgs, base_url, hook, poll={**FAST, "lookback": "90d"})
        jobs = []
        for number in range(20):
            org = simulation.orgs[number % 3]
            file = await upload(base_url, org.key, training_file(examples=10, tokens=1_000))
            jobs.append(f"{org.name}/{await create(base_url, org.key, training_file=file, model='gpt-4o-mini')}")
        async with running(tmp_path, settings) as daemon:
            await until(lambda: daemon.log.count('"event":"org.first_seen"') == 3)
            await watched(daemon, 920)
            assert await daemon.stop() == 0
            assert hook.bodies == []
            clock[0] += 6 * 3600
            await daemon.start()
            await until(lambda: len(hook.ends()) >= 20)
            await rounds(daemon, 3)
            assert await daemon.stop(signal.SIGINT) == 0
            await daemon.start()
            await rounds(daemon, 3)
    assert sorted(hook.ends()) == sorted(jobs)
    assert len(hook.bodies) == 20


async def watched(daemon: Daemon, count: int) -> None:
    """Wait until this many jobs are stored."""

    async def there() -> bool:
        metrics = await daemon.metrics()
        return sum(value for name, value in metrics.items() if name.startswith("finetune_jobs{")) == count

    await until(there)


async def rounds(daemon: Daemon, count: int) -> None:
    """Wait until every organisation was polled this many times."""

    async def done() -> bool:
        polls = [
            value for name, value in (await daemon.metrics()).items() if name.startswith("finetune_org_polls_total")
        ]
        return bool(polls) and min(polls) >= count

    await until(done)
