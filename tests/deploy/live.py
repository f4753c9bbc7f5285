"""Debian's Prometheus and Alertmanager with the shipped files, on free ports and with short intervals."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from ruamel.yaml import YAML

from tests.deploy.promql import DEPLOY, ROOT, parsed
from tests.e2e.daemon import until

Answer = list[tuple[Mapping[str, str], float]]
"""Series with their latest values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """A running Prometheus."""

    url: str
    client: aiohttp.ClientSession

    async def ask(self, expression: str, *, instant: bool, since: float = 600) -> Answer:
        """The result of a query, now or over the last `since` seconds, without values that are not numbers."""
        now = await self._now()
        path, times = "query", {"time": f"{now}"}
        if not instant:
            path, times = "query_range", {"start": f"{now - since}", "end": f"{now}", "step": "1"}
        async with self.client.post(f"{self.url}/api/v1/{path}", data={"query": expression, **times}) as response:
            said = await response.json()
        assert said["status"] == "success", f"{expression}: {said.get('error')}"
        series = [(one["metric"], [one["value"]] if instant else one["values"]) for one in said["data"]["result"]]
        return [(labels, float(values[-1][1])) for labels, values in series if any(text != "NaN" for _, text in values)]

    async def _now(self) -> float:
        """The current time by its clock."""
        async with self.client.get(f"{self.url}/api/v1/query", params={"query": "time()"}) as response:
            return float((await response.json())["data"]["result"][1])


@dataclass(slots=True)
class Receiver:
    """A webhook of Alertmanager with the alerts that it received."""

    url: str = ""
    alerts: list[dict[str, Any]] = field(default_factory=list)

    def told(self, name: str, **labels: str) -> list[dict[str, Any]]:
        """The firing alerts with that name and these labels."""
        wanted = {"alertname": name, **labels}
        return [one for one in self.alerts if one["status"] == "firing" and wanted.items() <= one["labels"].items()]


@asynccontextmanager
async def prometheus(
    folder: Path, target: str, *, alertmanager: str = "alertmanager:9093", interval: str = "1s"
) -> AsyncIterator[Prometheus]:
    """Prometheus with the shipped files at short intervals, for a monitor and an Alertmanager at these `HOST:PORT`."""
    home = folder / "prometheus"
    shutil.copytree(DEPLOY / "prometheus", home)
    config = parsed(home / "prometheus.yml")
    config["global"] = {"scrape_interval": interval, "evaluation_interval": interval}
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
    for scrape in config["scrape_configs"]:
        if scrape["job_name"] == "finetune-monitor":
            scrape["static_configs"][0]["targets"] = [target]
    _write(config, home / "prometheus.yml")
    at = f"127.0.0.1:{free_port()}"
    options = [f"--config.file={home / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    async with process("prometheus", *options, f"--web.listen-address={at}", log=folder / "prometheus.log"):
        async with aiohttp.ClientSession() as client:
            await until(lambda: _ready(client, f"http://{at}/-/ready"), 60)
            yield Prometheus(url=f"http://{at}", client=client)


@asynccontextmanager
async def alertmanager(folder: Path, receiver: Receiver) -> AsyncIterator[str]:
    """Alertmanager with the shipped configuration without waiting, and a receiver in place of `nobody`.

    Yields its address.
    """
    config = parsed(DEPLOY / "alertmanager" / "alertmanager.yml")
    config["route"] |= {"group_wait": "1s", "group_interval": "1s"}
    config["receivers"] = [{"name": "nobody", "webhook_configs": [{"url": receiver.url}]}]
    _write(config, folder / "alertmanager.yml")
    at = f"127.0.0.1:{free_port()}"
    options = [f"--config.file={folder / 'alertmanager.yml'}", f"--storage.path={folder / 'alertmanager'}"]
    options += [f"--web.listen-address={at}", "--cluster.listen-address="]
    name = "prometheus-alertmanager" if shutil.which("prometheus-alertmanager") else "alertmanager"
    async with process(name, *options, log=folder / "alertmanager.log"), aiohttp.ClientSession() as client:
        await until(lambda: _ready(client, f"http://{at}/-/ready"), 60)
        yield at


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A webhook that accepts everything."""
    receiver = Receiver()

    async def take(request: web.Request) -> web.Response:
        receiver.alerts += (await request.json())["alerts"]
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        yield receiver
    finally:
        await runner.cleanup()


@asynccontextmanager
async def demo(folder: Path, *, speed: float) -> AsyncIterator[str]:
    """The demo as a user starts it. Yields its `HOST:PORT`."""
    log = folder / "demo.log"
    options = ["-m", "monitor", "demo", "--listen", "127.0.0.1:0", "--speed", str(speed)]
    async with process(sys.executable, *options, log=log) as ended:
        found = re.compile(r"The metrics are\s+http://([\d.:]+)/metrics")
        await until(lambda: bool(found.search(log.read_text())) or ended(), 60)
        matched = found.search(log.read_text())
        assert matched, log.read_text()
        yield matched[1]


@asynccontextmanager
async def process(*command: str, log: Path) -> AsyncIterator[Any]:
    """A process that is ended with the context. Yields a function that says whether it has ended by itself."""
    with log.open("ab") as file:
        environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
        running = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environ, stdout=file, stderr=file)
    try:
        yield lambda: running.returncode is not None
    finally:
        if running.returncode is None:
            running.terminate()
        await asyncio.wait_for(running.wait(), 30)


def free_port() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _ready(client: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with client.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


def _write(config: Any, path: Path) -> None:
    with path.open("w") as file:
        YAML(typ="safe").dump(config, file)
