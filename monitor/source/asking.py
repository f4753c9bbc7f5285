"""How one organisation is asked: at its pace, with its key, and every failure is a SourceError that shows no secret."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum
from functools import partial
from operator import is_
from typing import Final, TypeVar, cast

import aiohttp
import anyio.to_thread
import structlog
from aiolimiter import AsyncLimiter
from yarl import URL

from monitor.clock import Clock
from monitor.domain.retry_after import retry_after
from monitor.providers.base import (
    AuthFailed,
    Border,
    NotEligible,
    RateLimited,
    Request,
    Response,
    SourceError,
    TimedOut,
    Unavailable,
)
from monitor.secret import Redactor, Secret
from monitor.source.inflate import inflate
from monitor.source.transport import Answer, Limits, get, room

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """One organisation's requests."""

    org: str
    dialect: Border
    secret: Secret
    session: aiohttp.ClientSession
    limiter: AsyncLimiter
    """The organisation's budget of requests."""
    redact: Redactor
    clock: Clock
    count: Callable[[str, str], None]
    """Told the operation and the status code of each request; `timeout` or `error` where there was none."""
    limits: Limits = field(default_factory=Limits)
    _own: Redactor = field(default_factory=Redactor, init=False, repr=False)
    """Knows the organisation's key alone: no other was sent to this server."""
    _pieces: set[bytes] = field(default_factory=set, init=False, repr=False)
    """Of that key, five characters each, eight apart."""

    async def ask(self, request: Request, read: Callable[[Response], T]) -> T:
        """The answer, understood. Raises SourceError."""
        return await self.understood(await self.answer(request), read)

    async def answer(self, request: Request) -> Answer:
        """The answer as it came. Raises SourceError when there is none."""
        url = URL(self.dialect.base_url + request.path, encoded=True)
        await self.limiter.acquire()
        headers = self.dialect.headers(self._key())
        try:
            answer = await get(self.session, url.with_query(request.params), headers, self.limits)
        except SourceError as error:
            self.count(request.operation, "timeout" if isinstance(error, TimedOut) else "error")
            raise
        self.count(request.operation, str(answer.status))
        return answer

    async def understood(self, answer: Answer, read: Callable[[Response], T]) -> T:
        """What an answer means. Raises SourceError, with the wait that the server asks for."""

        def inflated() -> bytes:
            return inflate(answer.body, answer.encoding, self.limits.max_bytes)

        def clean_reading(body: bytes) -> T:
            found = read(Response(status=answer.status, headers=answer.headers, body=body))
            return scrubbed(found, self._own) if self._suspect(body) else found

        thread = partial(anyio.to_thread.run_sync, limiter=room(self.session).labour)
        try:
            if len(answer.body) > _LIGHT:
                return await thread(lambda: clean_reading(inflated()))
            body = inflated()
            return await thread(lambda: clean_reading(body)) if _laborious(body) else clean_reading(body)
        except SourceError as error:
            raise type(error)(self.redact(str(error)), retry_after=self._wait(error, answer)) from None

    def _wait(self, error: SourceError, answer: Answer) -> float | None:
        """The seconds that the server asks for, where it is one that may."""
        if not isinstance(error, (RateLimited, Unavailable, NotEligible)):
            return None
        wait = retry_after(answer.headers, self.clock.now(), cap=math.inf)
        if wait is not None and wait > _LONGEST_WAIT:
            log.warning("retry_after.capped", org=self.org, asked=wait, waits=_LONGEST_WAIT)
            return _LONGEST_WAIT
        return wait

    def _suspect(self, body: bytes) -> bool:
        """Whether the body may hold 12 characters of the key, or spells what it holds in another way than we look for.

        Every such part has a piece of the key in it. To look for those first costs a tenth of looking at every text.
        """
        disguised = not body.isascii() or any(sign in body for sign in _DISGUISES)
        return disguised or any(piece in body for piece in self._pieces)

    def _key(self) -> str:
        try:
            key = self.secret.read()
        except OSError as error:
            raise AuthFailed(f"the API key's file cannot be read: {error.strerror}") from None
        except ValueError:
            raise AuthFailed("the API key is empty, or its file is not text") from None
        if not key.isascii() or not key.isprintable() or " " in key:
            raise AuthFailed("the API key has characters that no key has")
        self._own.add([key])
        self._pieces.update(key[start : start + 5].encode() for start in range(0, len(key) - 4, 8))
        return key


_LIGHT: Final = 16 * 1024  # bytes as they came: compressed ones can still become a thousand times as many
# Escapes; UTF-16 and UTF-32, whose letters have zeros between them; and the one invisible character of ASCII that JSON
# lets stand as it is. The other invisible ones are not ASCII.
_DISGUISES: Final = (b"\\", b"\0", b"\x7f")
_LONGEST_WAIT: Final = 3600.0  # seconds; a server that asks for more is asked again before


def _laborious(body: bytes) -> bool:
    """Whether reading it would hold the event loop for longer than others should wait: far more than 100 jobs."""
    return len(body) > 256 * 1024 or body.count(b"{") > 2_000


_OURS: Final = frozenset({"org", "provider"})  # words of the configuration, whatever the key looks like


def scrubbed(value: T, redact: Redactor) -> T:
    """A value with all texts of the provider redacted; the same object where that changes nothing."""
    return cast("T", _scrubbed(value, redact))


def _scrubbed(value: object, redact: Redactor) -> object:
    if isinstance(value, str):
        return value if isinstance(value, Enum) else redact(value)
    if isinstance(value, tuple):
        items = tuple(_scrubbed(item, redact) for item in value)
        return value if all(map(is_, items, value)) else items
    if isinstance(value, dict):
        return {redact(key): _scrubbed(item, redact) for key, item in value.items()} if value else value
    if is_dataclass(value) and not isinstance(value, type):
        olds = ((each.name, getattr(value, each.name)) for each in fields(value) if each.name not in _OURS)
        news = {name: new for name, old in olds if (new := _scrubbed(old, redact)) is not old}
        return replace(value, **news) if news else value
    return value
