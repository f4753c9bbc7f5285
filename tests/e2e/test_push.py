"""Ends that the provider pushes: real daemon, real store, and the simulator's webhooks."""

from __future__ import annotations

import base64
import json
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
from anyio import to_thread
from click.testing import CliRunner, Result
from standardwebhooks.webhooks import Webhook

from monitor.cli import main
from monitor.clock import SystemClock
from monitor.simulator import Org, Pace, Simulation, organisations, register, serve, training_file
from tests.e2e.daemon import FAST, Daemon, organization, running, until
from tests.e2e.receivers import SIGNING, Inbox, webhook
from tests.e2e.test_story import create, upload

QUICK = Pace(
    validation=(0.1, 0.2), queue=(0.1, 0.2), step=(0.01, 0.02), evaluation=(0.1, 0.2), announcement=(0.1, 0.2), steps=30
)
SLOW = Pace(
    validation=(0.1, 0.2), queue=(0.1, 0.2), step=(3.0, 4.0), evaluation=(0.1, 0.2), announcement=(0.1, 0.2), steps=900
)
SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes here").decode()
SELDOM = {**FAST, "interval": "1h", "idle_interval": "1h"}


def settings(orgs: tuple[Org, ...], base_url: str, hook: Inbox, poll: dict[str, Any]) -> dict[str, Any]:
    return {
        "organizations": [organization(org, base_url, webhook_secret=SECRET) for org in orgs],
        "poll": poll,
        "notifiers": [{"name": "hook", "type": "webhook", "url": hook.url, "secret": SIGNING}],
        "routes": [{"notify": ["hook"], "on": ["succeeded", "failed", "cancelled"]}],
    }


async def run_jobs(simulation: Simulation, base_url: str, org: Org, count: int) -> list[str]:
    """Create jobs that end within a second or two."""
    file = await upload(base_url, org.key, training_file(examples=10, tokens=10_000))
    return [await create(base_url, org.key, training_file=file, model="gpt-3.5-turbo") for _ in range(count)]


def pushed_to(simulation: Simulation, org: Org, daemon: Daemon) -> None:
    register(simulation, org, f"{daemon.url}/webhooks/{org.name}", SECRET)


def told(hook: Inbox) -> Counter[str]:
    """How often the end of each job was announced."""
    return Counter(body["data"]["job"]["id"] for body in hook.bodies)


async def send(daemon: Daemon, org: Org, job: str, *, id_: str = "wh_1", secret: str = SECRET) -> int:
    """Push an end of a job, whatever the job's status is. Returns the status code of the answer."""
    body = json.dumps({"id": "evt_1", "type": "fine_tuning.job.succeeded", "data": {"id": job}})
    now = SystemClock().now()
    headers = {
        "webhook-id": id_,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(id_, now, body),
    }
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{daemon.url}/webhooks/{org.name}", data=body, headers=headers) as answer:
            return answer.status


async def test_an_end_that_is_pushed_is_told_at_once_though_the_next_poll_is_an_hour_away(tmp_path: Path) -> None:
    simulation = Simulation(organisations(1), pace=QUICK)
    org = simulation.orgs[0]
    async with serve(simulation) as base_url, webhook() as hook:
        async with running(tmp_path, settings(simulation.orgs, base_url, hook, SELDOM)) as daemon:
            await until(lambda: '"event":"org.first_seen"' in daemon.log)
            pushed_to(simulation, org, daemon)
            (job,) = await run_jobs(simulation, base_url, org, 1)
            await until(lambda: job in told(hook))
            arrived = time.time()
            ended = simulation.job(org, job).plan.marks[-1].at
            metrics = await daemon.metrics()
    print(f"told {arrived - ended:.2f} s after the end")
    assert arrived - ended < 4  # 0.5 s on an idle machine, of which up to 0.25 s until the simulator pushes
    assert metrics[f'finetune_ends_first_seen_total{{by="push",org="{org.name}"}}'] == 1
    assert metrics[f'finetune_webhooks_received_total{{org="{org.name}",result="accepted"}}'] == 1


async def test_an_end_whose_push_is_lost_is_told_at_the_next_poll(tmp_path: Path) -> None:
    simulation = Simulation(organisations(1), pace=QUICK)
    org = simulation.orgs[0]
    async with serve(simulation) as base_url, webhook() as hook:
        poll = {**FAST, "interval": "2s", "idle_interval": "2s"}
        async with running(tmp_path, settings(simulation.orgs, base_url, hook, poll)) as daemon:
            await until(lambda: '"event":"org.first_seen"' in daemon.log)
            register(simulation, org, f"{daemon.url}/webhooks/{org.name}", f"whsec_{'A' * 43}=")
            (job,) = await run_jobs(simulation, base_url, org, 1)
            await until(lambda: job in told(hook))
            metrics = await daemon.metrics()
    assert metrics[f'finetune_ends_first_seen_total{{by="poll",org="{org.name}"}}'] == 1
    assert metrics[f'finetune_webhooks_received_total{{org="{org.name}",result="bad_signature"}}'] >= 1


