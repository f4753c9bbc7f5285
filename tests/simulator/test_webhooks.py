"""Webhooks as a receiver and the official package see them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import openai
import pytest
from aiohttp import web
from openai import AsyncOpenAI
from openai.types.webhooks import UnwrapWebhookEvent

from monitor.simulator import Ending, Simulation, organisations, register
from monitor.simulator.webhooks import Event, ends, new_secret, signed
from tests.simulator.conftest import NOON, STEADY, Api, HandClock, provided

ALL = ["fine_tuning.job.succeeded", "batch.completed"]


Got = tuple[dict[str, str], bytes]


class Receiver:
    """Records headers and bodies, and answers with the given statuses, then 204."""

    def __init__(self) -> None:
        self.url = ""
        self.got: asyncio.Queue[Got] = asyncio.Queue()
        self.answers: list[int] = []

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.put_nowait((headers, await request.read()))
        return web.Response(status=self.answers.pop(0) if self.answers else 204)

    async def next(self) -> Got:
        return await asyncio.wait_for(self.got.get(), 20)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found, app = Receiver(), web.Application()
    app.router.add_post("/hook", found.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield found
    await runner.cleanup()


@pytest.fixture
async def api(clock: HandClock) -> AsyncIterator[Api]:
    async with provided("openai", clock, "/v1") as opened:
        yield opened


@pytest.fixture
async def client(api: Api) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key=api.org.key, base_url=api.base_url, max_retries=0) as opened:
        yield opened


def unwrapped(client: AsyncOpenAI, got: Got, secret: str) -> UnwrapWebhookEvent:
    """The event after the package has verified it."""
    headers, body = got
    return client.webhooks.unwrap(body, headers, secret=secret)


@pytest.mark.parametrize(("provider", "prefix"), [("openai", "/v1"), ("azure", "/azure/openai/v1")])
async def test_an_event_has_only_the_id_and_is_signed(
    clock: HandClock, receiver: Receiver, provider: str, prefix: str
) -> None:
    async with provided(provider, clock, prefix) as api, AsyncOpenAI(api_key=api.org.key) as client:
        secret = register(api.simulation, api.org, receiver.url).secrets[0]
        job_id = api.start(ending=Ending.SERVER_ERROR)
        clock.move(100)
        got = await receiver.next()
        event = unwrapped(client, got, secret)
        assert event.type == "fine_tuning.job.failed"
        assert (event.data.id, event.created_at) == (job_id, int(NOON) + 34)
        assert json.loads(got[1]).keys() == {"object", "id", "type", "created_at", "data"}
        assert got[0]["webhook-id"].startswith("wh_")
        assert got[0]["user-agent"].startswith("OpenAI/1.0")
        with pytest.raises(openai.InvalidWebhookSignatureError):
            unwrapped(client, got, new_secret("another"))


@pytest.mark.parametrize("answer", [500, 404, 302], ids=str)
async def test_a_rejected_webhook_is_retried_with_the_same_id(
    api: Api, clock: HandClock, receiver: Receiver, answer: int
) -> None:
    receiver.answers = [answer]
    register(api.simulation, api.org, receiver.url)
    api.start()
    clock.move(100)
    first, second = await receiver.next(), await receiver.next()
    assert first[0]["webhook-id"] == second[0]["webhook-id"]
    assert first[1] == second[1]


async def test_endpoints_are_managed_by_the_package(client: AsyncOpenAI, receiver: Receiver) -> None:
    made = await client.webhooks.create(name="monitor", url=receiver.url, event_types=ALL)  # type: ignore[arg-type]  # literals
    listed = [each async for each in client.webhooks.list()]
    assert [each.id for each in listed] == [made.id]
    assert listed[0].signing_secret_hint == f"whsec_...{made.signing_secret[-4:]}"
    tried = await client.webhooks.test(made.id, event_type="batch.completed")
    assert (tried.status_code, tried.success) == (204, True)
    assert unwrapped(client, await receiver.next(), made.signing_secret).type == "batch.completed"

    rotated = await client.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True)
    assert rotated.signing_secret != made.signing_secret
    await client.webhooks.test(made.id, event_type="batch.failed")
    got = await receiver.next()
    for secret in (made.signing_secret, rotated.signing_secret):
        assert unwrapped(client, got, secret).type == "batch.failed"

    last = await client.webhooks.rotate_secret(made.id)
    await client.webhooks.test(made.id, event_type="batch.expired")
    got = await receiver.next()
    assert unwrapped(client, got, last.signing_secret).type == "batch.expired"
    with pytest.raises(openai.InvalidWebhookSignatureError):
        unwrapped(client, got, rotated.signing_secret)

    assert (await client.webhooks.delete(made.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.webhooks.retrieve(made.id)


async def test_an_endpoint_receives_only_its_event_types(
    api: Api, client: AsyncOpenAI, clock: HandClock, receiver: Receiver
) -> None:
    await client.webhooks.create(name="monitor", url=receiver.url, event_types=["batch.completed"])
    api.start()
    batch = api.simulation.start_batch(api.org)
    clock.move(1000)
    got = await receiver.next()
    assert json.loads(got[1])["data"]["id"] == batch.id


@pytest.mark.parametrize(
    "change",
    [{"event_types": ["job.done"]}, {"event_types": []}, {"url": None}],
    ids=["an unknown type", "none", "no URL"],
)
async def test_an_invalid_endpoint_is_refused(client: AsyncOpenAI, change: dict[str, Any]) -> None:
    asked = {"name": "monitor", "url": "https://example.com", "event_types": ALL, **change}
    with pytest.raises(openai.BadRequestError):
        await client.webhooks.create(**asked)


def test_each_end_is_one_event_at_any_time(clock: HandClock) -> None:
    [org] = organisations(1, seed=1)
    simulation = Simulation((org,), clock=clock, pace=STEADY)
    endings = (Ending.SUCCESS, Ending.SERVER_ERROR, Ending.MODERATION, Ending.STALL)
    for ending in endings:
        simulation.start_job(org, ending=ending)
        simulation.start_batch(org, ending=ending)
    cancelled = simulation.start_job(org)
    clock.move(20)
    simulation.cancel(org, cancelled.id)
    clock.move(100_000)
    whole = sorted(ends(simulation, org, NOON, clock.now), key=_id)
    edges = [NOON + 5 * part for part in range(20_100)]
    parts = [event for since, last in pairwise(edges) for event in ends(simulation, org, since, last)]
    assert sorted(parts, key=_id) == whole
    assert sorted(event.type for event in whole) == [
        "batch.completed", "batch.completed", "batch.expired", "batch.failed", "fine_tuning.job.cancelled",
        "fine_tuning.job.failed", "fine_tuning.job.failed", "fine_tuning.job.succeeded",
    ]  # fmt: skip


_id: Callable[[Event], str] = lambda event: event.id  # noqa: E731 - a key for sorting


def test_a_signature_is_that_of_the_standards_own_vector() -> None:
    headers = signed(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",), 1614265330
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_signs_the_same_without_padding() -> None:
    secret = f"whsec_{base64.b64encode(bytes(range(32))).decode()}"
    assert signed("a", b"b", (secret,), 1) == signed("a", b"b", (secret.rstrip("="),), 1)
