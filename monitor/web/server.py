"""An HTTP/1.1 server with bounded connections, for an aiohttp application."""

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
_BACKLOG: Final = 1024  # connections waiting to be accepted; Linux may allow fewer
_HANDSHAKE: Final = 10.0  # seconds
_FIRST_REQUEST: Final = 10.0  # seconds for the head of the first request; aiohttp limits only later ones
_GRACE: Final = 1.0  # seconds for responses in progress at shutdown
_ACCEPT_PAUSE: Final = 0.2  # seconds; a file descriptor may be free by then
_MOST_CONNECTIONS: Final = 2000  # connections; far more than are used at once, and idle ones cost little
_LEAST_CONNECTIONS: Final = 8
_OWN_DESCRIPTORS: Final = 24  # file descriptors of the database and the log; a quarter of the others is for connections
_RUNNER: Final[dict[str, Any]] = {
    "max_line_size": 8190,
    "max_field_size": 8190,
    "max_headers": 64,
    "keepalive_timeout": 75.0,
    "lingering_time": 1.0,  # seconds; requests need no body, so the rest of one is not waited for
    "auto_decompress": False,
    "access_log": None,
}


class Connection(asyncio.Protocol):
    """A client's connection from its acceptance on; delegates to aiohttp's protocol."""

    def __init__(self, accepted: socket.socket, inner: asyncio.Protocol, limiter: ConnectionLimiter) -> None:
        self._accepted = accepted
        self._inner = inner
        self._limiter = limiter
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._answering = 0

    @property
    def idle(self) -> bool:
        """Whether it waits for a request, or for its TLS handshake."""
        waiting = self._transport is None or self._transport.get_write_buffer_size() == 0
        return waiting and not self._answering

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()
            return
        with suppress(OSError):  # the client may have closed it
            self._accepted.shutdown(socket.SHUT_RDWR)  # ends the handshake, and with it the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is complete: delegate, and start the deadline of the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._limiter.opened(self, self._transport)
        self._inner.connection_made(transport)
        self._deadline = asyncio.get_running_loop().call_later(_FIRST_REQUEST, self.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._cancel_deadline()
        self._limiter.leave(self, self._transport)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Delegate."""
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Delegate."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Delegate."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Delegate."""
        self._inner.resume_writing()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Mark the connection as busy while one of its requests is answered."""
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
    """Limits the open connections: a new one closes the oldest idle one, or the oldest of all.

    If new connections were rejected instead, a few idle clients could lock out probes and scrapes forever.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: dict[Connection, None] = {}  # in the order of their acceptance
        self._by_transport: dict[asyncio.BaseTransport, Connection] = {}

    def enter(self, one: Connection) -> None:
        """A connection was accepted; close another one if there are too many."""
        if len(self._open) >= self.most:
            closing = next((other for other in self._open if other.idle), next(iter(self._open)))
            del self._open[closing]
            closing.abort()
        self._open[one] = None

    def opened(self, one: Connection, transport: asyncio.BaseTransport) -> None:
        """Requests of this connection will come by this transport."""
        self._by_transport[transport] = one

    def leave(self, one: Connection, transport: asyncio.BaseTransport | None = None) -> None:
        """The connection is closed."""
        self._open.pop(one, None)
        if transport is not None:
            self._by_transport.pop(transport, None)

    def middleware(self) -> Middleware:
        """The middleware that marks a connection as busy while one of its requests is answered."""

        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            connection = self._by_transport.get(request.transport) if request.transport is not None else None
            if connection is None:  # lost in the meantime
                return await handler(request)
            with connection.answering():
                return await handler(request)

        return count


def most_connections() -> int:
    """The maximum number of connections, so that file descriptors are left for the rest of the program."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        max(min(_MOST_CONNECTIONS, (descriptors - _OWN_DESCRIPTORS) // 4), _LEAST_CONNECTIONS)
        if descriptors > 0
        else _MOST_CONNECTIONS
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Accepts connections, so that those without a completed handshake are counted too."""

    protocol: Callable[[], asyncio.Protocol]
    limiter: ConnectionLimiter
    tls: ssl.SSLContext | None
    clock: Clock
    opening: set[asyncio.Task[None]] = field(default_factory=set)

    async def accept(self, listening: socket.socket) -> None:
        """Accept connections forever. Errors are logged when they begin and when they end."""
        loop, failing = asyncio.get_running_loop(), False
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except ConnectionAbortedError:  # the client closed it before it was accepted
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
        """Do the TLS handshake, where TLS is configured."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self.tls,
                ssl_handshake_timeout=_HANDSHAKE if self.tls is not None else None,
                ssl_shutdown_timeout=_GRACE if self.tls is not None else None,
            )
        except OSError:  # anybody can send an invalid handshake, so it is not logged
            self.limiter.leave(connection)


@asynccontextmanager
async def serve(
    app: web.Application, host: str, port: int, tls: ssl.SSLContext | None = None, *, clock: Clock = _CLOCK
) -> AsyncIterator[tuple[str, int]]:
    """Serve until the context ends. Yields the bound host and port. Raises OSError where the port is in use.

    Port 0 binds a free port.
    """
    limiter = ConnectionLimiter(most_connections())
    app.middlewares.insert(0, limiter.middleware())
    runner = web.AppRunner(app, logger=_logger(), shutdown_timeout=_GRACE, **_RUNNER)
    await runner.setup()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_cleanup, runner)
        server = cast("web.Server", runner.server)  # set by setup()
        listener = Listener(protocol=server, limiter=limiter, tls=tls, clock=clock)
        sockets = await _bind(stack, host, port, backlog=min(_BACKLOG, limiter.most))
        # No task group: it would wrap exceptions from inside the context in an exception group.
        loop = asyncio.get_running_loop()
        accepting = [loop.create_task(listener.accept(one)) for one in sockets]
        try:
            bound = sockets[0].getsockname()
            yield bound[0], bound[1]
        finally:
            for task in (*accepting, *listener.opening):
                task.cancel()


async def _bind(stack: AsyncExitStack, host: str, port: int, *, backlog: int) -> list[socket.socket]:
    """One listening socket per address of the host, closed with the stack. An empty host stands for all interfaces."""
    loop, sockets, refused = asyncio.get_running_loop(), list[socket.socket](), OSError("the host has no address")
    found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            one = stack.enter_context(socket.create_server(cast("Any", address), family=family, backlog=backlog))
        except OSError as error:
            reason, where = os.strerror(error.errno or 0).lower(), address[0]
            authority = f"[{where}]:{port}" if family is socket.AF_INET6 else f"{where}:{port}"
            refused = OSError(error.errno, f"cannot listen on {authority}: {reason}")
            if error.errno not in _NO_SUCH_FAMILY:  # names may resolve to IPv6 on a machine without it
                raise refused from None
        else:
            one.setblocking(False)
            sockets.append(one)
    if not sockets:
        raise refused
    return sockets


async def _cleanup(runner: web.AppRunner) -> None:
    # Shielded: the program ends by cancellation, and responses in progress have until _GRACE.
    with anyio.move_on_after(2 * _GRACE, shield=True):
        await runner.cleanup()


def _logger() -> logging.Logger:
    """The logger for aiohttp. Malformed requests are not logged, since anybody can send as many as they like."""
    found = logging.getLogger("monitor.web.http")
    found.addFilter(_is_ours)
    return found


def _is_ours(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
