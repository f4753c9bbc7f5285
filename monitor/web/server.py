"""Listens: a bounded HTTP/1.1 server for an application, as long as its context lasts."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, cast

import anyio
from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.typedefs import Middleware

from monitor.clock import Clock, SystemClock
from monitor.log import get_logger
from monitor.web.guard import Handler

log = get_logger()

_CLOCK: Final = SystemClock()
_NO_SUCH_FAMILY: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
_BACKLOG: Final = 1024  # connections that wait to be accepted, as many as Linux allows or more
_HANDSHAKE: Final = 10.0  # seconds
_FIRST_REQUEST: Final = 10.0  # seconds until all of its head is there; aiohttp waits as long as for a next one
_GRACE: Final = 1.0  # seconds for answers under way when the program ends
_ACCEPT_PAUSE: Final = 0.2  # seconds; a descriptor may be free by then
_MOST: Final = 2000  # far more than read at once; a bound, so that idle ones cost little
_LEAST: Final = 8
_OWN: Final = 24  # descriptors of the database and the log; of the others, a quarter is for readers
_BOUNDS: Final[dict[str, Any]] = {
    "max_line_size": 8190,
    "max_field_size": 8190,
    "max_headers": 64,
    "keepalive_timeout": 75.0,
    "lingering_time": 1.0,  # no request needs a body: what is left of one is not waited for
    "auto_decompress": False,
    "access_log": None,
}


class Connection(asyncio.Protocol):
    """One reader's connection, from the moment it is accepted: hands everything on to the protocol of the server."""

    def __init__(self, accepted: socket.socket, inner: asyncio.Protocol, limiter: ConnectionLimiter) -> None:
        self._accepted = accepted
        self._inner = inner
        self._limiter = limiter
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._answering = 0

    @property
    def idle(self) -> bool:
        """Whether it waits for a request, or for the end of its handshake."""
        waiting = self._transport is None or self._transport.get_write_buffer_size() == 0
        return waiting and not self._answering

    def abort(self) -> None:
        """End it now, whatever it does."""
        if self._transport is not None:
            self._transport.abort()
            return
        with suppress(OSError):  # the reader may have gone
            self._accepted.shutdown(socket.SHUT_RDWR)  # which ends the handshake, and that the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the handshake is done."""
        self._transport = cast("asyncio.Transport", transport)
        self._limiter.opened(self, self._transport)
        self._inner.connection_made(transport)
        self._deadline = asyncio.get_running_loop().call_later(_FIRST_REQUEST, self.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._cancel_deadline()
        self._limiter.leave(self, self._transport)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand it on."""
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Hand it on."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Hand it on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Hand it on."""
        self._inner.resume_writing()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """A request of its was understood, and is being answered."""
        self._cancel_deadline()
        self._answering += 1
        try:
            yield
        finally:
            self._answering -= 1

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()


class ConnectionLimiter:
    """The open connections. Whoever comes always gets in: the oldest idle one makes room, or the oldest of all.

    To turn newcomers away instead would let a few that do nothing keep out probes and scrapes for ever.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: dict[Connection, None] = {}  # in the order in which they came
        self._by_transport: dict[asyncio.BaseTransport, Connection] = {}

    def enter(self, one: Connection) -> None:
        """One more was accepted; another one is closed where there is no room."""
        if len(self._open) >= self.most:
            leaving = next((other for other in self._open if other.idle), next(iter(self._open)))
            del self._open[leaving]
            leaving.abort()
        self._open[one] = None

    def opened(self, one: Connection, transport: asyncio.BaseTransport) -> None:
        """Requests come by this transport from now on."""
        self._by_transport[transport] = one

    def leave(self, one: Connection, transport: asyncio.BaseTransport | None = None) -> None:
        """It is closed."""
        self._open.pop(one, None)
        if transport is not None:
            self._by_transport.pop(transport, None)

    def middleware(self) -> Middleware:
        """Knows of each connection whether a request of its is being answered."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            connection = self._by_transport.get(request.transport) if request.transport is not None else None
            if connection is None:  # lost in the meantime
                return await handler(request)
            with connection.answering():
                return await handler(request)

        return count


def most_connections() -> int:
    """How many connections there may be, so that the program has descriptors left for itself."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(min(_MOST, (descriptors - _OWN) // 4), _LEAST) if descriptors > 0 else _MOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Accepts connections, so that those that never shake hands are counted too."""

    protocol: Callable[[], asyncio.Protocol]
    limiter: ConnectionLimiter
    tls: ssl.SSLContext | None
    clock: Clock
    opening: set[asyncio.Task[None]] = field(default_factory=set)

    async def accept(self, listening: socket.socket) -> None:
        """Accept for ever. What stands in the way is logged when it begins and when it is over."""
        loop, failing = asyncio.get_running_loop(), False
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except ConnectionAbortedError:  # gone before it was its turn
                continue
            except OSError as error:
                if not failing:
                    log.error("web.accept_failed", error=str(error))
                failing = True
                await self.clock.sleep(_ACCEPT_PAUSE)
                continue
            if failing:
                log.info("web.accept_recovered")
            failing = False
            connection = Connection(accepted, self.protocol(), self.limiter)
            self.limiter.enter(connection)
            opening = loop.create_task(self._open(connection, accepted))
            self.opening.add(opening)
            opening.add_done_callback(self.opening.discard)

    async def _open(self, connection: Connection, accepted: socket.socket) -> None:
        """Shake hands, where TLS is spoken."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self.tls,
                ssl_handshake_timeout=_HANDSHAKE if self.tls is not None else None,
                ssl_shutdown_timeout=_GRACE if self.tls is not None else None,
            )
        except OSError:  # anybody can send what is no handshake: not worth a log line
            self.limiter.leave(connection)


@asynccontextmanager
async def serve(
    app: web.Application, host: str, port: int, tls: ssl.SSLContext | None = None, *, clock: Clock = _CLOCK
) -> AsyncIterator[tuple[str, int]]:
    """Serve; gives the bound address, which says the port where 0 was asked for. Raises OSError: the port is in use."""
    limiter = ConnectionLimiter(most_connections())
    app.middlewares.insert(0, limiter.middleware())
    runner = web.AppRunner(app, logger=_logger(), shutdown_timeout=_GRACE, **_BOUNDS)
    await runner.setup()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_cleanup, runner)
        server = cast("web.Server", runner.server)  # there after setup()
        listener = Listener(protocol=server, limiter=limiter, tls=tls, clock=clock)
        sockets = await _bind(stack, host, port, backlog=min(_BACKLOG, limiter.most))
        # No task group: it would wrap whatever is raised inside of the context in a group.
        loop = asyncio.get_running_loop()
        accepting = [loop.create_task(listener.accept(one)) for one in sockets]
        try:
            bound = sockets[0].getsockname()
            yield bound[0], bound[1]
        finally:
            for task in (*accepting, *listener.opening):
                task.cancel()


async def _bind(stack: AsyncExitStack, host: str, port: int, *, backlog: int) -> list[socket.socket]:
    """A listening socket for each address of the host, closed with the stack; an empty host is every interface."""
    loop, sockets, refused = asyncio.get_running_loop(), list[socket.socket](), OSError("the host has no address")
    found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            one = stack.enter_context(socket.create_server(cast("Any", address), family=family, backlog=backlog))
        except OSError as error:
            reason, where = os.strerror(error.errno or 0).lower(), address[0]
            authority = f"[{where}]:{port}" if family is socket.AF_INET6 else f"{where}:{port}"
            refused = OSError(error.errno, f"cannot listen on {authority}: {reason}")
            if error.errno not in _NO_SUCH_FAMILY:  # a machine without IPv6 has names for it all the same
                raise refused from None
        else:
            one.setblocking(False)
            sockets.append(one)
    if not sockets:
        raise refused
    return sockets


async def _cleanup(runner: web.AppRunner) -> None:
    # Shielded: the end of the program comes as a cancellation, and the answers under way have until _GRACE.
    with anyio.move_on_after(2 * _GRACE, shield=True):
        await runner.cleanup()


def _logger() -> logging.Logger:
    """Where aiohttp logs to: not that a request was malformed, which anybody can send as often as they like."""
    found = logging.getLogger("monitor.web.http")
    found.addFilter(_is_ours)
    return found


def _is_ours(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
