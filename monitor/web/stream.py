"""Server-sent events that name what changed (GET /api/v1/stream); clients then read it with the API."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import anyio
import msgspec
from aiohttp import hdrs, web

from monitor.clock import Clock
from monitor.domain.health import Health
from monitor.store import Changes, StoreError, Touched
from monitor.web import query
from monitor.web.access import AccessControl
from monitor.web.guard import refusal
from monitor.web.single_flight import SingleFlight

_CHECK_EVERY: Final = 1.0  # seconds; organisations go up and down without a commit, and clients close without a message
_WRITE_INTERVAL: Final = (
    0.1  # seconds between two writes, so that a busy store does not cause a write per commit and client
)
_BUFFER: Final = 16 * 1024  # bytes that may be buffered for one client
_OPENING: Final = b"retry: 3000\nevent: hello\ndata: {}\n\n"
_HEARTBEAT: Final = b": still here\n\n"
_TOO_MANY: Final = b"event: much\ndata: {}\n\n"
_HEADERS: Final = {hdrs.CONTENT_TYPE: "text/event-stream", "X-Accel-Buffering": "no"}

Ups = dict[str, bool | None]


@dataclass(slots=True)
class NewestUps:
    """Which organisations are up, as they were last read."""

    at: float = -math.inf
    """When they were read, in monotonic seconds."""
    ups: Ups = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeStream:
    """The open event streams.

    One ends with the program, and when the configuration or the access rules are reloaded.
    """

    changes: Changes
    health: Health
    read_health: Callable[[], Awaitable[Health]]
    """The health of all organisations as of now."""
    access: AccessControl
    clock: Clock
    most: int = 100
    """Concurrent streams. A further client is answered 503 with Retry-After."""
    heartbeat: float = 15.0
    """Seconds of silence after which a comment is sent."""
    patience: float = 5.0
    """Seconds that a client may leave data unread before it is disconnected."""
    newest: NewestUps = field(default_factory=NewestUps)
    reading: SingleFlight = field(default_factory=lambda: SingleFlight(1))
    following: set[anyio.CancelScope] = field(default_factory=set)
    """The open streams."""

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """Send an event for each change from now on, until the client disconnects."""
        query.only(request.query)
        if len(self.following) >= self.most:
            answer = refusal(request.path, 503, "too many event streams are open")
            answer.headers[hdrs.RETRY_AFTER] = "5"
            return answer
        response = web.StreamResponse(headers=_HEADERS)
        with anyio.CancelScope() as scope:
            self.following.add(scope)
            try:
                await response.prepare(request)
                if request.method != hdrs.METH_HEAD:
                    await self._send_changes(request, response)
            except ConnectionError:
                pass  # the client has disconnected, which is how most streams end
            finally:
                self.following.discard(scope)
        return response

    async def close(self, _app: web.Application) -> None:
        """End all streams. A shutdown signal of the application, which waits for its responses."""
        for scope in self.following:
            scope.cancel()

    async def _send_changes(self, request: web.Request, response: web.StreamResponse) -> None:
        if request.transport is not None:
            request.transport.set_write_buffer_limits(high=_BUFFER)
        orgs, access = self.health.orgs, self.access.current
        mark, ups, sent_at = self.changes.count, await self._ups(), self.clock.monotonic()
        await self._write(request, response, _OPENING)
        # A reload creates new organisations, and a new web configuration new access rules: clients then reconnect.
        while self.health.orgs is orgs and self.access.current is access:
            with anyio.move_on_after(_CHECK_EVERY):
                await self.changes.wait(mark)
            if request.transport is None or request.transport.is_closing():
                return
            touched, mark = self.changes.since(mark), self.changes.count
            before, ups = ups, await self._ups(ups)
            text = b"".join(_lines(touched, before, ups))
            if not text and self.clock.monotonic() - sent_at >= self.heartbeat:
                text = _HEARTBEAT
            if text:
                sent_at = self.clock.monotonic()
                await self._write(request, response, text)
                await self.clock.sleep(_WRITE_INTERVAL)

    async def _write(self, request: web.Request, response: web.StreamResponse, text: bytes) -> None:
        with anyio.move_on_after(self.patience) as waiting:
            await response.write(text)
        if waiting.cancelled_caught:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionError("the client does not read the stream")

    async def _ups(self, before: Ups | None = None) -> Ups:
        """Which organisations are up, at most a second old; `before` where the store does not answer."""
        try:
            return await self.reading.get("ups", self._read_ups)
        except StoreError:
            return before or {}

    async def _read_ups(self) -> Ups:
        """Read them once for all clients: a hundred of them query the database no more often than one."""
        if self.clock.monotonic() - self.newest.at >= _CHECK_EVERY:
            self.newest.ups = {name: org.up for name, org in (await self.read_health()).orgs.items()}
            self.newest.at = self.clock.monotonic()
        return self.newest.ups


def _lines(touched: tuple[Touched, ...] | None, before: Ups, ups: Ups) -> Iterable[bytes]:
    """The events of one check, each with the names of what changed."""
    if touched is None:
        yield _TOO_MANY
    for one in dict.fromkeys(touched or ()):
        named = {"org": one.org, "job": one.job}
        if one.status is not None:
            named["status"] = one.status.value
        yield b"event: %b\ndata: %b\n\n" % (one.topic.encode(), msgspec.json.encode(named))
    for name, up in ups.items():
        if up != before.get(name):
            yield b"event: org\ndata: %b\n\n" % msgspec.json.encode({"org": name, "up": up})
