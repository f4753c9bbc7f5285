"""Budgets and model shutdowns with the real process: announced once, whatever happens in between."""

from __future__ import annotations

import json
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from monitor.simulator import Pace, Simulation, organisations, serve, training_file
from tests.e2e.daemon import FAST, Daemon, organization, pricing, running, until
from tests.e2e.receivers import SIGNING, Inbox, webhook
from tests.e2e.test_story import create, rounds, upload

BRISK = Pace(
    validation=(0.3, 0.5), queue=(0.5, 0.6), step=(0.01, 0.02), evaluation=(0.1, 0.2), announcement=(0.1, 0.2), steps=30
)
BASES = ("gpt-4o-mini-2024-07-18", "gpt-4.1-mini-2025-04-14")


def configuration(simulation: Simulation, base_url: str, hook: Inbox, **over: Any) -> dict[str, Any]:
    return {
        "organizations": [organization(org, base_url, labels={"team": org.name}) for org in simulation.orgs],
        "pricing": pricing(simulation.orgs),
        "poll": {**FAST, "models_interval": "300ms"},
        "notifiers": [{"name": "hook", "type": "webhook", "url": hook.url, "secret": SIGNING}],
        "routes": [{"on": ["budget", "shutdown"], "notify": ["hook"]}],
        "delivery": {"timeout": "2s", "retry_base": "200ms", "retry_max": "1s"},
        **over,
    }


def in_days(days: int) -> str:
    """A date this many days from today, in UTC."""
    return (datetime.fromtimestamp(time.time(), UTC) + timedelta(days=days)).date().isoformat()


def ending(days: int) -> Any:
    """The API's list of models, all with a shutdown this many days from now."""

    @web.middleware
    async def dated(request: web.Request, handler: Any) -> web.StreamResponse:
        response: web.StreamResponse = await handler(request)
        if not request.path.endswith("/models") or not isinstance(response, web.Response):
            return response
        said = json.loads(response.text or "{}")
        return web.json_response({**said, "data": [{**one, "shutdown_date": in_days(days)} for one in said["data"]]})

    return dated


async def train(simulation: Simulation, base_url: str, number: int, *, tokens: int = 1_000) -> None:
    """Train one job of an organisation to its end."""
    org = simulation.orgs[number % len(simulation.orgs)]
    file = await upload(base_url, org.key, training_file(examples=10, tokens=tokens))
    body = {"model": BASES[number % 2], "training_file": file, "hyperparameters": {"n_epochs": 1}}
    job = await create(base_url, org.key, **body)
    await until(lambda: simulation.job(org, job).fine_tuned_model in _models(simulation))


def _models(simulation: Simulation) -> set[str]:
    return {job.fine_tuned_model for org in simulation.orgs for job in simulation.tuned_models(org)}


async def test_twelve_fine_tunes_in_three_organisations_are_three_notices(tmp_path: Path) -> None:
    simulation = Simulation(organisations(3), pace=BRISK)
    async with serve(simulation, middlewares=[ending(52)]) as base_url, webhook() as hook:
        for number in range(12):
            org = simulation.orgs[number % 3]
            file = await upload(base_url, org.key, training_file(examples=10, tokens=1_000))
            await create(base_url, org.key, training_file=file, model=BASES[number % 2])
        await until(lambda: len(_models(simulation)) == 12)
        async with running(tmp_path, configuration(simulation, base_url, hook)) as daemon:
            await until(lambda: len(hook.bodies) >= 3)
            for how in (signal.SIGTERM, signal.SIGKILL):
                await daemon.stop(how)
                await daemon.start()
                await rounds(daemon, 3)
            assert await daemon.stop() == 0
    assert sorted(hook.ids) == sorted(f"{org.name}/shutdown:{in_days(52)}/1@hook" for org in simulation.orgs)
    told = {body["data"]["org"]: {one["id"] for one in body["data"]["models"]} for body in hook.bodies}
    assert told == {
        org.name: {str(job.fine_tuned_model) for job in simulation.tuned_models(org)} for org in simulation.orgs
    }
    assert {body["type"] for body in hook.bodies} == {"finetune.model.shutdown"}
    assert {body["data"]["days_left"] for body in hook.bodies} == {52}


async def test_a_budget_s_thresholds_are_told_once_through_a_kill(tmp_path: Path) -> None:
    simulation = Simulation(organisations(2), pace=BRISK)
    mine = simulation.orgs[0].name
    async with serve(simulation) as base_url, webhook() as hook:
        # 0.3 dollars for each 100 000 tokens of gpt-4o-mini
        budget = {"name": "mine", "match": {"labels": {"team": mine}}, "amount": 1, "period": "total"}
        settings = configuration(simulation, base_url, hook, budgets=[budget])
        settings["routes"] = [{"match": {"org": mine}, "on": "budget", "notify": "hook"}]
        async with running(tmp_path, settings) as daemon:
            await until(lambda: daemon.log.count('"event":"org.first_seen"') == 2)
            for _ in range(2):
                await train(simulation, base_url, 0, tokens=100_000)
            await until(lambda: hook.ids == ["budget:mine/total/500@hook"])
            await settled(daemon, 1)
            await daemon.stop(signal.SIGKILL)
            await train(simulation, base_url, 0, tokens=100_000)
            await daemon.start()
            await until(lambda: len(hook.ids) == 2)
            await settled(daemon, 2)
            assert await spent(daemon) == 0.9
            await daemon.stop(signal.SIGKILL)
            await daemon.start()
            await rounds(daemon, 4)
            assert await daemon.stop() == 0
    assert hook.ids == ["budget:mine/total/500@hook", "budget:mine/total/800@hook"]
    view = hook.bodies[1]["data"]["budget"]
    assert (view["spent"], view["computed"], view["amount"]) == ("0.90", "0.90", "1.00")


async def settled(daemon: Daemon, count: int) -> None:
    """Wait until it has recorded this many deliveries: one whose answer is lost in a crash is repeated."""

    async def known() -> bool:
        states = [one["state"] for one in (await daemon.json("/api/v1/deliveries"))["data"]]
        return states == ["sent"] * count

    await until(known)


async def spent(daemon: Daemon) -> float:
    return (await daemon.metrics())['finetune_budget_spent_dollars{budget="mine"}']
