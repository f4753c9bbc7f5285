"""Other projects' servers with the providers' APIs, as `make peers` installs them: each a process with its own port."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

PEERS = Path(os.environ.get("PEERS", f"{sys.prefix}/peers"))
brought = pytest.mark.skipif(not (PEERS / ".done").is_file(), reason="`make peers` brings the other servers")


@asynccontextmanager
async def peer(folder: Path, *command: str | Path, ready: str = "/", **environ: str) -> AsyncIterator[str]:
    """Run a server with `{port}` in its command, wait until `ready` is answered, and end it afterwards.

    Of this machine's environment it gets only PATH.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    words = [str(word).replace("{port}", str(port)) for word in command]
    log = folder / f"{Path(words[0]).name}.log"
    with log.open("ab") as said:
        process = await asyncio.create_subprocess_exec(
            *words,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), **environ},
            stdout=said,
            stderr=said,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as session:
            while not await _answers(session, url + ready):
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.1)
        yield url
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url):
            return True
    except aiohttp.ClientError:
        return False
