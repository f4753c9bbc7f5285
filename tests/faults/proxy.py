"""A TCP proxy that delays, slows down, cuts and resets connections."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Proxy:
    """The faults of the connections."""

    port: int = 0
    latency: tuple[float, float] = (0.0, 0.0)
    """Seconds of delay per piece: between these values."""
    rate: float = 0.0
    """Bytes per second towards the client; 0: unlimited."""
    resets: float = 0.0
    """The share of connections that are reset after some bytes."""
    stalled: bool = False
    """Whether nothing passes, without closing connections."""
    connections: int = 0
    dice: random.Random = field(default_factory=lambda: random.Random(3))

    @property
    def url(self) -> str:
        """The base URL through the proxy."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copy towards the client, with faults."""
        left = self.dice.randrange(1, 600) if self.dice.random() < self.resets else 1 << 60
        while piece := await reader.read(int(self.rate / 10) or 65536):
            await asyncio.sleep(self.dice.uniform(*self.latency) + (0.1 if self.rate else 0.0))
            while self.stalled:  # noqa: ASYNC110 - a flag is what a test wants to set
                await asyncio.sleep(0.05)
            left -= len(piece)
            if left < 0:
                writer.transport.abort()
                return
            writer.write(piece)
            await writer.drain()
        writer.close()

    async def _through(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copy towards the server."""
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
        writer.close()

    async def serve(self, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        behind, to = await asyncio.open_connection("127.0.0.1", target)
        try:
            await asyncio.gather(self._through(reader, to), self._back(behind, writer), return_exceptions=True)
        finally:
            writer.close()
            to.close()


@asynccontextmanager
async def proxied(target: int, proxy: Proxy) -> AsyncIterator[Proxy]:
    """Run the proxy in front of a local port."""
    tasks: set[asyncio.Task[Any]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await proxy.serve(target, reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the test is over, or there is no server
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
