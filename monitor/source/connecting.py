"""Connections that no server can turn against the program: their number, their pace, whose answers they bring."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, cast

import aiohttp
import anyio
import anyio.lowlevel
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError

_SLICE: Final = 16 * 1024  # bytes that are parsed before others have their turn: of hostile ones, 10 ms
_QUEUED: Final = 32  # answers that wait on one connection; one is asked for
_IDLE: Final = 75.0  # longer than the usual poll interval: a TLS handshake costs ten small requests
_CONNECTIONS: Final = 1000  # far above what is in flight; a bound, so that hanging servers cannot take all descriptors
# Descriptors of the database and the log; of the others, half are for readers (`web/crowd.py`) and notifiers.
_OWN: Final = 24


@dataclass(slots=True)
class Room:
    """What the answers of all servers together may take, so that many hostile ones cost no more than a few."""

    left: int = 48 * 1024 * 1024
    """Bytes for what is large of answers."""
    labour: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(2))
    """Threads in which large answers are read."""
    files: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))
    """Of training files that are counted: it takes so long that answers must not wait for it."""


class Slowly(ResponseHandler):
    """Parses what came in slices, so that a million crumbs of a body hold up nobody else."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._waiting = bytearray()
        self._resuming = False

    @property
    def should_close(self) -> bool:
        """Whether no other request may use this connection."""
        return bool(self._waiting) or super().should_close

    def data_received(self, data: bytes) -> None:
        """Parse it, or the beginning of it now and the rest later. Meanwhile nothing more is read."""
        if not data or (not self._waiting and len(data) <= _SLICE):
            self._parse(data)
            return
        idle = not self._waiting
        self._waiting += data
        if self.transport is not None:
            self.transport.pause_reading()
        if idle:
            self._next()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on in the next round of the loop: at once, a body's reader would be fed while it reads, without end."""
        if not self._resuming:
            self._resuming = True
            self._loop.call_soon(self._resume, resume_parser)

    def _resume(self, resume_parser: bool) -> None:
        self._resuming = False
        super().resume_reading(resume_parser)
        self._next()

    def connection_lost(self, exc: BaseException | None) -> None:
        """What came before the end counts."""
        while self._waiting:
            self._parse(self._take())
        super().connection_lost(exc)

    def _next(self) -> None:
        if not self._waiting or self._reading_paused:
            return
        self._parse(self._take())
        if self._waiting:
            self._loop.call_soon(self._next)
        elif not (self._reading_paused or self._buffer_paused):
            self._resume_transport_reading()

    def _resume_transport_reading(self) -> None:
        if not self._waiting:
            super()._resume_transport_reading()

    def _take(self) -> bytes:
        piece = bytes(self._waiting[:_SLICE])
        del self._waiting[:_SLICE]
        return piece

    def _parse(self, data: bytes) -> None:
        super().data_received(data)
        if len(self._buffer) > _QUEUED:  # answers that nobody asked for, such as "102 Processing" for ever
            self._buffer.clear()
            self._waiting.clear()
            if self.transport is not None:
                self.transport.abort()
            self.set_exception(HttpProcessingError(message="more answers than requests"))


def connections() -> int:
    """How many there may be, so that the program keeps descriptors for itself."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(min(_CONNECTIONS, (descriptors - _OWN) // 2), 8) if descriptors > 0 else _CONNECTIONS


class Connector(aiohttp.TCPConnector):
    """Gives no connection on which something came that was not asked for: it would answer the next request."""

    def __init__(self) -> None:
        super().__init__(limit=connections(), keepalive_timeout=_IDLE, resolver=Resolver())
        self.room = Room()
        self._factory = cast("partial[ResponseHandler]", partial(Slowly, loop=self._loop))  # there is no other way in

    async def connect(self, req: ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout) -> Connection:
        """A connection that is clean. Raises aiohttp's errors."""
        while True:
            connection = await self._found(req, traces, timeout)
            protocol = connection.protocol
            if protocol is None or not protocol.should_close:
                return connection
            connection.close()

    def _release(self, key: Any, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        """Idle connections count, too: beyond the limit none is kept."""
        crowded = sum(map(len, self._conns.values())) + len(self._acquired) > self.limit
        super()._release(key, protocol, should_close=should_close or crowded)

    async def _found(self, req: ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout) -> Connection:
        """A connection; where there is no descriptor for it, in the place of the idle ones."""
        try:
            return await super().connect(req, traces, timeout)
        except aiohttp.ClientConnectorError as error:
            if error.os_error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
        for idle in self._conns.values():
            for protocol, _ in idle:
                protocol.abort()
        self._conns.clear()
        for _ in range(2):  # rounds of the loop in which they are closed
            await anyio.lowlevel.checkpoint()
        return await super().connect(req, traces, timeout)


class Resolver(AbstractResolver):
    """Asks the system, each time in a thread of its own: names that hang hold up no other name, nor the program's end.

    There are never more threads than names: aiohttp asks for a name once at a time, and remembers it for 10 s.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises OSError."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[ResolveResult]] = loop.create_future()

        def settle(found: list[ResolveResult] | OSError) -> None:
            if answer.done():
                return
            if isinstance(found, OSError):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def ask() -> None:
            try:
                found: list[ResolveResult] | OSError = addresses(host, port, family)
            except OSError as error:
                found = error
            except UnicodeError:  # a label that is too long
                found = OSError(None, "the host name is none")
            with suppress(RuntimeError):  # the program has ended meanwhile
                loop.call_soon_threadsafe(settle, found)

        threading.Thread(target=ask, name="resolver", daemon=True).start()
        return await answer

    async def close(self) -> None:
        """Nothing is kept."""


def addresses(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    """What the system's resolver says. Blocks. Raises OSError."""
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host,
            host=_spelled(address),
            port=int(address[1]),
            family=kind,
            proto=proto,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, proto, _, address in infos
    ]


def _spelled(address: tuple[Any, ...]) -> str:
    """A link-local address needs its zone, which is in a field of its own."""
    zone = len(address) > 3 and address[3]
    return socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0] if zone else str(address[0])
