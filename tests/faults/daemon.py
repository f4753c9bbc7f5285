"""The real process with hostile organisations, observed from outside: requests, notifications, state and memory."""

from __future__ import annotations

import itertools
import math
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.e2e.daemon import FAST, Daemon, running, until
from tests.e2e.receivers import SIGNING, Inbox, webhook
from tests.faults.hostile import Hostile, served
from tests.faults.machine import stopwatch

INTERVAL = 0.3
PATIENCE = 20.0  # seconds for an answer of `/-/healthy`
SLACK = 1.0  # seconds beyond an interval that are tolerated


@dataclass
class Told:
    """A notification as it arrived."""

    at: float
    org: str
    job: str
    word: str
    data: dict[str, Any]


@dataclass
class WatchedDaemon:
    """A daemon with its organisations, and the observations of it."""

    apis: dict[str, Hostile]
    daemon: Daemon
    hook: Inbox
    told: list[Told] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    """The duration of each `/-/healthy`, in seconds; infinite where it said no or nothing."""
    rss: int = 0
    """The largest resident size of the process, in MB."""

    def of(self, org: str) -> list[tuple[str, str]]:
        """The job and event type of every notification about one organisation."""
        return [(told.job, told.word) for told in self.told if told.org == org]

    async def orgs(self) -> dict[str, dict[str, Any]]:
        """The organisations as the API shows them."""
        return {org["org"]: org for org in (await self.daemon.json("/api/v1/orgs"))["data"]}

    async def troubles(self) -> dict[str, str | None]:
        """The trouble of each organisation."""
        return {name: (org["trouble"] or {}).get("reason") for name, org in (await self.orgs()).items()}

    async def up(self, *names: str) -> bool:
        """Whether the last polls of these organisations succeeded."""
        seen = await self.orgs()
        return all(seen[name]["up"] for name in names or self.apis)

    async def job(self, org: str, job_id: str) -> dict[str, Any]:
        """A job as the API shows it."""
        shown: dict[str, Any] = (await self.daemon.json(f"/api/v1/jobs/{org}/{job_id}")).get("data", {})
        return shown

    async def polled(self, org: str, times: int = 1) -> None:
        """Wait for this many more polls of an organisation to end, successfully or not."""
        name = f'finetune_org_polls_total{{org="{org}"}}'
        before = (await self.daemon.metrics()).get(name, 0.0)

        async def done() -> bool:
            return (await self.daemon.metrics()).get(name, 0.0) >= before + times

        await until(done)

    async def ends(self, org: str, job_id: str, status: str = "succeeded", within: float = 20.0) -> float:
        """End a job and wait for its only notification. Returns the seconds that took."""
        api = self.apis[org]
        api.move(job_id, status)
        await until(lambda: (job_id, status) in self.of(org), within)
        arrived = next(told.at for told in self.told if (told.org, told.job, told.word) == (org, job_id, status))
        return arrived - api.ended[job_id]

    def gap(self, org: str, since: float = 0.0) -> float:
        """The longest pause between two polls of an organisation, including the current one."""
        moments = [at for at in self.apis[org].lists() if at >= since]
        return max(b - a for a, b in itertools.pairwise([*moments, time.monotonic()]))


@asynccontextmanager
async def watched(
    folder: Path,
    *apis: Hostile,
    poll: dict[str, Any] | None = None,
    urls: dict[str, str] | None = None,
    orgs: dict[str, dict[str, Any]] | None = None,
    environ: dict[str, str] | None = None,
    signed: bool = True,
    **over: Any,
) -> AsyncIterator[WatchedDaemon]:
    """A daemon with its organisations. Finally checks that all requests were GETs with the right key, and liveness."""
    told: list[Told] = []

    def keep(body: dict[str, Any]) -> web.Response | None:
        word = body["type"].rsplit(".", 1)[1]
        told.append(Told(time.monotonic(), body["data"]["org"], body["data"]["job"]["id"], word, body["data"]))
        return None

    async with served(*apis), webhook(Inbox(answer=keep)) as hook, unsigned(keep) as plain:
        settings = {
            "organizations": [
                {"name": api.name, "provider": "openai", "base_url": (urls or {}).get(api.name, api.url),
                 "api_key": api.key, **(orgs or {}).get(api.name, {})}
                for api in apis
            ],
            "poll": {**FAST, **(poll or {})},
            "notifiers": [
                {"name": "hook", "type": "webhook", "url": hook.url if signed else plain,
                 **({"secret": SIGNING} if signed else {})},
            ],
            "routes": [{"notify": ["hook"]}],
            "delivery": {"timeout": "2s", "retry_base": "200ms", "retry_max": "1s"},
            **over,
        }  # fmt: skip
        async with running(folder, settings, environ=environ or {}) as daemon:
            found = WatchedDaemon(apis={api.name: api for api in apis}, daemon=daemon, hook=hook, told=told)
            with _probing(found):
                yield found
    _proper(found)


@asynccontextmanager
async def unsigned(keep: Callable[[dict[str, Any]], object]) -> AsyncIterator[str]:
    """A receiver that accepts unsigned webhooks. Yields its URL."""

    async def take(request: web.Request) -> web.Response:
        keep(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    async with TestServer(app) as server:
        yield str(server.make_url("/hook"))


def _proper(seen: WatchedDaemon) -> None:
    for api in seen.apis.values():
        assert {call.method for call in api.asked} <= {"GET"}, "G28: it wrote"
        assert {call.headers.get("authorization") for call in api.asked} <= {f"Bearer {api.key}"}, "G27: another's key"
    assert "Traceback" not in seen.daemon.log, seen.daemon.log[seen.daemon.log.index("Traceback") - 500 :][:3000]
    assert '"event":"task.failed"' not in seen.daemon.log
    assert max(seen.answers, default=0.0) < 1.0, f"G20: /-/healthy took {max(seen.answers):.2f} s"


@contextmanager
def _probing(seen: WatchedDaemon) -> Iterator[None]:
    """Asks `/-/healthy` and reads the memory all the time, in a thread: a held loop of the tests counts for nothing."""
    done = threading.Event()
    thread = threading.Thread(target=_probe, args=(seen, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(PATIENCE + 5)


def _probe(seen: WatchedDaemon, done: threading.Event) -> None:
    while not done.wait(0.05):
        process = seen.daemon.process
        if process is None or seen.daemon.process_ended:
            continue
        took = stopwatch(process.pid)
        try:
            status = _healthy(seen.daemon.url)
        except TimeoutError:
            seen.answers.append(math.inf)
            continue
        except OSError:
            continue  # it is being stopped or started
        if status:
            seen.answers.append(took() if b" 200 " in status else math.inf)
        seen.rss = max(seen.rss, memory(seen.daemon))


def _healthy(url: str) -> bytes:
    """GET /-/healthy on a new connection. Returns the status line; empty if the connection was closed before."""
    place = urlsplit(url)
    with socket.create_connection((str(place.hostname), place.port or 80), PATIENCE) as connection:
        connection.sendall(f"GET /-/healthy HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            return answer.readline()


def memory(daemon: Daemon) -> int:
    """The current resident size of the process in MB."""
    assert daemon.process is not None
    try:
        lines = Path(f"/proc/{daemon.process.pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS")), 0)
