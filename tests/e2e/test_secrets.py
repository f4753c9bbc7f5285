"""No configured secret, and no part of one, appears in anything the program outputs."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from monitor.simulator import Simulation, organisations, serve, training_file
from tests.e2e.daemon import running, until
from tests.e2e.receivers import SIGNING, Inbox, slack, webhook
from tests.e2e.test_story import BRISK, configuration, create, rounds, upload

pytestmark = pytest.mark.fault("G26")

PART = 12


def parts(secret: str) -> set[str]:
    return {secret[start : start + PART] for start in range(len(secret) - PART + 1)}


def parrot(key: str) -> Callable[..., Awaitable[web.StreamResponse]]:
    """A middleware that repeats the key everywhere, like errors of careless gateways."""

    @web.middleware
    async def repeat(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        if request.method == "GET" and request.path.endswith("/events"):
            message = f"Incorrect API key provided: {key}. Again: {key[3:30]}"
            return web.json_response({"error": {"message": message, "code": key}}, status=401, headers={"X-Key": key})
        answer = await handler(request)
        if isinstance(answer, web.Response) and request.method == "GET" and answer.text:
            text = answer.text.replace(
                "The job failed due to an internal error.", f"Key {key} was refused, {key[5:40]}"
            )
            return web.json_response(json.loads(text), status=answer.status)
        return answer

    return repeat


@pytest.mark.fault("P5")
async def test_a_scan_for_every_secret_finds_none(tmp_path: Path) -> None:
    orgs = organisations(2)
    simulation = Simulation(orgs, pace=BRISK)
    async with (
        serve(simulation, middlewares=[parrot(orgs[0].key)]) as base_url,
        webhook() as hook,
        slack(Inbox(answer=lambda body: web.Response(status=500, text=body["text"]))) as chat,
    ):
        settings = configuration(orgs, base_url, hook)
        settings["notifiers"] += [
            {"name": "chat", "type": "slack", "webhook_url": chat.url},
            {"name": "bot", "type": "slack", "token": "xoxb-1234567890-abcdefghijklmnop", "channel": "#c",
             "api_url": chat.url + "/"},
            {"name": "out", "type": "console"},
        ]  # fmt: skip
        settings["routes"] = [{"notify": ["hook", "chat", "bot", "out"]}]
        settings["organizations"][1]["api_key"] = "sk-proj-wrongwrongwrongwrong0123456789abcdefgh"
        async with running(tmp_path, settings) as daemon:
            await until(lambda: '"event":"org.first_seen"' in daemon.log)
            file = await upload(base_url, orgs[0].key, training_file(examples=10, tokens=1_000))
            await create(
                base_url, orgs[0].key, training_file=file, model="gpt-4o-mini", metadata={"simulate": "server_error"}
            )
            await until(lambda: bool(hook.bodies))
            await rounds(daemon, 2)
            job = hook.bodies[0]["data"]["job"]["id"]
            api = ["jobs", f"jobs/research/{job}", f"jobs/research/{job}/events", "orgs", "deliveries"]
            pages = ["/", "/metrics", "/nowhere", *(f"/api/v1/{name}" for name in api)]
            said = [(await daemon.get(page))[1] for page in pages]
            await daemon.stop()
            said += [daemon.log, json.dumps(hook.bodies)]
    secrets = {orgs[0].key, settings["organizations"][1]["api_key"], SIGNING, "xoxb-1234567890-abcdefghijklmnop"}
    secrets |= {chat.url.removeprefix("http://").split("/services", 1)[1]}
    assert "[redacted]" in "".join(said)
    for text in said:
        leaked = [part for secret in secrets for part in parts(secret) if part in text]
        assert leaked == []
