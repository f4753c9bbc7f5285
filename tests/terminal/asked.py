"""Runs commands like a shell, against servers of this process, which may answer anything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread
from click.testing import CliRunner, Result

from monitor.cli import main

NO_SETTINGS = {"FINETUNE_MONITOR_SERVER": None, "FINETUNE_MONITOR_PASSWORD": None, "NO_COLOR": None}


async def asked(port: int | str, *arguments: str, **environ: str) -> Result:
    """Run a command against the daemon at a port or URL."""
    url = f"http://127.0.0.1:{port}" if isinstance(port, int) else port
    runner = CliRunner(env={**NO_SETTINGS, "FINETUNE_MONITOR_SERVER": url, **environ})
    return await to_thread.run_sync(lambda: runner.invoke(main, list(arguments)))


def answer(body: bytes | Any, *, status: str = "200 OK", headers: str = "") -> bytes:
    """A complete HTTP response; a body that is not bytes is encoded as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n{headers}\r\n".encode() + content


@asynccontextmanager
async def answering(give: bytes | Callable[[str], bytes]) -> AsyncIterator[int]:
    """A server that answers every request with these bytes, or by its path. Yields the port."""

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        writer.write(give if isinstance(give, bytes) else give(request))
        writer.close()

    async with await asyncio.start_server(answered, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
