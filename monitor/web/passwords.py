"""Who may come in by name and password (RFC 7617), against bcrypt hashes, without holding the loop."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Mapping
from typing import Final

import anyio
import bcrypt
from anyio import to_thread

_AT_ONCE: Final = 2  # a check takes a core for up to seconds: the program needs the others
_MOST_WAITING: Final = 64
_MOST_KNOWN: Final = 100
_BCRYPT_BYTES: Final = 72  # what bcrypt looks at; the library refuses more, others cut


class Busy(Exception):
    """Too many passwords wait to be checked."""


class Passwords:
    """The users of one reading of the configuration. What was right once is known by its digest, in memory only."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = {name.encode(): hashed.encode() for name, hashed in users.items()}
        # An unknown name costs what the dearest known one does, so that time does not tell names.
        self._dearest = max(self._users.values(), key=lambda hashed: hashed[4:6], default=b"")
        self._key = os.urandom(32)
        self._right: dict[bytes, None] = {}
        self._checking: dict[bytes, anyio.Event] = {}
        self._threads = anyio.CapacityLimiter(_AT_ONCE)

    def __bool__(self) -> bool:
        """Whether there are users, so that a password is needed at all."""
        return bool(self._users)

    async def admit(self, authorization: str | None) -> bool:
        """Whether this Authorization header is that of a user. Raises Busy."""
        given = _credentials(authorization)
        if given is None:
            return False
        digest = hmac.digest(self._key, b"\0".join(given), hashlib.sha256)
        while (event := self._checking.get(digest)) is not None:  # many come at once with the same password
            await event.wait()
        if digest in self._right:
            return True
        if len(self._checking) >= _MOST_WAITING:
            raise Busy
        done = self._checking[digest] = anyio.Event()
        try:
            right = await to_thread.run_sync(self._check, *given, limiter=self._threads)
        finally:
            del self._checking[digest]
            done.set()
        if right:
            self._remember(digest)
        return right

    def _check(self, name: bytes, password: bytes) -> bool:
        hashed = self._users.get(name)
        try:
            same = bcrypt.checkpw(password[:_BCRYPT_BYTES], hashed or self._dearest)
        except ValueError:  # such as a NUL in the password
            return False
        return same and hashed is not None

    def _remember(self, digest: bytes) -> None:
        while len(self._right) >= _MOST_KNOWN:
            del self._right[next(iter(self._right))]
        self._right[digest] = None


def _credentials(authorization: str | None) -> tuple[bytes, bytes] | None:
    """Name and password of a header; None where it has none."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip().encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return None
    name, colon, password = decoded.partition(b":")
    return (name, password) if colon else None
