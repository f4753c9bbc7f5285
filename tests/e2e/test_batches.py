"""Batches of three providers: real daemon, real store, simulated APIs over HTTP."""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from monitor.simulator import Ending, Pace, Simulation, configuration, organisations, register, serve
from tests.e2e.daemon import FAST, Daemon, running, until
from tests.e2e.receivers import SIGNING, Inbox, webhook
from tests.e2e.test_push import SECRET, SELDOM

BRISK = Pace(
    validation=(0.3, 0.5), request=(0.005, 0.01), finalizing=(0.3, 0.5), cancellation=(0.3, 0.5), window=(3.0, 3.0)
)
TUNED = "ft:gpt-4o-mini-2024-07-18:acme:support:a1b2c3d4"


def settings(simulation: Simulation, base_url: str, folder: Path, hook: Inbox, **over: Any) -> dict[str, Any]:
    orgs = simulation.orgs
    return {
        "organizations": [{**configuration(org, base_url, folder), "watch": ["batch"], **over} for org in orgs],
        "pricing": [{"org": org.name, "like": org.provider} for org in orgs],
        "poll": FAST,
        "notifiers": [{"name": "hook", "type": "webhook", "url": hook.url, "secret": SIGNING}],
        "routes": [{"notify": ["hook"]}],
    }


def ends(hook: Inbox) -> Counter[tuple[str, str]]:
    """How often the end of each batch was announced, by event type."""
    return Counter((body["data"]["job"]["provider_id"].rpartition("/")[2], body["type"]) for body in hook.bodies)


async def known(daemon: Daemon, count: int) -> None:
    """Wait until it watches this many organisations: later ends are news."""
    await until(lambda: daemon.log.count('"event":"org.first_seen"') >= count)


async def test_a_batch_is_told_once_with_its_figures_its_cost_and_its_key(tmp_path: Path) -> None:
    simulation = Simulation(organisations(1), pace=BRISK)
    org = simulation.orgs[0]
    async with serve(simulation) as base_url, webhook() as hook:
        async with running(tmp_path, settings(simulation, base_url, tmp_path, hook)) as daemon:
            await known(daemon, 1)
            simulation.start_job(org)
            batch = simulation.start_batch(org, total=100, model=TUNED)
            await until(lambda: bool(hook.bodies))
            stored = (await daemon.json("/api/v1/jobs"))["data"]
            metrics = await daemon.metrics()
    assert hook.ids == [f"{org.name}/batch:{batch.id}/{hook.bodies[0]['data']['transition']['seq']}@hook"]
    told = hook.bodies[0]["data"]["job"]
    completed, failed = batch.counts(batch.ended_at)
    read, written = batch.tokens(batch.ended_at)
    assert hook.bodies[0]["type"] == "finetune.batch.succeeded"
    assert told["batch"]["requests"] == {"total": 100, "completed": completed, "failed": failed}
    assert told["batch"]["tokens"] == {"input": read, "cached_input": 0, "output": written}
    assert told["cost"]["basis"] == "computed"
    assert float(told["cost"]["usd"]) == pytest.approx((read * 0.15 + written * 0.6) / 1e6)
    assert [one["id"] for one in stored] == [f"batch:{batch.id}"], "its fine-tuning jobs are not watched"
    labels = f'model="{TUNED}",org="{org.name}"'
    assert metrics[f'finetune_batch_requests_total{{{labels},result="completed"}}'] == completed
    assert metrics[f"finetune_batch_cost_dollars_total{{{labels}}}"] == float(told["cost"]["usd"])


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["openai", "azure", "bedrock"])
async def test_every_end_of_a_batch_is_told_once_whatever_happens_to_the_daemon(provider: str, tmp_path: Path) -> None:
    simulation = Simulation(organisations(2, providers=(provider,)), pace=BRISK)
    expected = {
        Ending.SUCCESS: "finetune.batch.succeeded",
        Ending.VALIDATION: "finetune.batch.failed",
        Ending.STALL: "finetune.batch.failed",
    }
    async with serve(simulation) as base_url, webhook() as hook:
        before = [simulation.start_batch(org, total=20).id for org in simulation.orgs]
        await until(lambda: all(batch.ended_at < simulation.clock() for org in simulation.orgs
                                for batch in simulation.batches(org.caller)))  # fmt: skip
        wanted: Counter[tuple[str, str]] = Counter()
        daemon = Daemon(tmp_path, settings(simulation, base_url, tmp_path, hook))
        await daemon.start()
        try:
            await known(daemon, 2)
            for number in range(4):
                for org in simulation.orgs:
                    for ending, type_ in expected.items():
                        wanted[simulation.start_batch(org, total=50, ending=ending).id, type_] += 1
                    batch = simulation.start_batch(org, total=300)
                    simulation.cancel_batch(org.caller, batch.id)
                    wanted[batch.id, "finetune.batch.cancelled"] += 1
                least = 4 * number
                await until(lambda least=least: len(hook.bodies) > least)  # type: ignore[misc] # it is bound
                await daemon.stop(signal.SIGKILL)
                await daemon.start()
            await until(lambda: set(ends(hook)) >= set(wanted))
            metrics = await daemon.metrics()
            files = json.dumps((await daemon.json("/api/v1/jobs?kind=batch&status=failed&limit=500"))["data"])
        finally:
            await daemon.stop(signal.SIGKILL)
    assert set(ends(hook)) == set(wanted), "and nothing of what was over before it came"
    assert not {id_ for id_, _ in ends(hook)} & set(before)
    assert len(set(hook.ids)) == len(wanted), "a copy has the id of the first"
    counted = sum(value for name, value in metrics.items() if name.startswith("finetune_batches_finished_total{"))
    assert counted == len(wanted), "each end counts once"
    assert "expired" in files


@pytest.mark.slow
async def test_the_end_of_a_batch_that_is_pushed_is_told_at_once(tmp_path: Path) -> None:
    simulation = Simulation(organisations(1), pace=BRISK)
    org = simulation.orgs[0]
    async with serve(simulation) as base_url, webhook() as hook:
        config = settings(simulation, base_url, tmp_path, hook, webhook_secret=SECRET)
        async with running(tmp_path, {**config, "poll": SELDOM}) as daemon:
            await known(daemon, 1)
            register(simulation, org, f"{daemon.url}/webhooks/{org.name}", SECRET)
            batch = simulation.start_batch(org)
            await until(lambda: bool(hook.bodies))
            metrics = await daemon.metrics()
    assert list(ends(hook)) == [(batch.id, "finetune.batch.succeeded")]
    assert metrics[f'finetune_ends_first_seen_total{{by="push",org="{org.name}"}}'] == 1
