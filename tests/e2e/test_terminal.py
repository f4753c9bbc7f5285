"""What people see in a terminal: the real daemon, real commands, real pseudo-terminals."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import sys
import termios
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from monitor.simulator import Org, Pace, Simulation, organisations, serve, training_file
from tests.e2e.daemon import FAST, Daemon, organization, pricing, running, until
from tests.e2e.test_story import BRISK, create, upload

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CALM = replace(BRISK, validation=(0.1, 0.2), queue=(0.1, 0.2), step=(0.1, 0.11))
Command = asyncio.subprocess.Process


@dataclass
class Terminal:
    """A command on a pseudo-terminal, and its whole output."""

    process: Command
    written: bytearray

    @property
    def lines(self) -> list[str]:
        """The readable text: every state of every line, without colours."""
        return [ANSI.sub("", part) for part in re.split(r"[\r\n]+", self.written.decode(errors="replace")) if part]


@asynccontextmanager
async def terminal(*arguments: str, environ: Mapping[str, str], columns: int = 80) -> AsyncIterator[Terminal]:
    """Run a command on a terminal of this width; it is ended with the context."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = await started(*arguments, environ=environ, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.set_blocking(ours, False)
    shown = Terminal(process, bytearray())
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            shown.written += os.read(ours, 65536)
        except OSError:  # the other side is closed
            loop.remove_reader(ours)

    loop.add_reader(ours, read)
    try:
        yield shown
    finally:
        loop.remove_reader(ours)
        os.close(ours)
        await ended(process)


async def started(*arguments: str, environ: Mapping[str, str], **streams: Any) -> Command:
    """Start a command with these variables and streams."""
    left = {name: text for name, text in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    environ = {**left, "TERM": "xterm", "PYTHONUNBUFFERED": "1", **environ}
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "monitor", *arguments, env=environ, **streams)


async def ended(process: Command) -> None:
    """Make sure that the process has ended."""
    if process.returncode is None:
        process.kill()
    await process.wait()


@dataclass
class Place:
    """A daemon that watches one simulated organisation."""

    daemon: Daemon
    base_url: str
    org: Org

    async def create(self, examples: int = 60) -> str:
        """Create a job and wait until the daemon knows it."""
        file = await upload(self.base_url, self.org.key, training_file(examples=examples, tokens=100 * examples))
        job_id = await create(self.base_url, self.org.key, training_file=file, model="gpt-3.5-turbo", suffix="tone")

        async def known() -> bool:
            return (await self.daemon.get(f"/api/v1/jobs/{self.org.name}/{job_id}"))[0] == 200

        await until(known)
        return job_id

    @property
    def server(self) -> dict[str, str]:
        """The variable with the daemon's address."""
        return {"FINETUNE_MONITOR_SERVER": self.daemon.url}


@asynccontextmanager
async def place(folder: Path, pace: Pace = CALM) -> AsyncIterator[Place]:
    """A place whose port stays the same across restarts of the daemon."""
    simulation = Simulation(organisations(1), pace=pace)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with serve(simulation) as base_url:
        (org,) = simulation.orgs
        settings = {
            "organizations": [organization(org, base_url)],
            "pricing": pricing(simulation.orgs),
            "poll": FAST,
            "server": {"listen": f"127.0.0.1:{port}"},
        }
        async with running(folder, settings) as daemon:
            await until(lambda: '"event":"org.first_seen"' in daemon.log)
            yield Place(daemon, base_url, org)


@pytest.mark.slow
async def test_watch_shows_a_bar_that_grows_and_ends_with_the_job(tmp_path: Path) -> None:
    async with place(tmp_path, replace(CALM, step=(0.25, 0.26))) as here:
        job_id = await here.create()
        async with terminal("watch", here.org.name, job_id, columns=72, environ=here.server) as shown:
            assert await asyncio.wait_for(shown.process.wait(), 50) == 0
            lines = shown.lines
    bars = [line for line in lines if "━" in line]
    assert len({re.findall(r"\d+%", line)[0] for line in bars}) > 1
    assert max(map(len, lines)) <= 72
    assert any(re.search(r"\d+%  step \d+ of \d+", line) for line in bars)
    assert any(re.search(r"Z  ● (\w+ →|appeared:) running$", line) for line in lines)
    assert re.fullmatch(r"✔ succeeded after \d+s, [\d,]+ tokens, \$\d+\.\d\d", lines[-2])
    assert lines[-1].startswith("  ft:gpt-3.5-turbo")
    assert b"\x1b[36m" in shown.written


