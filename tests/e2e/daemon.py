"""The real process with its configuration, started and stopped like an operator does."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from ruamel.yaml import YAML

from monitor.simulator import Org

FAST: dict[str, Any] = {
    "interval": "300ms",
    "idle_interval": "300ms",
    "events_interval": "500ms",
    "timeout": "2s",
    "max_requests_per_second": 100,
}


@dataclass
class Daemon:
    """A configuration in a folder, and the process that runs with it."""

    folder: Path
    settings: dict[str, Any]
    process: asyncio.subprocess.Process | None = None
    url: str = ""
    environ: dict[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    """A command that starts it, such as `strace -f`."""
    python: str = sys.executable
    arguments: tuple[str, ...] = ()
    """Further command line arguments."""

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "monitor.yaml"

    @property
    def log(self) -> str:
        """The log of all its lives so far."""
        file = self.folder / "log"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    @property
    def _written(self) -> int:
        """The length of the log in bytes."""
        file = self.folder / "log"
        return file.stat().st_size if file.exists() else 0

    def _since(self, start: int) -> str:
        """The log since this position."""
        with (self.folder / "log").open("rb") as file:
            file.seek(start)
            return file.read().decode()

    def write(self) -> None:
        """Write the configuration file."""
        with self.config.open("w", encoding="utf-8") as file:
            YAML().dump({"server": {"listen": "127.0.0.1:0"}, "log": {"level": "debug"}, **self.settings}, file)

    async def start(self) -> None:
        """Start the process and wait until it listens."""
        self.write()
        before = self._written
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.before, self.python, "-m", "monitor", "run", "--config", str(self.config), *self.arguments,
                cwd=self.folder, env={**os.environ, **self.environ}, stdout=log, stderr=log,
            )  # fmt: skip
        await until(lambda: '"event":"listening"' in self._since(before) or self.process_ended, 60)
        assert not self.process_ended, self._since(before)
        lines = [json.loads(line) for line in self._since(before).splitlines() if '"event":"listening"' in line]
        self.url = lines[-1]["address"]

    @property
    def process_ended(self) -> bool:
        """Whether no process is running."""
        return self.process is None or self.process.returncode is not None

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End the process and return its exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(how)
        return await asyncio.wait_for(self.process.wait(), 15)

    async def get(self, path: str) -> tuple[int, str]:
        """The status and text of an answer."""
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as response:
            return response.status, await response.text()

    async def json(self, path: str) -> Any:
        """A JSON answer."""
        return json.loads((await self.get(path))[1])

    async def metrics(self) -> dict[str, float]:
        """Every series of a scrape by its text."""
        lines = (await self.get("/metrics"))[1].splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}


@asynccontextmanager
async def running(folder: Path, settings: dict[str, Any], **over: Any) -> AsyncIterator[Daemon]:
    """A running daemon that is ended with the context."""
    daemon = Daemon(folder, settings, **over)
    try:
        await daemon.start()
        yield daemon
    finally:
        if not daemon.process_ended:
            await daemon.stop(signal.SIGKILL)


def organization(org: Org, base_url: str, **over: Any) -> dict[str, Any]:
    """The configuration of one simulated organisation."""
    return {"name": org.name, "provider": "openai", "base_url": base_url, "api_key": org.key, **over}


def pricing(orgs: Iterable[Org]) -> list[dict[str, Any]]:
    """Settings by which published prices apply to simulated organisations."""
    return [{"org": org.name, "like": "openai"} for org in orgs]


async def drained(left: Callable[[], int], seconds: float) -> None:
    """Wait until nothing is left. Fails when it has not become less for this many seconds."""
    while least := left():
        await until(lambda least=least: left() < least, seconds)  # type: ignore[misc] # mypy cannot infer a default


async def until(holds: Callable[[], bool | Awaitable[bool]], seconds: float = 45.0) -> None:
    """Wait until a condition holds, checking often. Fails after this many seconds; speed is measured elsewhere."""
    deadline = time.monotonic() + seconds
    while True:
        answer = holds()
        if answer is True or (isinstance(answer, Awaitable) and await answer):
            return
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.03)


def series(name: str, metrics: Iterable[str]) -> list[str]:
    """The series of one family."""
    return [one for one in metrics if one == name or one.startswith(name + "{")]
