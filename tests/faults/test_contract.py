"""Promises of the outward contract that no other test verifies with the real process."""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monitor.simulator import Simulation, organisations, serve
from tests.e2e.daemon import running, until
from tests.e2e.receivers import SIGNING, webhook
from tests.e2e.test_commands import command
from tests.e2e.test_story import BRISK, configuration, create, upload

ASKED = b'{"messages": [{"role": "user", "content": "What is six times seven?"}]}\n' * 20
GRADER = {
    "type": "string_check",
    "name": "exact",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}
HOURS = replace(BRISK, reinforcement_step=(0.08, 0.1), reported=4000.0)


@pytest.mark.fault("X08")
@pytest.mark.parametrize("arguments", [("run", "--config", "x.yaml"), ("demo",), ("simulate",)], ids=lambda a: a[0])
async def test_an_address_that_is_none_is_an_error_of_usage(arguments: tuple[str, ...]) -> None:
    code, _, err = await command(*arguments, "--listen", "nowhere")
    assert code == 2
    assert "Traceback" not in err
    assert "should be HOST:PORT" in err


async def test_simulate_on_a_port_in_use_is_a_clear_error() -> None:
    async with serve(Simulation(organisations(1))) as url:
        port = url.split(":")[2].split("/")[0]
        code, _, err = await command("simulate", "--listen", f"127.0.0.1:{port}")
    assert code == 1
    assert err.startswith("cannot start: ")
    assert "Traceback" not in err


@pytest.mark.slow
async def test_a_reinforcement_job_has_an_estimate_while_it_runs_and_its_cost_at_the_end(tmp_path: Path) -> None:
    simulation = Simulation(organisations(1), pace=HOURS)
    org = simulation.orgs[0]
    method = {"type": "reinforcement", "reinforcement": {"grader": GRADER}}
    async with serve(simulation) as base_url, webhook() as hook:
        async with running(tmp_path, configuration(simulation.orgs, base_url, hook)) as daemon:
            await until(lambda: '"event":"org.first_seen"' in daemon.log)
            file = await upload(base_url, org.key, ASKED)
            job_id = await create(base_url, org.key, training_file=file, model="o4-mini", method=method)
            series = f'{{job_id="{job_id}",org="{org.name}"}}'
            estimates: list[float] = []

            async def over() -> bool:
                metrics = await daemon.metrics()
                estimates.extend(
                    metrics[name] for name in [f"finetune_job_estimated_cost_dollars{series}"] if name in metrics
                )
                return bool(hook.bodies) and f"finetune_job_cost_dollars{series}" in metrics

            await until(over)
            metrics = await daemon.metrics()
    cost = metrics[f"finetune_job_cost_dollars{series}"]
    assert estimates, "there was none while it ran"
    assert estimates[-1] == pytest.approx(cost, rel=0.05), "the steps are alike, so that the guess is near"
    assert f"finetune_job_estimated_cost_dollars{series}" not in metrics
    announced = hook.bodies[0]["data"]["job"]["cost"]
    if announced["basis"] == "estimated":  # an end waits for nothing: its last steps were not read yet
        assert float(announced["usd"]) == pytest.approx(cost, rel=0.2)
    else:
        assert announced == {"usd": f"{cost:.2f}", "basis": "computed"}


