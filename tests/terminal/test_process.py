"""How the real process ends: after Ctrl-C during a request, and when its output is closed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from tests.terminal.asked import answer, answering

COMMAND = (sys.executable, "-m", "monitor")


async def started(port: int, *arguments: str, **streams: Any) -> asyncio.subprocess.Process:
    environ = {**os.environ, "FINETUNE_MONITOR_SERVER": f"http://127.0.0.1:{port}"}
    return await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, env=environ, stderr=asyncio.subprocess.PIPE, **streams
    )


async def test_ctrl_c_does_not_wait_for_an_answer() -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        process = await started(silent.getsockname()[1], "watch", "a", "b")
        accepted, _ = await asyncio.wait_for(loop.sock_accept(silent), 20)
        with accepted:
            await loop.sock_recv(accepted, 1)
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, said = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, said) == (130, b"")
    assert time.monotonic() - began < 5


async def test_a_closed_pipe_is_silent() -> None:
    def give(request: str) -> bytes:
        return answer({"data": [{"id": "x" * 200, "org": "a", "status": "running"}] * 500, "next": os.urandom(8).hex()})

    async with answering(give) as port:
        process = await started(port, "jobs", "--json", "--limit", "0", stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), 20)
        process.stdout._transport.close()  # type: ignore[attr-defined]  # as `head -1` does
        assert process.stderr is not None
        assert await asyncio.wait_for(process.stderr.read(), 20) == b""
        assert await process.wait() == 1


async def test_a_full_disk_is_reported_in_one_line() -> None:
    async with answering(answer({"data": [], "next": None})) as port:
        full = os.open("/dev/full", os.O_WRONLY)
        process = await started(port, "jobs", stdout=full)
        os.close(full)
        _, said = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, said) == (2, b"Error: cannot print: No space left on device\n")


def test_help_imports_neither_client_nor_tables() -> None:
    code = "import sys; from monitor.cli import main; print(*(m for m in sys.modules if m in %r))"
    heavy = ("aiohttp", "pydantic", "msgspec", "rich", "ssl", "anyio", "monitor.config", "monitor.terminal.client")
    run = subprocess.run([sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True)
    assert run.stdout == "\n"
