"""A fine-tuning API of one organisation on a raw socket, whose jobs tests control and whose answers may be faulty."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Item = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A request with the connection for its answer."""

    at: float
    method: str
    path: str
    """The path after `/v1/fine_tuning/`."""
    after: str | None
    limit: int
    headers: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, *pieces: bytes, pause: float = 0.0) -> None:
        """Send these pieces."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            if pause:
                await asyncio.sleep(pause)

    async def answer(self, status: int, content: bytes, *headers: str) -> None:
        """Send a complete answer."""
        await self.say(http(content, *headers, status=status))

    async def refuse(self, status: int, message: str = "no", *headers: str, code: str | None = None) -> None:
        """Send an error in OpenAI's envelope."""
        envelope = {"error": {"message": message, "type": "x", "param": None, "code": code}}
        await self.answer(status, json.dumps(envelope).encode(), *headers)

    async def silence(self) -> None:
        """Send nothing until the client closes the connection."""
        await self.reader.read()

    def reset(self) -> None:
        """Reset the connection (RST)."""
        self.writer.transport.abort()


Fault = Callable[["Hostile", Call], Awaitable[bool | None]]
"""Answers in place of the true answer. After True the true answer is sent; after anything else the connection is
closed."""


@dataclass
class Hostile:
    """The true state of one organisation, the received requests, and the current fault."""

    name: str
    url: str = ""
    key: str = ""
    fault: Fault | None = None
    jobs: list[Item] = field(default_factory=list)
    """The jobs, newest first."""
    events: dict[str, list[Item]] = field(default_factory=dict)
    """The events by job id, newest first."""
    asked: list[Call] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    page_limit: int = 100
    ended: dict[str, float] = field(default_factory=dict)
    """The monotonic times at which jobs ended."""

    def __post_init__(self) -> None:
        self.key = self.key or f"sk-proj-{self.name}-Zk3vN8qWx2LmT7Rb5YcD1fHsJ9gPaE4u"

    def begin(self, job_id: str, status: str = "running", **over: Any) -> Item:
        """Add a new job to the top of the list."""
        made = job(job_id, status, **over)
        self.jobs.insert(0, made)
        return made

    def move(self, job_id: str, status: str, **over: Any) -> None:
        """Change a job's status; a final status gets an end time."""
        found = next(each for each in self.jobs if each["id"] == job_id)
        found["status"] = status
        if status in ("succeeded", "failed", "cancelled"):
            found["finished_at"] = int(time.time())
            found["trained_tokens"] = 1000 if status == "succeeded" else None
            self.ended.setdefault(job_id, time.monotonic())
        found.update(over)

    def page(self, items: list[Item], call: Call) -> Item:
        """The page that the true API returns."""
        ids = [each["id"] for each in items]
        start = 0 if call.after is None else ids.index(call.after) + 1
        size = min(call.limit, self.page_limit)
        return {"object": "list", "data": items[start : start + size], "has_more": start + size < len(items)}

    async def true(self, call: Call) -> None:
        """Send the true answer."""
        jobs = {each["id"]: each for each in self.jobs}
        found: Item | None = None
        match call.path.split("/"):
            case ["jobs"] if call.after is None or call.after in jobs:
                found = self.page(self.jobs, call)
            case ["jobs", job_id]:
                found = jobs.get(job_id)
            case ["jobs", job_id, "events"] if job_id in jobs:
                found = self.page(self.events.get(job_id, []), call)
        if found is None:
            await call.refuse(404, "no such object")
        else:
            await call.answer(200, json.dumps(found).encode())

    def lists(self) -> list[float]:
        """When the first page of the list was requested."""
        return [call.at for call in self.asked if call.path == "jobs" and call.after is None]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        self.open += 1
        try:
            more = True
            while more:
                call = read(await reader.readuntil(b"\r\n\r\n"), reader, writer)
                self.asked.append(call)
                fault = self.fault
                more = fault is None or bool(await fault(self, call))
                if more:
                    await self.true(call)
        except (OSError, EOFError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the client has closed the connection
        finally:
            self.open -= 1
            writer.close()


def read(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Call:
    """Parse the head of a request."""
    first, *lines = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    url = urlsplit(target)
    query = parse_qs(url.query)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    path = unquote(url.path).removeprefix("/v1/fine_tuning/")
    limit = int(query.get("limit", ["20"])[0])
    after = query.get("after", [None])[0]
    return Call(time.monotonic(), method, path, after, limit, headers, reader, writer)


def http(content: bytes, *headers: str, status: int = 200) -> bytes:
    """A complete HTTP answer, with Content-Length unless the headers define the length."""
    names = " ".join(headers).lower()
    sizes = [] if "content-length" in names or "transfer-encoding" in names else [f"Content-Length: {len(content)}"]
    return "\r\n".join([f"HTTP/1.1 {status} X", *sizes, *headers, "", ""]).encode("latin-1") + content


def listing(*items: object, has_more: object = False) -> bytes:
    """A page as a complete answer."""
    return json.dumps({"object": "list", "data": items, "has_more": has_more}).encode()


def job(job_id: str, status: str = "running", **over: Any) -> Item:
    """A job object in OpenAI's form, created now."""
    return {
        "object": "fine_tuning.job",
        "id": job_id,
        "model": "gpt-4o-mini-2024-07-18",
        "created_at": int(time.time()),
        "finished_at": None,
        "fine_tuned_model": None,
        "organization_id": "org-x",
        "result_files": [],
        "status": status,
        "training_file": "file-x",
        "error": {},
        **over,
    }


def event(event_id: object, message: str = "x", **over: Any) -> Item:
    """An event object."""
    return {"object": "fine_tuning.job.event", "id": event_id, "created_at": int(time.time()), "level": "info",
            "message": message, "type": "message", "data": {}, **over}  # fmt: skip


@asynccontextmanager
async def served(*apis: Hostile, tls: ssl.SSLContext | None = None, host: str = "localhost") -> AsyncIterator[None]:
    """Serve every organisation on its own port."""
    servers = []
    tasks: set[asyncio.Task[Any]] = set()

    def connected(api: Hostile) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await api.serve(reader, writer)
            except asyncio.CancelledError:
                pass  # the test is over; asyncio's streams would report this as an error
            finally:
                tasks.discard(task)

        return serve

    try:
        for api in apis:
            server = await asyncio.start_server(connected(api), "127.0.0.1", 0, ssl=tls, limit=64 * 1024)
            servers.append(server)
            port = server.sockets[0].getsockname()[1]
            api.url = f"{'https' if tls else 'http'}://{'127.0.0.1' if host == 'localhost' else host}:{port}/v1"
        yield
    finally:
        for server in servers:
            server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
