"""Who may come in, and how: TLS, passwords and headers of the web configuration, read again when a file changes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
import bcrypt
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from anyio import to_thread

from monitor.clock import Clock
from monitor.log import get_logger
from monitor.web.guard import Handler, refusal, unguarded
from monitor.web.tls import Tls, server_context

log = get_logger()

_CHECK_EVERY: Final = 1.0  # seconds
_AT_ONCE: Final = 2  # a check of a password takes a core for up to seconds: the program needs the others
_MOST_WAITING: Final = 64
_MOST_PER_ADDRESS: Final = 8  # so that a flood from one address leaves the others their turn
_MOST_KNOWN: Final = 100
_BCRYPT_BYTES: Final = 72  # what bcrypt reads; the library refuses more, others cut
_CHALLENGE: Final = 'Basic realm="finetune-monitor", charset="UTF-8"'

Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRules:
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


class AccessControl:
    """The present access. A change that cannot be read changes nothing and is logged once."""

    def __init__(self, read: Callable[[], AccessRules] = AccessRules) -> None:
        """`read` raises ValueError or OSError, both with texts that are safe to show, and so does this."""
        self._read = read
        self._access, self._inner = self._opened()
        self._passwords = Passwords(self._access.users)
        self._stamp = _stamp(self._access.files)
        self._one_at_a_time = anyio.Lock()
        self.context = self._outer()

    @property
    def headers(self) -> Mapping[str, str]:
        """What every answer carries."""
        return self._access.headers

    @property
    def current(self) -> AccessRules:
        """The present reading: another one is another object."""
        return self._access

    @property
    def scheme(self) -> str:
        """How the server is spoken to."""
        return "http" if self.context is None else "https"

    async def watch(self, clock: Clock) -> None:
        """Look for changes for ever."""
        while True:
            await clock.sleep(_CHECK_EVERY)
            await self.refresh()

    async def refresh(self) -> None:
        """Read the files again where they have changed."""
        async with self._one_at_a_time:
            stamp = await to_thread.run_sync(_stamp, self._access.files)
            if stamp == self._stamp:
                return
            self._stamp = stamp  # of before the reading: what changes meanwhile is seen by the next check
            try:
                access, inner = await to_thread.run_sync(self._opened)
            except (ValueError, OSError) as error:
                log.error("web_config.refused", error=str(error))
                return
            if (refused := _refused(self._access, access)) is not None:
                log.error("web_config.refused", error=refused)
                return
            if access.users != self._access.users:
                self._passwords = Passwords(access.users)
            self._access, self._inner = access, inner
            log.info("web_config.reloaded")

    def middleware(self) -> Middleware:
        """Lets in who may, before anything else is done."""

        @web.middleware
        async def ask(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self._passwords or unguarded(request):
                return await handler(request)
            given = request.headers.getall(hdrs.AUTHORIZATION, [])
            try:
                admitted = len(given) == 1 and await self._passwords.admit(given[0], request.remote)
            except TooManyChecks:
                answer = refusal(request.path, 503, "too many passwords are being checked")
                answer.headers[hdrs.RETRY_AFTER] = "1"
                return answer
            if admitted:
                return await handler(request)
            answer = refusal(request.path, 401, "a name and a password are needed")
            answer.headers[hdrs.WWW_AUTHENTICATE] = _CHALLENGE
            return answer

        return ask

    def _opened(self) -> tuple[AccessRules, ssl.SSLContext | None]:
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


def _refused(now: AccessRules, wanted: AccessRules) -> str | None:
    """Why a reading cannot replace the present one.

    A file that an editor has emptied, or a full disk has cut, is good YAML without users: it must not let everybody in.
    """
    if now.users and not wanted.users:
        return "the users are gone; that nobody needs a password any more takes a restart"
    if _fixed(now) != _fixed(wanted):
        return "which TLS is spoken changes with a restart only"
    return None


def _fixed(access: AccessRules) -> tuple[object, ...] | None:
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


class TooManyChecks(Exception):
    """Too many passwords wait to be checked."""


class Passwords:
    """The users of one reading of the configuration (RFC 7617), against bcrypt hashes, without holding the loop.

    What was right once is known by its digest, in memory only.
    """

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = {name.encode(): hashed.encode() for name, hashed in users.items()}
        self._hashes = tuple(self._users.values())
        self._key = os.urandom(32)
        self._right: dict[bytes, None] = {}
        self._checking: dict[bytes, anyio.Event] = {}
        self._by_address: Counter[str | None] = Counter()
        self._threads = anyio.CapacityLimiter(_AT_ONCE)

    def __bool__(self) -> bool:
        """Whether there are users, so that a password is needed at all."""
        return bool(self._users)

    async def admit(self, authorization: str, address: str | None) -> bool:
        """Whether this Authorization header is that of a user. Raises TooManyChecks, of this address or of all."""
        given = _credentials(authorization)
        if given is None:
            return False
        digest = hmac.digest(self._key, b"\0".join(given), hashlib.sha256)
        while (event := self._checking.get(digest)) is not None:  # many come at once with the same password
            await event.wait()
        if digest in self._right:
            return True
        if len(self._checking) >= _MOST_WAITING or self._by_address[address] >= _MOST_PER_ADDRESS:
            raise TooManyChecks
        done = self._checking[digest] = anyio.Event()
        self._by_address[address] += 1
        try:
            right = await to_thread.run_sync(self._check, *given, limiter=self._threads)
        finally:
            self._by_address -= Counter([address])  # which drops an address that has none left
            del self._checking[digest]
            done.set()
        if right:
            self._remember(digest)
        return right

    def _check(self, name: bytes, password: bytes) -> bool:
        hashed = self._users.get(name)
        try:
            same = bcrypt.checkpw(password[:_BCRYPT_BYTES], hashed or self._stand_in(name))
        except ValueError:  # such as a NUL in the password
            return False
        return same and hashed is not None

    def _stand_in(self, name: bytes) -> bytes:
        """The hash that an unknown name is checked against: always the same user's, and as costly as any user's.

        So neither the time of one refusal nor that of many reveals which names there are.
        """
        return self._hashes[int.from_bytes(hmac.digest(self._key, name, hashlib.sha256)) % len(self._hashes)]

    def _remember(self, digest: bytes) -> None:
        while len(self._right) >= _MOST_KNOWN:
            del self._right[next(iter(self._right))]
        self._right[digest] = None


def _credentials(authorization: str) -> tuple[bytes, bytes] | None:
    """Name and password of a header; None where it has none."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip().encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return None
    name, colon, password = decoded.partition(b":")
    return (name, password) if colon else None