@pytest.mark.slow
async def test_routes_tell_each_notifier_once_by_the_word_it_asked_for(tmp_path: Path) -> None:
    simulation = Simulation(organisations(2), pace=BRISK)
    one, two = simulation.orgs
    chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    lines = (json.dumps({"messages": chat}) + "\n").encode() * 12
    async with serve(simulation) as base_url, webhook() as first, webhook() as second:
        settings = configuration(simulation.orgs, base_url, first)
        settings["organizations"][0]["labels"] = {"team": "${TEAM}"}
        settings["organizations"][1]["labels"] = {"team": "${TEAM_OF_NOBODY:-other}", "sign": "$$"}
        settings["notifiers"].append({"name": "second", "type": "webhook", "url": second.url, "secret": SIGNING})
        settings["routes"] = [
            {
                "match": {"labels": {"team": "search"}, "model": "gpt-4o*"},
                "on": ["started", "succeeded"],
                "notify": "hook",
            },
            {
                "match": {"org": one.name, "provider": "openai", "metadata": {"env": "prod"}},
                "notify": ["hook", "second"],
            },
            {"match": {"labels": {"sign": "$"}}, "on": "appeared", "notify": "second"},
        ]
        async with running(tmp_path, settings, environ={"TEAM": "search"}) as daemon:
            await until(lambda: daemon.log.count('"event":"org.first_seen"') == 2)
            for org, over in ((one, {"metadata": {"env": "prod"}}), (two, {}), (one, {"metadata": {"env": "test"}})):
                file = await upload(base_url, org.key, lines)
                await create(base_url, org.key, training_file=file, model="gpt-4o-mini", **over)
            await until(lambda: len(first.bodies) == 4 and len(second.bodies) == 2)
            await asyncio.sleep(1)
    assert sorted(map(_said, first.bodies)) == [
        (one.name, "started", "prod"),
        (one.name, "started", "test"),
        (one.name, "succeeded", "prod"),
        (one.name, "succeeded", "test"),
    ]
    assert sorted(map(_said, second.bodies)) == [(one.name, "succeeded", "prod"), (two.name, "appeared", None)]
    assert {body["data"]["labels"].get("sign") for body in second.bodies} == {None, "$"}
    assert len(set(first.ids)) == 4


def _said(body: dict[str, Any]) -> tuple[str, str, str | None]:
    found = body["data"]
    return found["org"], body["type"].removeprefix("finetune.job."), found["job"]["metadata"].get("env")


@pytest.mark.fault("G5", "F03")
@pytest.mark.slow
async def test_a_key_file_is_read_again_and_the_bounds_of_series_hold_at_the_next_reload(tmp_path: Path) -> None:
    simulation = Simulation(organisations(1), pace=BRISK)
    org = simulation.orgs[0]
    key = tmp_path / "key"
    key.write_text("sk-proj-this-one-is-refused-0123456789")
    key.chmod(0o600)
    async with serve(simulation) as base_url, webhook() as hook:
        settings = configuration(simulation.orgs, base_url, hook)
        del settings["organizations"][0]["api_key"]
        settings["organizations"][0]["api_key_file"] = "key"
        async with running(tmp_path, settings) as daemon:
            up = f'finetune_org_up{{org="{org.name}"}}'
            await until(lambda: '"reason":"auth"' in daemon.log)

            async def down() -> bool:
                return (await daemon.metrics()).get(up) == 0  # the logged state is stored a moment later

            await until(down)
            key.write_text(f"\r\n  {org.key}\r\n\r\n")
            await until(lambda: '"event":"org.first_seen"' in daemon.log)

            async def recovered() -> bool:
                return (await daemon.metrics())[up] == 1

            await until(recovered)
            chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
            file = await upload(base_url, org.key, (json.dumps({"messages": chat}) + "\n").encode() * 12)
            for _ in range(3):
                await create(base_url, org.key, training_file=file, model="gpt-4o-mini")
            await until(lambda: len(hook.bodies) == 3)
            assert await _series(daemon.metrics) == (3, 0)
            daemon.settings["metrics"] = {"max_jobs": 1}
            daemon.write()
            assert daemon.process is not None
            daemon.process.send_signal(signal.SIGHUP)
            await until(lambda: '"event":"config.reloaded"' in daemon.log)
            assert await _series(daemon.metrics) == (1, 2)
            daemon.settings["metrics"] = {"job_retention": "100ms"}
            daemon.write()
            daemon.process.send_signal(signal.SIGHUP)
            await until(lambda: daemon.log.count('"event":"config.reloaded"') == 2)
            assert await _series(daemon.metrics) == (0, 0)


async def _series(metrics: Any) -> tuple[int, float]:
    """How many jobs have series, and how many were dropped according to the gauge."""
    found = await metrics()
    return sum(name.startswith("finetune_job_info{") for name in found), found["finetune_job_series_dropped"]