async def test_polls_and_pushes_and_a_kill_tell_each_end_once(tmp_path: Path) -> None:
    simulation = Simulation(organisations(2), pace=QUICK)
    async with serve(simulation) as base_url, webhook() as hook:
        async with running(tmp_path, settings(simulation.orgs, base_url, hook, FAST)) as daemon:
            await until(lambda: daemon.log.count('"event":"org.first_seen"') == 2)
            jobs = []
            for org in simulation.orgs:
                pushed_to(simulation, org, daemon)
                jobs += await run_jobs(simulation, base_url, org, 4)
            await until(lambda: len(told(hook)) >= 2)
            await daemon.stop(signal.SIGKILL)
            await daemon.start()
            for org in simulation.orgs:
                for job in jobs:
                    assert await send(daemon, org, job, id_=f"wh_{job}") == 202
            await until(lambda: set(told(hook)) == set(jobs))
            await until(lambda: _polls(daemon) >= 4)
    once = {(id_, body["data"]["job"]["id"]) for id_, body in zip(hook.ids, hook.bodies, strict=True)}
    assert sorted(job for _, job in once) == sorted(jobs)  # repetitions after a kill have the same webhook-id


def _polls(daemon: Daemon) -> int:
    return daemon.log.count('"event":"webhook.received"')


async def test_a_push_is_believed_only_once_the_provider_says_so_itself(tmp_path: Path) -> None:
    simulation = Simulation(organisations(2), pace=SLOW)
    org, other = simulation.orgs
    async with serve(simulation) as base_url, webhook() as hook:
        async with running(tmp_path, settings(simulation.orgs, base_url, hook, SELDOM)) as daemon:
            await until(lambda: daemon.log.count('"event":"org.first_seen"') == 2)
            (job,) = await run_jobs(simulation, base_url, org, 1)
            before = (await daemon.metrics())[f'finetune_org_polls_total{{org="{org.name}"}}']
            assert await send(daemon, other, job) == 202  # the secret of another organisation is valid for its own jobs
            assert await send(daemon, org, "ftjob-unknown") == 202
            assert await send(daemon, org, "../models", id_="wh_2") == 400

            async def polled() -> bool:
                return (await daemon.metrics())[f'finetune_org_polls_total{{org="{org.name}"}}'] >= before + 2

            await until(polled)  # again, since the first poll has not found it
            assert (await daemon.json(f"/api/v1/jobs/{org.name}/{job}"))["data"]["status"] in ("queued", "running")
            assert not hook.bodies
            assert (await daemon.json(f"/api/v1/jobs?org={other.name}"))["data"] == []
            headers = {"Authorization": f"Bearer {org.key}"}
            async with aiohttp.ClientSession(headers=headers) as session:
                async with session.post(f"{base_url}/fine_tuning/jobs/{job}/cancel") as answer:
                    assert answer.status == 200
            assert await send(daemon, org, job, id_="wh_3") == 202
            await until(lambda: job in told(hook))
            assert [body["type"] for body in hook.bodies] == ["finetune.job.cancelled"]


async def test_an_address_is_registered_by_a_command_and_its_secret_printed_once(tmp_path: Path) -> None:
    simulation = Simulation(organisations(2), pace=QUICK)
    org, url = simulation.orgs[0], "https://monitor.example.com/webhooks/research"
    config = tmp_path / "monitor.yaml"

    async def command(*words: str, name: str = org.name) -> Result:
        given = ["webhooks", *words, "--org", name, "--config", str(config)]
        return await to_thread.run_sync(lambda: CliRunner().invoke(main, given))

    async with serve(simulation) as base_url:
        parts: dict[str, Any] = {"organizations": [organization(each, base_url) for each in simulation.orgs]}
        parts["organizations"].append({"name": "lab", "provider": "together", "api_key": "tgp-0123456789"})
        config.write_text(json.dumps({**parts, "server": {"external_url": "https://monitor.example.com"}}))
        first = await command("register")
        assert first.exit_code == 0, first.stderr
        (endpoint,) = simulation.endpoints(org).values()
        assert (endpoint.url, endpoint.event_types) == (url, (
            "fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled",
        ))  # fmt: skip
        assert first.stdout == f"{endpoint.secrets[0]}\n"
        listed = await command("list")
        assert listed.stdout == f"{endpoint.id}  {url}  {','.join(endpoint.event_types)}\n"
        assert endpoint.secrets[0] not in listed.stdout
        assert (await command("list", name="search")).stdout == ""
        again = await command("register")
        assert (again.exit_code, again.stdout) == (2, "")
        assert "registered already" in again.stderr
        rotated = await command("rotate", "--url", url)
        secrets = simulation.endpoints(org)[endpoint.id].secrets
        assert rotated.stdout == f"{secrets[0]}\n"
        assert secrets[1:] == endpoint.secrets  # which stays valid for another day
        assert (await command("rotate", "--url", "https://elsewhere.example.com")).exit_code == 2
        assert (await command("list", name="lab")).exit_code == 2
        assert (await command("list", name="nobody")).exit_code == 2
    refused = await command("list")
    assert refused.exit_code == 1
    assert org.key not in refused.stderr
