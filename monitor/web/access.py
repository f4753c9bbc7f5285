"""TLS, basic auth and response headers from the web configuration file, which is reloaded when it changes."""

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
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from anyio import to_thread

from monitor.clock import Clock
from monitor.log import get_logger
from monitor.web.guard import Handler, refusal, unguarded
from monitor.web.tls import Tls, server_context

log = get_logger()

_CHECK_EVERY: Final = 1.0  # seconds
_AT_ONCE: Final = 2  # threads for password checks; one check keeps a core busy for up to seconds
_MOST_WAITING: Final = 64
_MOST_PER_ADDRESS: Final = 8  # so that a flood from one address does not lock out the others
_MOST_KNOWN: Final = 100
_BCRYPT_BYTES: Final = 72  # bcrypt reads 72 bytes; the library rejects longer passwords, where others cut them
_CHALLENGE: Final = 'Basic realm="finetune-monitor", charset="UTF-8"'

Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRules:
    """The web configuration as it was read once. The default requires no password and uses no TLS."""

    tls: Tls | None = None
    users: Mapping[str, str] = field(default_factory=dict)
    """User names and the bcrypt hashes of their passwords."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of every response, in place of ours with the same name."""
    file: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files it was read from."""
        named = (self.file,) if self.file is not None else ()
        return (*named, *(self.tls.files if self.tls is not None else ()))


class AccessControl:
    """Holds the current access rules. A changed file with an error leaves them as they are and is logged once."""

    def __init__(self, read: Callable[[], AccessRules] = AccessRules) -> None:
        """Read the rules for the first time.

        Raises ValueError and OSError as `read` does, both with texts that are safe to show.
        """
        self._read = read
        self._access, self._inner = self._open()
        self._passwords = Passwords(self._access.users)
        self._stamp = _stamp(self._access.files)
        self._refreshing = anyio.Lock()
        self.context = self._outer()

    @property
    def headers(self) -> Mapping[str, str]:
        """The configured headers of every response."""
        return self._access.headers

    @property
    def current(self) -> AccessRules:
        """The current access rules: a new object after every reload."""
        return self._access

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return "http" if self.context is None else "https"

    async def watch(self, clock: Clock) -> None:
        """Check the files every second, forever; return where there are none."""
        while self._access.files:
            await clock.sleep(_CHECK_EVERY)
            await self.refresh()

    async def refresh(self) -> None:
        """Reload the rules if one of the files has changed."""
        async with self._refreshing:
            stamp = await to_thread.run_sync(_stamp, self._access.files)
            if stamp == self._stamp:
                return
            self._stamp = stamp  # taken before reading, so that a change during the reading is found by the next check
            try:
                access, inner = await to_thread.run_sync(self._open)
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
        """The middleware that requires a valid user and password, where users are configured."""

        @web.middleware
        async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self._passwords or unguarded(request):
                return await handler(request)
            given = request.headers.getall(hdrs.AUTHORIZATION, [])
            try:
                admitted = len(given) == 1 and await self._passwords.admit(given[0], request.remote)
            except TooManyChecks:
                answer = refusal(request.path, 503, "too many password checks are pending")
                answer.headers[hdrs.RETRY_AFTER] = "1"
                return answer
            if admitted:
                return await handler(request)
            answer = refusal(request.path, 401, "a user name and a password are required")
            answer.headers[hdrs.WWW_AUTHENTICATE] = _CHALLENGE
            return answer

        return authenticate

    def _open(self) -> tuple[AccessRules, ssl.SSLContext | None]:
        access = self._read()
        return access, server_context(access.tls) if access.tls is not None else None

    def _outer(self) -> ssl.SSLContext | None:
        """The listener's context, which stays the same; each TLS handshake switches to the newest one."""
        if self._access.tls is None:
            return None
        outer = server_context(self._access.tls)

        def newest(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            if self._inner is not None:
                connection.context = self._inner

        outer.sni_callback = newest
        return outer


def _refused(current: AccessRules, new: AccessRules) -> str | None:
    """Why new rules cannot replace the current ones; None if they can.

    A file without users is rejected where there were some: an editor may have truncated it, or the disk is full, and
    nobody must get in without a password by that.
    """
    if current.users and not new.users:
        return "the file has no users any more; disabling passwords takes a restart"
    if _fixed(current) != _fixed(new):
        return "changing TLS versions or client authentication takes a restart"
    return None


def _fixed(access: AccessRules) -> tuple[object, ...] | None:
    """The TLS settings that cannot change while the listener is open."""
    tls = access.tls
    return None if tls is None else (tls.client_ca is None, tls.client_required, tls.lowest, tls.highest)


def _stamp(files: tuple[Path, ...]) -> Stamp:
    """Modification time, inode and size of each file, following symbolic links."""
    return tuple(_stamp_of(path) for path in files)


def _stamp_of(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_ino, status.st_size)


class TooManyChecks(Exception):
    """Too many password checks are pending."""


class Passwords:
    """Checks basic auth (RFC 7617) against bcrypt hashes in worker threads.

    Passwords that matched are remembered in memory by a keyed digest, so that their next check is cheap.
    """

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = {name.encode(): hashed.encode() for name, hashed in users.items()}
        self._hashes = tuple(self._users.values())
        self._key = os.urandom(32)
        self._matched: dict[bytes, None] = {}
        self._checking: dict[bytes, anyio.Event] = {}
        self._by_address: Counter[str | None] = Counter()
        self._threads = anyio.CapacityLimiter(_AT_ONCE)

    def __bool__(self) -> bool:
        """Whether a password is required at all."""
        return bool(self._users)

    async def admit(self, authorization: str, address: str | None) -> bool:
        """Whether an Authorization header has a valid user and password.

        Raises TooManyChecks where too many checks are pending, from this address or in all.
        """
        given = _credentials(authorization)
        if given is None:
            return False
        digest = hmac.digest(self._key, b"\0".join(given), hashlib.sha256)
        while (event := self._checking.get(digest)) is not None:  # the same password is being checked
            await event.wait()
        if digest in self._matched:
            return True
        if len(self._checking) >= _MOST_WAITING or self._by_address[address] >= _MOST_PER_ADDRESS:
            raise TooManyChecks
        done = self._checking[digest] = anyio.Event()
        self._by_address[address] += 1
        try:
            matched = await to_thread.run_sync(self._check, *given, limiter=self._threads)
        finally:
            self._by_address -= Counter([address])  # which drops an address whose count is 0
            del self._checking[digest]
            done.set()
        if matched:
            self._remember(digest)
        return matched

    def _check(self, name: bytes, password: bytes) -> bool:
        import bcrypt  # noqa: PLC0415 - loaded only if users are configured

        hashed = self._users.get(name)
        try:
            same = bcrypt.checkpw(password[:_BCRYPT_BYTES], hashed or self._stand_in(name))
        except ValueError:  # such as a password with a NUL
            return False
        return same and hashed is not None

    def _stand_in(self, name: bytes) -> bytes:
        """The hash that an unknown name is checked against: for each name always that of the same user.

        So the duration of refusals does not reveal which names exist.
        """
        return self._hashes[int.from_bytes(hmac.digest(self._key, name, hashlib.sha256)) % len(self._hashes)]

    def _remember(self, digest: bytes) -> None:
        while len(self._matched) >= _MOST_KNOWN:
            del self._matched[next(iter(self._matched))]
        self._matched[digest] = None


def _credentials(authorization: str) -> tuple[bytes, bytes] | None:
    """User name and password of a header; None for any other scheme, and where they are malformed."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip().encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return None
    name, colon, password = decoded.partition(b":")
    return (name, password) if colon else None
