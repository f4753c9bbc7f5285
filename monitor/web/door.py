"""Who may come in, and how: TLS, passwords and headers of the web configuration, read anew when a file changes."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from anyio import to_thread

from monitor.clock import Clock
from monitor.log import get_logger
from monitor.web.guard import Handler, refusal
from monitor.web.passwords import Busy, Passwords
from monitor.web.tls import Tls, server_context

log = get_logger()

_LOOK_EVERY: Final = 1.0
_CHALLENGE: Final = 'Basic realm="finetune-monitor", charset="UTF-8"'

Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One reading of the web configuration. Without one everybody may come, in plain text."""

    tls: Tls | None = None
    users: Mapping[str, str] = field(default_factory=dict)
    """Names, and bcrypt hashes of their passwords."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Instead of ours, on every answer."""
    file: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """All that it was read from."""
        named = (self.file,) if self.file is not None else ()
        return (*named, *(self.tls.files if self.tls is not None else ()))


class Door:
    """The present access. A change that cannot be read changes nothing and is said once."""

    def __init__(self, read: Callable[[], Access] = Access) -> None:
        """`read` raises ValueError or OSError, both with texts that are safe to show, and so does this."""
        self._read = read
        self._access, self._inner = self._opened()
        self._passwords = Passwords(self._access.users)
        self._stamp = _stamp(self._access.files)
        self._one_at_a_time = anyio.Lock()
        self.context = self._outer()

    @property
    def headers(self) -> Mapping[str, str]:
        """What goes on every answer."""
        return self._access.headers

    @property
    def access(self) -> Access:
        """The present reading: another one is another object."""
        return self._access

    @property
    def scheme(self) -> str:
        """How the server is spoken to."""
        return "http" if self.context is None else "https"

    async def watch(self, clock: Clock) -> None:
        """Look for changes for ever."""
        while True:
            await clock.sleep(_LOOK_EVERY)
            await self.refresh()

    async def refresh(self) -> None:
        """Read the files again where they have changed."""
        async with self._one_at_a_time:
            stamp = await to_thread.run_sync(_stamp, self._access.files)
            if stamp == self._stamp:
                return
            self._stamp = stamp  # of before the reading: what changes meanwhile is seen by the next look
            try:
                access, inner = await to_thread.run_sync(self._opened)
            except (ValueError, OSError) as error:
                log.error("web_config.refused", error=str(error))
                return
            if _fixed(access) != _fixed(self._access):
                log.error("web_config.refused", error="which TLS is spoken changes with a restart only")
                return
            if access.users != self._access.users:
                self._passwords = Passwords(access.users)
            self._access, self._inner = access, inner
            log.info("web_config.reloaded")

    def middleware(self) -> Middleware:
        """Lets in who may, before anything else is looked at."""

        @web.middleware
        async def ask(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self._passwords:
                return await handler(request)
            given = request.headers.getall(hdrs.AUTHORIZATION, [])
            try:
                admitted = len(given) == 1 and await self._passwords.admit(given[0])
            except Busy:
                answer = refusal(request.path, 503, "too many passwords are being checked")
                answer.headers[hdrs.RETRY_AFTER] = "1"
                return answer
            if admitted:
                return await handler(request)
            answer = refusal(request.path, 401, "a name and a password are needed")
            answer.headers[hdrs.WWW_AUTHENTICATE] = _CHALLENGE
            return answer

        return ask

    def _opened(self) -> tuple[Access, ssl.SSLContext | None]:
        access = self._read()
        return access, server_context(access.tls) if access.tls is not None else None

    def _outer(self) -> ssl.SSLContext | None:
        """What the listener holds for good: each handshake is handed to the newest context."""
        if self._access.tls is None:
            return None
        outer = server_context(self._access.tls)

        def newest(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            if self._inner is not None:
                connection.context = self._inner

        outer.sni_callback = newest
        return outer


def _fixed(access: Access) -> tuple[object, ...] | None:
    """What a listener that is open cannot change."""
    tls = access.tls
    return None if tls is None else (tls.client_ca is None, tls.client_required, tls.lowest, tls.highest)


def _stamp(files: tuple[Path, ...]) -> Stamp:
    """What changes whenever a file does, symbolic links followed."""
    return tuple(_stamp_of(path) for path in files)


def _stamp_of(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_ino, status.st_size)