@pytest.mark.slow
async def test_watch_survives_a_restart_of_the_daemon_and_says_so(tmp_path: Path) -> None:
    async with place(tmp_path, replace(CALM, step=(0.3, 0.31))) as here:
        job_id = await here.create()
        process = await started(
            "watch", here.org.name, job_id, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            environ=here.server,
        )  # fmt: skip
        assert process.stdout is not None
        said = [(await process.stdout.readline()).decode()]
        await here.daemon.stop(signal.SIGKILL)
        while "connection refused; retrying" not in said[-1]:
            said.append((await asyncio.wait_for(process.stdout.readline(), 10)).decode())
            assert said[-1]
        await here.daemon.start()
        rest = (await asyncio.wait_for(process.stdout.read(), 40)).decode()
        assert await process.wait() == 0
    assert re.match(r"[\d :Z-]+  reconnected\n", rest)
    assert "✔ running → succeeded\n" in rest
    assert "\x1b" not in rest
    assert "\r" not in rest


@pytest.mark.slow
async def test_ctrl_c_ends_watch_with_130_and_gives_the_cursor_back(tmp_path: Path) -> None:
    async with place(tmp_path, replace(CALM, step=(5.0, 5.1))) as here:
        job_id = await here.create()
        async with terminal("watch", here.org.name, job_id, environ=here.server) as shown:
            await until(lambda: any("running  for" in line or "━" in line for line in shown.lines))
            shown.process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(shown.process.wait(), 10) == 130
            await until(lambda: shown.written.rfind(b"\x1b[?25h") > shown.written.rfind(b"\x1b[?25l"))
            assert "Traceback" not in shown.written.decode()


@pytest.mark.slow
async def test_a_cancelled_job_ends_watch_with_1_and_programs_get_a_line_for_each_change(tmp_path: Path) -> None:
    async with place(tmp_path, replace(CALM, step=(1.0, 1.1))) as here:
        job_id = await here.create()
        process = await started(
            "watch", here.org.name, job_id, "--json", stdout=asyncio.subprocess.PIPE, environ=here.server
        )
        assert process.stdout is not None
        first = json.loads(await asyncio.wait_for(process.stdout.readline(), 10))
        await cancel(here, job_id)
        rest = [json.loads(line) for line in (await asyncio.wait_for(process.stdout.read(), 20)).splitlines()]
        assert await process.wait() == 1
    assert (first["id"], first["transitions"][0]["kind"]) == (job_id, "appeared")
    assert rest[-1]["status"] == "cancelled"
    assert all(one != other for one, other in pairwise(rest))


async def cancel(here: Place, job_id: str) -> None:
    import aiohttp  # noqa: PLC0415 - beside its only use

    headers = {"Authorization": f"Bearer {here.org.key}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(f"{here.base_url}/fine_tuning/jobs/{job_id}/cancel") as response:
            assert response.status == 200


@pytest.mark.slow
async def test_the_terminal_decides_on_colours_width_and_characters(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        job_id = await here.create()

        async def written(*arguments: str, **environ: str) -> bytes:
            async with terminal(*arguments, environ={**here.server, **environ}) as shown:
                await asyncio.wait_for(shown.process.wait(), 20)
                await asyncio.sleep(0.05)
                return bytes(shown.written)

        assert b"\x1b[" in await written("jobs")
        assert b"\x1b[" not in await written("jobs", NO_COLOR="1")
        assert b"\x1b[" not in await written("jobs", TERM="dumb")
        assert (await written("job", here.org.name, job_id, PYTHONIOENCODING="ascii")).isascii()
        assert (await written("job", here.org.name, job_id, "--ascii")).isascii()
        process = await started("jobs", stdout=asyncio.subprocess.PIPE, environ=here.server)
        piped, _ = await process.communicate()
        assert b"\x1b[" not in piped
        assert job_id.encode() in piped


@pytest.mark.slow
async def test_bash_completes_organisations_and_jobs_of_the_running_daemon(tmp_path: Path) -> None:
    async def offered(words: str, **environ: str) -> list[str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from monitor.cli import main; main(prog_name='finetune-monitor')",
            env={**os.environ, "_FINETUNE_MONITOR_COMPLETE": "bash_complete", "COMP_WORDS": words,
                 "COMP_CWORD": str(len(words.split(" ")) - 1), **environ},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), 20)
        assert err == b""
        return [line.partition(",")[2] for line in out.decode().splitlines() if line]

    async with place(tmp_path) as here:
        job_id = await here.create()
        assert await offered("finetune-monitor job re", **here.server) == [here.org.name]
        assert await offered(f"finetune-monitor watch {here.org.name} ft", **here.server) == [job_id]
        assert await offered(f"finetune-monitor job --server {here.daemon.url} re") == [here.org.name]
    assert await offered("finetune-monitor job re", **here.server) == []
