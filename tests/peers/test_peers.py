"""The real daemon watches servers of other projects: correct statuses, and each end announced once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import pytest

from monitor.simulator import Pace, Simulation, organisations, serve, training_file
from tests.e2e.daemon import FAST, Daemon, running, until
from tests.e2e.receivers import SIGNING, Inbox, webhook
from tests.e2e.test_story import create, upload
from tests.peers.servers import PEERS, brought, peer

pytestmark = [pytest.mark.slow, brought, pytest.mark.timeout(300)]

QUICK = Pace(
    validation=(0.3, 0.5), queue=(0.5, 1.0), step=(0.05, 0.06), evaluation=(0.1, 0.2), announcement=(0.1, 0.2), steps=30
)
MASTER = "sk-proxy-0123456789abcdef"
ACCESS = ("access-key-id-0001", "secret-access-key-0123456789")


def settings(hook: Inbox, *organizations: dict[str, Any]) -> dict[str, Any]:
    return {
        "organizations": list(organizations),
        "poll": FAST,
        "notifiers": [{"name": "hook", "type": "webhook", "url": hook.url, "secret": SIGNING}],
        "routes": [{"notify": ["hook"], "on": ["appeared", "started", "succeeded", "failed", "cancelled", "gone"]}],
    }


def words(hook: Inbox, job: str) -> list[str]:
    """The event types announced for a job, in order."""
    told = (body for body in hook.bodies if body["data"]["job"]["id"] == job)
    return [body["type"].rpartition(".")[2] for body in told]


async def first_seen(daemon: Daemon, organizations: int) -> None:
    await until(lambda: daemon.log.count('"event":"org.first_seen"') == organizations)


async def told_once(daemon: Daemon, hook: Inbox, *ended: str) -> None:
    """Wait some polls; each of these ends was announced once, and no other."""
    polls = 'finetune_org_polls_total{org="' + ended[0].partition("/")[0] + '"}'
    before = (await daemon.metrics())[polls]

    async def polled() -> bool:
        return (await daemon.metrics())[polls] >= before + 5

    await until(polled)
    assert sorted(hook.ends()) == sorted(ended)


async def test_moto_is_watched_by_signed_requests_and_its_early_ends_are_not_believed(tmp_path: Path) -> None:
    async with (
        peer(tmp_path, PEERS / "moto/bin/moto_server", "-H", "127.0.0.1", "-p", "{port}") as url,
        webhook() as hook,
    ):
        client: Any = await asyncio.to_thread(
            boto3.client, "bedrock", region_name="us-east-1", endpoint_url=url,
            aws_access_key_id=ACCESS[0], aws_secret_access_key=ACCESS[1],
        )  # fmt: skip

        def begin(name: str) -> str:
            made = client.create_model_customization_job(
                jobName=name, customModelName=f"{name}-model", roleArn="arn:aws:iam::123456789012:role/tuning",
                baseModelIdentifier="amazon.nova-micro-v1:0", trainingDataConfig={"s3Uri": "s3://tuning/train.jsonl"},
                outputDataConfig={"s3Uri": "s3://tuning/out"}, hyperParameters={"epochCount": "2"},
            )  # fmt: skip
            return str(made["jobArn"])

        before = await asyncio.to_thread(begin, "before")
        organization = {
            "name": "nova", "provider": "bedrock", "region": "us-east-1", "base_url": url,
            "access_key_id": ACCESS[0], "secret_access_key": ACCESS[1],
        }  # fmt: skip
        async with running(tmp_path, settings(hook, organization)) as daemon:
            await first_seen(daemon, 1)
            after = await asyncio.to_thread(begin, "after")
            await until(lambda: words(hook, after) == ["started"])
            jobs = (await daemon.json("/api/v1/jobs"))["data"]
            assert {job["id"]: (job["status"], job["finished_at"], job["error"]) for job in jobs} == dict.fromkeys(
                [before, after], ("running", None, None)
            )
            await asyncio.to_thread(client.stop_model_customization_job, jobIdentifier="before")
            await until(lambda: words(hook, before) == ["cancelled"])
            await told_once(daemon, hook, f"nova/{before}")
            assert (await daemon.json("/api/v1/orgs"))["data"][0]["trouble"] is None
            assert "poll.failed" not in daemon.log


async def test_aimock_whose_jobs_get_on_when_they_are_asked_for_is_watched_to_the_end(tmp_path: Path) -> None:
    program = PEERS / "aimock/node_modules/.bin/llmock"
    fixtures = tmp_path / "fixtures.json"
    fixtures.write_text('{"fixtures": [{"match": {"userMessage": "hi"}, "response": {"content": "hi"}}]}')
    async with peer(tmp_path, program, "-p", "{port}", "-f", fixtures) as url, webhook() as hook:
        organization = {"name": "mock", "provider": "openai", "base_url": f"{url}/v1", "api_key": "sk-0123456789abcdef"}
        async with running(tmp_path, settings(hook, organization)) as daemon:
            await first_seen(daemon, 1)
            base_url, key = str(organization["base_url"]), str(organization["api_key"])
            file = await upload(base_url, key, training_file(examples=10, tokens=1_000))
            job = await create(base_url, key, training_file=file, model="gpt-4o-mini-2024-07-18")
            await until(lambda: "succeeded" in words(hook, job))
            await told_once(daemon, hook, f"mock/{job}")
            assert words(hook, job) == ["appeared", "started", "succeeded"]
            shown = (await daemon.json(f"/api/v1/jobs/mock/{job}"))["data"]
            assert shown["fine_tuned_model"].startswith("ft:gpt-4o-mini-2024-07-18:")
            assert shown["cost"]["basis"] == "unknown", "published prices are those of OpenAI itself"


async def test_litellms_pass_through_is_watched_and_its_refusals_say_what_they_are(tmp_path: Path) -> None:
    simulation = Simulation(organisations(1), pace=QUICK)
    [org] = simulation.orgs
    program = PEERS / "litellm/bin/litellm"
    async with serve(simulation) as upstream, webhook() as hook:
        async with peer(
            tmp_path, program, "--host", "127.0.0.1", "--port", "{port}", ready="/health/liveliness",
            OPENAI_API_BASE=upstream, OPENAI_API_KEY=org.key, LITELLM_MASTER_KEY=MASTER,
            LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_TELEMETRY="False",
        ) as url:  # fmt: skip
            through = {"provider": "openai", "base_url": f"{url}/openai_passthrough"}
            organizations = (
                {"name": "good", "api_key": MASTER, **through},
                {"name": "wrong", "api_key": "sk-wrong-0123456789abcdef", **through},
            )
            async with running(tmp_path, settings(hook, *organizations)) as daemon:
                await first_seen(daemon, 1)
                file = await upload(upstream, org.key, training_file(examples=10, tokens=1_000))
                made = [
                    await create(upstream, org.key, training_file=file, model="gpt-3.5-turbo", metadata=metadata)
                    for metadata in ({}, {"simulate": "server_error"}, {})
                ]
                await _cancel(upstream, org.key, made[2])
                await until(lambda: len(hook.ends()) == 3, 90)
                await told_once(daemon, hook, *(f"good/{job}" for job in made))
                assert [words(hook, job)[-1] for job in made] == ["succeeded", "failed", "cancelled"]

                async def last_event() -> bool:
                    events = (await daemon.json(f"/api/v1/jobs/good/{made[0]}/events"))["data"]
                    return any("successfully completed" in event["message"] for event in events)

                await until(last_event)
                troubles = {one["org"]: one["trouble"] for one in (await daemon.json("/api/v1/orgs"))["data"]}
                assert troubles["good"] is None
                assert troubles["wrong"]["reason"] == "auth"
        assert MASTER not in daemon.log


async def _cancel(base_url: str, key: str, job: str) -> None:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
        async with session.post(f"{base_url}/fine_tuning/jobs/{job}/cancel") as answer:
            assert answer.status == 200
