"""Faulty receivers of notifications, on a raw socket."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Letter:
    """A received request."""

    at: float
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        """The delivery key, if the channel has one."""
        return self.headers.get("webhook-id", "")


Act = Callable[[Letter, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def say(status: int, body: bytes = b"ok", *headers: str) -> Act:
    """Send a complete answer."""

    async def act(_letter: Letter, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
        writer.write("\r\n".join(lines).encode("latin-1") + body)
        await writer.drain()

    return act


def pour(megabytes: int, *headers: str, block: bytes = b"x" * 65536) -> Act:
    """Send a 200 with a body of this many megabytes, as long as the client reads."""

    async def act(_letter: Letter, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(["HTTP/1.1 200 X", *headers, "", ""]).encode())
        for _ in range(megabytes * 2**20 // len(block)):
            writer.write(block)
            await writer.drain()

    return act


async def hang(_letter: Letter, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Send nothing until the client closes the connection."""
    await reader.read()


async def reset(_letter: Letter, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reset the connection (RST)."""
    writer.transport.abort()


async def half(_letter: Letter, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send the beginning of an answer."""
    writer.write(b"HTTP/1.1 20")
    await writer.drain()


async def drip(_letter: Letter, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send headers forever."""
    writer.write(b"HTTP/1.1 200 X\r\n")
    while True:
        writer.write(b"x: y\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


def bomb(megabytes: int) -> Act:
    """A small compressed answer that expands to this many megabytes."""
    content = gzip.compress(bytes(megabytes * 2**20), 9)
    return say(200, content, "Content-Encoding: gzip")


OK = say(200)


@dataclass
class Target:
    """A receiver. Each request gets the next act, and all later ones the last."""

    acts: list[Act] = field(default_factory=lambda: [OK])
    url: str = ""
    letters: list[Letter] = field(default_factory=list)
    deaf: bool = False
    """Whether it does not even read requests."""

    def keys(self) -> list[str]:
        """The delivery keys in the order of arrival."""
        return [letter.key for letter in self.letters]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection with one request."""
        try:
            if self.deaf:
                await asyncio.sleep(3600)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = (line.partition(":") for line in head.split("\r\n")[1:] if line)
            headers = {name.strip().lower(): value.strip() for name, _, value in lines}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            letter = Letter(time.monotonic(), headers, body)
            act = self.acts[min(len(self.letters), len(self.acts) - 1)]
            self.letters.append(letter)
            await act(letter, reader, writer)
        except (OSError, EOFError):
            pass  # the client has closed the connection
        finally:
            writer.close()


@asynccontextmanager
async def listening(*targets: Target) -> AsyncIterator[None]:
    """Serve every target on its own port."""
    tasks: set[asyncio.Task[Any]] = set()

    def connected(target: Target) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            with suppress(asyncio.CancelledError):  # the test is over
                await target.serve(reader, writer)
            tasks.discard(task)

        return serve

    servers = []
    try:
        for target in targets:
            server = await asyncio.start_server(connected(target), "127.0.0.1", 0, limit=2**20, backlog=1000)
            servers.append(server)
            target.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/services/T0/B0/{'x' * 24}"
        yield
    finally:
        for server in servers:
            server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
