"""What each vendor's answers mean, over real HTTP."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from pydantic import TypeAdapter

from monitor import notifiers
from monitor.domain.news import EventType, Severity
from monitor.notifiers import NotifierSettings
from monitor.notifiers.base import FailureKind, Notifier, Receipt, SendError
from monitor.secret import Redactor
from tests.notifiers.receivers import attempt, message, receiver

JSON = {"Content-Type": "application/json"}
TARGETS: dict[str, Any] = {
    "teams": {"webhook_url": "{url}/workflows/x?sig=SECRET"},
    "discord": {"webhook_url": "{url}/api/webhooks/1/SECRET"},
    "pagerduty": {"routing_key": "R0123456789SECRET", "api_url": "{url}"},
    "alertmanager": {"url": "{url}/"},
    "webhook": {"url": "{url}/", "format": "cloudevents"},
}


def built(client: aiohttp.ClientSession, type_: str, url: str) -> Notifier:
    fields = {key: value.format(url=url) for key, value in TARGETS[type_].items()}
    settings = TypeAdapter(NotifierSettings).validate_python({"name": "n", "type": type_, **fields})
    return notifiers.build(settings, session=client, redactor=Redactor(), timeout=5.0)


@pytest.mark.parametrize(
    ("type_", "path", "answer", "receipt"),
    [
        pytest.param("teams", "/workflows/x", (202, ""), Receipt(), id="teams"),
        pytest.param(
            "discord",
            "/api/webhooks/1/SECRET",
            (200, '{"id": "12", "channel_id": "34"}', JSON),
            Receipt(reference="12", place="34"),
            id="discord",
        ),
        pytest.param("discord", "/api/webhooks/1/SECRET", (204, ""), Receipt(), id="discord by a relay"),
        pytest.param("pagerduty", "/v2/enqueue", (202, '{"status": "success"}', JSON), Receipt(), id="pagerduty"),
        pytest.param("alertmanager", "/api/v2/alerts", (200, ""), Receipt(), id="alertmanager"),
        pytest.param("webhook", "/", (204, ""), Receipt(), id="cloudevents"),
    ],
)
async def test_a_message_that_is_taken_is_delivered_by_one_request(
    type_: str, path: str, answer: Any, receipt: Receipt
) -> None:
    async with receiver(answer) as target, notifiers.session() as client:
        assert await built(client, type_, target.url).send(message(), attempt()) == receipt
    assert [(heard.method, heard.path) for heard in target.heard] == [("POST", path)]


def discord(status: int, code: int) -> tuple[int, str, dict[str, str]]:
    return status, json.dumps({"message": "no", "code": code}), JSON


def logic_app(code: str) -> tuple[int, str, dict[str, str]]:
    return 400, json.dumps({"error": {"code": code, "message": "no"}}), JSON


def pagerduty(*errors: str) -> tuple[int, str, dict[str, str]]:
    return 400, json.dumps({"status": "invalid event", "message": "no", "errors": errors}), JSON


@pytest.mark.parametrize(
    ("type_", "answer", "kind"),
    [
        pytest.param("discord", discord(404, 10015), FailureKind.TARGET, id="discord: unknown webhook"),
        pytest.param("discord", discord(401, 50027), FailureKind.TARGET, id="discord: invalid token"),
        pytest.param("discord", discord(400, 50035), FailureKind.MESSAGE, id="discord: invalid form"),
        pytest.param("discord", discord(400, 50006), FailureKind.MESSAGE, id="discord: empty"),
        pytest.param("discord", discord(404, 10008), FailureKind.CARD, id="discord: message gone"),
        pytest.param("discord", discord(400, 30046), FailureKind.RATE, id="discord: edited too often"),
        pytest.param("discord", discord(400, 99999), FailureKind.TRANSIENT, id="discord: an unknown code"),
        pytest.param("discord", (429, "{}", {"Retry-After": "2"}), FailureKind.RATE, id="discord: 429"),
        pytest.param("discord", (502, ""), FailureKind.AMBIGUOUS, id="discord: 502"),
        pytest.param("teams", (413, ""), FailureKind.MESSAGE, id="teams: 413"),
        pytest.param("teams", logic_app("TriggerInputSchemaMismatch"), FailureKind.MESSAGE, id="teams: schema"),
        pytest.param("teams", logic_app("WorkflowTriggerIsNotEnabled"), FailureKind.TARGET, id="teams: turned off"),
        pytest.param("teams", logic_app("SomethingNew"), FailureKind.TRANSIENT, id="teams: an unknown code"),
        pytest.param("teams", (401, ""), FailureKind.TARGET, id="teams: signature"),
        pytest.param("teams", (502, ""), FailureKind.AMBIGUOUS, id="teams: 502"),
        pytest.param("pagerduty", pagerduty("'routing_key' is invalid"), FailureKind.TARGET, id="pagerduty: key"),
        pytest.param("pagerduty", pagerduty("'payload.severity' is bad"), FailureKind.MESSAGE, id="pagerduty: event"),
        pytest.param("pagerduty", (400, "<html>", {"Content-Type": "text/html"}), FailureKind.TRANSIENT, id="a proxy"),
        pytest.param("pagerduty", (500, ""), FailureKind.TRANSIENT, id="pagerduty: 500"),
        pytest.param("alertmanager", (400, '"bad"', JSON), FailureKind.MESSAGE, id="alertmanager: 400"),
        pytest.param("alertmanager", (422, '{"code": 1}', JSON), FailureKind.MESSAGE, id="alertmanager: 422"),
        pytest.param("alertmanager", (400, "no"), FailureKind.TRANSIENT, id="alertmanager: a proxy's 400"),
        pytest.param("alertmanager", (503, ""), FailureKind.TRANSIENT, id="alertmanager: 503"),
    ],
)
async def test_what_a_refusal_means(type_: str, answer: Any, kind: FailureKind) -> None:
    async with receiver(answer) as target, notifiers.session() as client:
        with pytest.raises(SendError) as caught:
            await built(client, type_, target.url).send(message(), attempt())
    assert caught.value.kind is kind
    assert caught.value.status == answer[0]
    assert "SECRET" not in f"{caught.value} {caught.value.answer}"


async def test_discord_gets_bare_text_where_it_refuses_the_embed() -> None:
    async with receiver(discord(400, 50035), (200, "{}")) as target, notifiers.session() as client:
        await built(client, "discord", target.url).send(message(), attempt())
    first, second = (json.loads(heard.body) for heard in target.heard)
    assert ("embeds" in first, "embeds" in second) == (True, False)
    assert second["content"].startswith("❌ support-bot failed · research\nModel: gpt-4o-mini")


@pytest.mark.parametrize(
    ("type_", "method", "good", "bad"),
    [
        ("discord", "GET", (200, "{}"), discord(404, 10015)),
        ("teams", "OPTIONS", (404, ""), (502, "")),
        ("pagerduty", "POST", (202, "{}"), pagerduty("'routing_key' is invalid")),
        ("alertmanager", "GET", (200, "{}"), (404, "")),
    ],
)
async def test_checking_tells_a_good_target_from_a_bad_one(type_: str, method: str, good: Any, bad: Any) -> None:
    async with receiver(good, bad) as target, notifiers.session() as client:
        await built(client, type_, target.url).check()
        with pytest.raises(SendError):
            await built(client, type_, target.url).check()
    assert [heard.method for heard in target.heard] == [method, method]
    assert not any(b"trigger" in heard.body for heard in target.heard)


@asynccontextmanager
async def alertmanager(folder: Path, hook: str) -> AsyncIterator[str]:
    """A real one that tells everything to a webhook at once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "alertmanager.yml"
    config.write_text(
        "route: {receiver: hook, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}\n"
        f"receivers: [{{name: hook, webhook_configs: [{{url: '{hook}', send_resolved: true}}]}}]\n"
        "templates: []\n"
    )
    command = ["prometheus-alertmanager", f"--config.file={config}", f"--storage.path={folder}/data"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--log.level=error"]
    process = subprocess.Popen(  # noqa: ASYNC220 - it only starts a program
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as client:
            with anyio.fail_after(30):
                while not await _ready(client, f"{url}/-/ready"):
                    assert process.poll() is None, "it did not start"
                    await anyio.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(10)


async def _ready(client: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with client.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


@pytest.mark.skipif(shutil.which("prometheus-alertmanager") is None, reason="needs an Alertmanager")
async def test_a_real_alertmanager_fires_and_resolves(tmp_path: Path) -> None:
    at = datetime.now(UTC)
    stalled = message(event_type=EventType.STALLED, severity=Severity.WARNING, at=at - timedelta(days=2))
    moving = message(event_type=EventType.MOVING, severity=Severity.INFO, at=at)
    hostile = message(title="<b>\x00\ud800{{ . }}", event_type=EventType.FAILED, error="é" * 3000)
    async with receiver((200, "")) as hook, alertmanager(tmp_path, hook.url) as url, notifiers.session() as client:
        target = built(client, "alertmanager", url)
        await target.check()

        async def told(name: str, status: str) -> dict[str, Any]:
            with anyio.fail_after(20):
                while True:
                    for heard in hook.heard:
                        for alert in json.loads(heard.body)["alerts"]:
                            if (alert["labels"]["alertname"], alert["status"]) == (name, status):
                                found: dict[str, Any] = alert
                                return found
                    await anyio.sleep(0.1)

        await target.send(stalled, attempt(at=at))
        fired = await told("FinetuneJobStalled", "firing")
        assert fired["annotations"]["summary"] == "support-bot failed · research"
        await target.send(moving, attempt(at=at))
        await told("FinetuneJobStalled", "resolved")
        await target.send(hostile, attempt(at=at))
        assert (await told("FinetuneJobFailed", "firing"))["annotations"]["summary"] == "<b>{{ . }} · research"
