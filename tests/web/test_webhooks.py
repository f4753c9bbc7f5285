"""Providers' webhooks over real connections: what is stored, what is refused, and that nothing blocks."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from standardwebhooks.webhooks import Webhook
from structlog.testing import capture_logs
from yarl import URL

from monitor.clock import SystemClock
from monitor.domain.health import Health
from monitor.metrics.process import ProcessMetrics
from monitor.providers.openai.push import push
from monitor.secret import Secret
from monitor.store import Stores, opened
from monitor.web import AccessControl, AccessRules, Receiver, Web, Webhooks, application, serve
from monitor.web import webhooks as tested

pytestmark = pytest.mark.fault("G29")

SECRETS = {name: "whsec_" + base64.b64encode(name.encode() * 4).decode() for name in ("research", "product")}


@dataclass(kw_only=True)
class WebhookServer:
    """A server for webhooks, with what it stored and counted."""

    stores: Stores
    client: aiohttp.ClientSession
    host: str
    port: int
    counted: Counter[tuple[str, str]] = field(default_factory=Counter)
    receivers: dict[str, Receiver] = field(default_factory=dict)

    async def post(
        self, body: bytes | None = None, *, org: str = "research", headers: Any = None, **made: Any
    ) -> tuple[int, str]:
        """Send a webhook, by default correctly signed. Returns the status and text of the answer."""
        content = event() if body is None else body
        url = f"http://{self.host}:{self.port}/webhooks/{org}"
        sent = signed(content, **made) if headers is None else headers
        async with self.client.post(url, data=content, headers=sent) as answer:
            return answer.status, await answer.text()

    async def raw(self, head: str, *parts: bytes, pause: float = 0.0) -> tuple[int, float]:
        """Send raw parts. Returns the status of the answer (0 without one) and the seconds until it came."""
        started = time.monotonic()
        reader, writer = await asyncio.open_connection(self.host, self.port)
        answer = asyncio.create_task(reader.readline())
        writer.write(f"POST /webhooks/research HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
        for part in parts:
            await asyncio.wait([answer], timeout=pause)
            if answer.done():
                break
            writer.write(part)
        line = await asyncio.wait_for(answer, 15)
        writer.close()
        return int(line.split()[1]) if line else 0, time.monotonic() - started

    async def open(self) -> Mapping[str, frozenset[str]]:
        """The stored hints of jobs to poll."""
        return await self.stores.hints.open(now())


def now() -> datetime:
    return SystemClock().now()


def event(job: object = "ftjob-1", type_: str = "fine_tuning.job.succeeded") -> bytes:
    return json.dumps({"object": "event", "id": "evt_1", "type": type_, "data": {"id": job}}).encode()


def signed(
    body: bytes, *, secret: str = SECRETS["research"], id_: str = "wh_1", at: datetime | None = None
) -> dict[str, str]:
    moment = at or now()
    signature = Webhook(secret).sign(id_, moment, body.decode())
    return {"webhook-id": id_, "webhook-timestamp": str(int(moment.timestamp())), "webhook-signature": signature}


@asynccontextmanager
async def webhook_server(tmp_path: Path, *, access: AccessRules | None = None) -> AsyncIterator[WebhookServer]:
    """A server that receives the webhooks of two organisations."""
    async with opened(f"sqlite:///{tmp_path / 'monitor.db'}", clock=SystemClock()) as stores:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as client:
            found = WebhookServer(stores=stores, client=client, host="", port=0)
            found.receivers = {name: Receiver(push=push(), secrets=(Secret(text),)) for name, text in SECRETS.items()}

            def count(org: str, result: str) -> None:
                found.counted[org, result] += 1

            webhooks = Webhooks(receivers=lambda: found.receivers, hints=stores.hints, clock=SystemClock(), count=count)
            web = Web(
                reader=stores.reader, costs=stores.costs, health=Health(), process=ProcessMetrics(),
                clock=SystemClock(), alive=lambda: True, webhooks=webhooks,
                access=AccessControl(lambda: access or AccessRules()),
            )  # fmt: skip
            async with serve(application(web), "127.0.0.1", 0) as (found.host, found.port):
                yield found


async def test_a_webhook_is_stored_before_it_is_acknowledged(tmp_path: Path) -> None:
    async with webhook_server(tmp_path) as at:
        assert await at.post() == (202, "accepted\n")
        assert await at.open() == {"research": {"ftjob-1"}}
        assert at.counted == {("research", "accepted"): 1}


@pytest.mark.fault("W02")
async def test_twenty_copies_at_once_and_one_after_a_restart_have_one_effect(tmp_path: Path) -> None:
    async with webhook_server(tmp_path) as at:
        answers: list[tuple[int, str]] = []

        async def send() -> None:
            answers.append(await at.post())

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(send)
        assert Counter(answers) == {(202, "accepted\n"): 1, (202, "duplicate\n"): 19}
        assert at.counted["research", "duplicate"] == 19
    async with webhook_server(tmp_path) as again:
        assert await again.post(at=now() + timedelta(seconds=20)) == (202, "duplicate\n")
        assert await again.post(event("ftjob-2")) == (202, "duplicate\n")
        assert await again.open() == {"research": {"ftjob-1"}}


@pytest.mark.fault("W09")
async def test_a_secret_is_valid_for_the_jobs_of_its_organisation_only(tmp_path: Path) -> None:
    async with webhook_server(tmp_path) as at:
        assert (await at.post(org="product"))[0] == 401
        assert (await at.post(secret=SECRETS["product"], org="product"))[0] == 202
        assert await at.open() == {"product": {"ftjob-1"}}
        assert await at.post() == (202, "accepted\n")  # the same webhook-id, of somebody else
        assert at.counted["product", "bad_signature"] == 1


@pytest.mark.fault("W01")
@pytest.mark.parametrize(
    ("made", "status", "result"),
    [
        ({"secret": "whsec_" + "A" * 32}, 401, "bad_signature"),
        ({"at": now() - timedelta(minutes=6)}, 401, "stale"),
        ({"at": now() + timedelta(minutes=60)}, 401, "stale"),
        ({"headers": {}}, 401, "bad_signature"),
        ({"body": event("../batches/1")}, 400, "malformed"),
        ({"body": event(["ftjob-1"])}, 400, "malformed"),
        ({"body": b"{"}, 400, "malformed"),
        ({"body": event(type_="batch.completed")}, 202, "ignored"),
        ({"body": event(type_="fine_tuning.job.brandnew")}, 202, "ignored"),
    ],
)
async def test_only_authentic_fresh_job_events_are_stored(
    tmp_path: Path, made: dict[str, Any], status: int, result: str
) -> None:
    async with webhook_server(tmp_path) as at:
        assert (await at.post(**made))[0] == status
        assert at.counted == {("research", result): 1}
        assert await at.open() == {}


async def test_without_a_secret_no_webhooks_are_received(tmp_path: Path) -> None:
    async with webhook_server(tmp_path) as at:
        for org in ("elsewhere", "..%2fmetrics", "%00"):
            url = URL(f"http://{at.host}:{at.port}/webhooks/{org}", encoded=True)
            async with at.client.post(url, data=event(), headers=signed(event())) as answer:
                assert answer.status == 404
        async with at.client.get(f"http://{at.host}:{at.port}/webhooks/research") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        assert not at.counted


async def test_webhooks_need_neither_an_allowed_host_name_nor_the_password(tmp_path: Path) -> None:
    access = AccessRules(users={"ann": "$2b$04$abcdefghijklmnopqrstuuGVfSLJpqfBU5Lm1XoMUeSfAeU5HkQ1K"})
    async with webhook_server(tmp_path, access=access) as at:
        public = {"Host": "monitor.example.com"}
        assert await at.post(headers={**signed(event()), **public}) == (202, "accepted\n")
        for path in ("/metrics", "/webhooks/research", "/webhooks/research/more"):
            async with at.client.get(f"http://{at.host}:{at.port}{path}", headers=public) as answer:
                assert answer.status == 403
            async with at.client.get(f"http://{at.host}:{at.port}{path}") as answer:
                assert answer.status == 401


@pytest.mark.fault("W03")
async def test_a_compressed_body_is_refused_unread(tmp_path: Path) -> None:
    async with webhook_server(tmp_path) as at:
        bomb = gzip.compress(bytes(20_000_000))
        for encoding in ("gzip", "deflate", "br", "gzip, identity"):
            assert (await at.post(bomb, headers={"Content-Encoding": encoding}))[0] == 415
        assert await at.post(headers={**signed(event()), "Content-Encoding": "identity"}) == (202, "accepted\n")


@pytest.mark.fault("W03")
async def test_a_body_is_limited_to_256_kib_with_and_without_content_length(tmp_path: Path) -> None:
    async with webhook_server(tmp_path) as at:
        padded = event()[:-1] + b" " * (tested.LARGEST - len(event())) + b"}"
        assert len(padded) == tested.LARGEST
        assert (await at.post(padded))[0] == 202
        assert (await at.post(padded + b" "))[0] == 413
        for head in ("Content-Length: 10000000000\r\n", "Content-Length: 20000000\r\n"):
            status, seconds = await at.raw(head)
            assert (status, seconds < 5) == (413, True)
        chunk = b"8000\r\n" + bytes(0x8000) + b"\r\n"
        status, seconds = await at.raw("Transfer-Encoding: chunked\r\n", *[chunk] * 700)
        assert (status in (413, 0), seconds < 8) == (True, True)
        assert at.counted["research", "malformed"] == 4


@pytest.mark.fault("W04")
@pytest.mark.parametrize(
    ("head", "part"),
    [("Content-Length: 100\r\n", b"{"), ("Transfer-Encoding: chunked\r\n", b"1\r\n{\r\n")],
    ids=["a length", "chunks"],
)
async def test_a_body_that_does_not_arrive_times_out(
    tmp_path: Path, head: str, part: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tested, "_DEADLINE", 1.0)
    async with webhook_server(tmp_path) as at:
        slow = asyncio.create_task(at.raw(head, *[part] * 20, pause=0.2))
        await asyncio.sleep(0.3)
        assert (await at.post())[0] == 202  # the others are served meanwhile
        status, seconds = await slow
        assert status == 408
        assert seconds < 6


@pytest.mark.fault("W05")
async def test_truncated_and_mislabelled_bodies_are_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tested, "_DEADLINE", 1.0)
    with capture_logs() as logs:
        async with webhook_server(tmp_path) as at:
            assert (await at.raw("Transfer-Encoding: chunked\r\n", b"zz\r\n"))[0] in (
                400,
                408,
            )  # aiohttp goes on waiting
            _reader, writer = await asyncio.open_connection(at.host, at.port)
            writer.write(b"POST /webhooks/research HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
            await writer.drain()
            writer.close()
            twice = "".join(f"{name}: {text}\r\n" * 2 for name, text in signed(event()).items())
            assert (await at.raw(f"{twice}Content-Length: {len(event())}\r\n", event()))[0] == 401
            assert (await at.raw("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"))[0] == 400
            assert (await at.post())[0] == 202
    assert [line["event"] for line in logs if line["log_level"] in ("error", "warning")] == []


@pytest.mark.fault("W08")
async def test_a_failing_store_makes_the_sender_retry(tmp_path: Path) -> None:
    async with webhook_server(tmp_path) as at:
        (tmp_path / "monitor.db").rename(tmp_path / "elsewhere.db")
        assert (await at.post())[0] == 503


async def test_a_replaced_secret_applies_at_once_and_an_unreadable_one_loses_no_webhook(tmp_path: Path) -> None:
    async with webhook_server(tmp_path) as at:
        file = tmp_path / "secret"
        at.receivers["research"] = Receiver(push=push(), secrets=(Secret(path=file), Secret(path=tmp_path / "old")))
        assert (await at.post())[0] == 503
        file.write_text(SECRETS["research"])
        assert (await at.post())[0] == 202
        file.write_text(SECRETS["product"])
        assert (await at.post(id_="wh_2"))[0] == 401


@pytest.mark.fault("W10")
async def test_a_flood_of_forgeries_logs_nothing(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with webhook_server(tmp_path) as at:
            for number in range(200):
                assert (await at.post(headers={"webhook-id": f"wh_{number}"}))[0] == 401
            assert at.counted == {("research", "bad_signature"): 200}
    assert logs == []
