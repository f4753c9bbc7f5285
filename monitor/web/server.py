"""Listens: a bounded HTTP/1.1 server for an application, as long as its context lasts."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import anyio
from aiohttp import web

from monitor.log import get_logger
from monitor.web.crowd import Crowd, room
from monitor.web.guard import HEADERS, refusal

log = get_logger()

_BACKLOG: Final = 1024  # connections that wait to be accepted, as many as Linux allows or more
_HANDSHAKE: Final = 10.0  # seconds
_FIRST_REQUEST: Final = 10.0  # seconds until all of its head is there; aiohttp waits as long as for a next one
_GRACE: Final = 1.0  # seconds for answers under way when the program ends
_BOUNDS: Final[dict[str, Any]] = {
    "max_line_size": 8190,
    "max_field_size": 8190,
    "max_headers": 64,
    "keepalive_timeout": 75.0,
    "lingering_time": 1.0,  # no request needs a body: what is left of one is not waited for
    "auto_decompress": False,
    "access_log": None,
}


class _Protocol(web.RequestHandler):
    """One connection. What is no HTTP, and a bug, get a plain answer: no details, no version, the usual headers."""

    __slots__ = ("_crowd",)

    def __init__(self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, crowd: Crowd) -> None:
        super().__init__(manager, loop=loop, **_BOUNDS)
        self._crowd = crowd

    @property
    def idle(self) -> bool:
        """Whether it waits for a request."""
        return self._current_request is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Come in, perhaps in the place of another."""
        super().connection_made(transport)
        self._crowd.enter(self)
        self._loop.call_later(_FIRST_REQUEST, self._hurry)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Go."""
        self._crowd.leave(self)
        super().connection_lost(exc)

    def _hurry(self) -> None:
        if self._request_count == 0:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a malformed request (not worth a log line: anybody can send them) or a failed handler."""
        if status >= 500:
            log.error("web.failed", method=request.method, path=request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        said = "something went wrong here; the log says what" if status >= 500 else "this is not a request"
        response = refusal(request.path, status, said)
        response.headers.update(HEADERS)
        response.force_close()
        return response


@asynccontextmanager
async def serve(
    app: web.Application, host: str, port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, int]]:
    """Serve; gives the bound address, which says the port where 0 was asked for. Raises OSError: the port is in use."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GRACE)
    await runner.setup()
    loop, connections = asyncio.get_running_loop(), cast("web.Server", runner.server)  # there after setup()
    crowd = Crowd(room())
    try:
        listening = await loop.create_server(
            lambda: _Protocol(connections, loop=loop, crowd=crowd),
            host,
            port,
            # So many are also accepted at a time, before the first of them is known to be there.
            backlog=min(_BACKLOG, crowd.most),
            ssl=tls,
            ssl_handshake_timeout=_HANDSHAKE if tls is not None else None,
            ssl_shutdown_timeout=_GRACE if tls is not None else None,
        )
        try:
            bound = listening.sockets[0].getsockname()
            yield bound[0], bound[1]
        finally:
            listening.close()
    finally:
        # Shielded: the end of the program comes as a cancellation, and the answers under way have until _GRACE.
        with anyio.move_on_after(2 * _GRACE, shield=True):
            await runner.cleanup()
