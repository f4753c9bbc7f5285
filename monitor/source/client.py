"""Makes the requests of one organisation, with its credentials and rate limit.

Every failure is a SourceError without secrets.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum
from operator import is_
from typing import Final, TypeVar, cast

import anyio
import anyio.to_thread
import structlog
from aiolimiter import AsyncLimiter
from yarl import URL

from monitor.clock import Clock
from monitor.domain.retry_after import retry_after
from monitor.providers.base import (
    Auth,
    AuthFailed,
    Call,
    Malformed,
    NotEligible,
    Outgoing,
    Page,
    ProviderUnavailable,
    RateLimited,
    Request,
    Response,
    SourceError,
    TimedOut,
    Token,
)
from monitor.secret import Redactor, Secret, is_secret
from monitor.source.inflate import inflate
from monitor.source.transport import Answer, Limits, Transport, exchange
from monitor.tracebacks import cut_traceback

T = TypeVar("T")

log = structlog.get_logger()

_LIGHT: Final = 16 * 1024  # bytes as received; decompressed, they can be a thousand times as many
_LONGEST_WAIT: Final = 3600.0  # seconds, even if a server asks for more
_MARGIN: Final = 300.0  # seconds before its expiry at which an access token is replaced
# Operations that polls do not need: a rate limit for them does not delay polls.
_OPTIONAL: Final = frozenset({"get_file", "get_content", "list_models", "list_projects", "list_deployments"})
_OURS: Final = frozenset({"org", "provider"})  # fields from the configuration, which are never redacted


@dataclass(slots=True)
class _Token:
    """The current access token."""

    text: str = ""
    until: float = -math.inf
    """When it is to be replaced, in monotonic seconds."""
    lock: anyio.Lock = field(default_factory=anyio.Lock)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Makes the requests of one organisation."""

    org: str
    base_url: str
    auth: Auth
    secrets: Mapping[str, Secret]
    """The secrets by the names of their settings."""
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    own_headers: Mapping[str, Secret] = field(default_factory=dict)
    """Configured headers, which are added and take precedence."""
    header_lines: Secret | None = None
    """A file with more of them, one `Name: value` per line."""
    own_query: Mapping[str, Secret] = field(default_factory=dict)
    transport: Transport
    limiter: AsyncLimiter
    """The rate limit of the organisation's requests."""
    redact: Redactor
    clock: Clock
    count: Callable[[str, str], None]
    """Called with the operation and the status code of each request, or with `timeout` or `error`."""
    skip: Callable[[str, int], None] = lambda reason, items: None
    """Called with the reason and the number of items that were left out of an answer."""
    limits: Limits = field(default_factory=Limits)
    _token: _Token = field(default_factory=_Token, init=False, repr=False)
    _waiters: dict[tuple[str, ...], str] = field(default_factory=dict, init=False, repr=False)
    """The key in `transport.waits`, by the current secrets."""

    async def call(self, call: Call[T]) -> T:
        """Make a request and parse the answer. Raises SourceError."""
        return await self.understood(await self.answer(call.request), call.read)

    async def answer(self, request: Request) -> Answer:
        """Make a request and return the raw answer. Raises SourceError if there is none."""
        secrets = self._secrets()
        everybody = waiting = self._waiting(secrets)
        until = self.transport.waits.get(everybody, 0.0)
        if request.operation in _OPTIONAL:
            waiting = f"{everybody}/optional"
            until = max(until, self.transport.waits.get(waiting, 0.0))
        if (left := until - self.clock.monotonic()) > 0:
            raise RateLimited(f"the server asked for a pause, which lasts another {left:.0f} s", retry_after=left)
        if (token := await self._access(secrets)) is not None:
            secrets = {**secrets, "token": token}
        answer = await self._send(request, secrets)
        if answer.status == 401:
            self._token.until = -math.inf
        if answer.status in (429, 503) and (wait := self._asked_wait(answer)) is not None:
            self.transport.waits[waiting] = self.clock.monotonic() + wait
        return answer

    async def understood(self, answer: Answer, read: Callable[[Response], T]) -> T:
        """Parse an answer. Raises SourceError, with the wait that the server asks for."""
        try:
            if len(answer.body) > _LIGHT:
                return await self._in_thread(lambda: self._read(answer, self._inflated(answer), read))
            body = self._inflated(answer)
            if _laborious(body):
                return await self._in_thread(lambda: self._read(answer, body, read))
            return self._read(answer, body, read)
        except SourceError as error:
            waits = isinstance(error, (RateLimited, ProviderUnavailable, NotEligible))
            wait = self._asked_wait(answer) if waits else None
            cut_traceback(error)
            raise type(error)(self.redact(str(error)), retry_after=wait) from None

    async def page(self, request: Request, read: Callable[[Request, Response], Page[T]]) -> Page[T]:
        """Request a page of a list. Raises SourceError."""
        return self.counted(await self.call(Call(request=request, read=lambda response: read(request, response))))

    def counted(self, page: Page[T]) -> Page[T]:
        """Count the items that were left out of a page, and return it."""
        for reason, items in page.skipped.items():
            self.skip(reason, items)
        return page

    def _inflated(self, answer: Answer) -> bytes:
        return inflate(answer.body, answer.encoding, self.limits.max_bytes)

    def _read(self, answer: Answer, body: bytes, read: Callable[[Response], T]) -> T:
        response = Response(
            status=answer.status,
            headers=answer.headers,
            body=body,
            scrub=self._scrubbed,
            secrets=self.redact.version,
        )
        found = read(response)
        if isinstance(found, (bytes, int, Token)):  # never shown to anybody: a training file, a size, an access token
            return found
        return found if isinstance(found, Page) and found.scrubbed else self._scrubbed(found, body)

    def _scrubbed(self, found: T, raw: bytes) -> T:
        """The value that was read from these bytes, without secrets."""
        return scrubbed(found, self.redact) if self.redact.suspects(raw) else found

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(work, limiter=self.transport.decode_limiter)

    async def _send(self, request: Request, secrets: Mapping[str, str] | None) -> Answer:
        """Make the request; with `secrets`, it is authenticated."""
        try:
            url = self._url(request, own=secrets is not None)
        except ValueError:
            raise Malformed("the request cannot be made: is base_url right?") from None
        headers = {"Accept": "application/json", **dict(request.headers)}
        if secrets is not None:
            outgoing = Outgoing(method=request.method, url=str(url), body=request.body)
            signed = self.auth.headers(secrets, outgoing, self.clock.now())
            headers = {**headers, **self.headers, **signed, **self._own_headers()}
        await self.limiter.acquire()
        try:
            answer = await exchange(self.transport, url, headers, self.limits, method=request.method, body=request.body)
        except SourceError as error:
            self.count(request.operation, "timeout" if isinstance(error, TimedOut) else "error")
            raise
        self.count(request.operation, str(answer.status))
        return answer

    def _url(self, request: Request, *, own: bool) -> URL:
        whole = request.path.startswith(("https://", "http://"))
        url = URL(request.path if whole else self.base_url + request.path, encoded=True)
        params = list(request.params)
        if own:
            params += self.query.items()
            params += [(name, self._text(f"parameter {name}", secret)) for name, secret in self.own_query.items()]
        return url.with_query(params) if params else url

    async def _access(self, secrets: Mapping[str, str]) -> str | None:
        """The access token, renewed if necessary; None if none is needed. Raises SourceError."""
        token = self._token
        if self.clock.monotonic() < token.until:
            return token.text
        if (grant := self.auth.grant(secrets, self.clock.now())) is None:
            return None
        async with token.lock:
            if self.clock.monotonic() < token.until:
                return token.text
            fresh = await self.understood(await self._send(grant.request, None), grant.read)
            self.redact.add([fresh.text])
            token.text = fresh.text
            token.until = self.clock.monotonic() + max(fresh.seconds - _MARGIN, fresh.seconds / 2)
            return token.text

    def _secrets(self) -> Mapping[str, str]:
        return {name: self._secret(name) for name in self.auth.secrets}

    def _secret(self, name: str) -> str:
        if name == "credentials":  # a JSON document, of which one part is secret
            text = _read(self.secrets[name], name, printable=False)
            self.redact.add(line for line in text.replace("\\n", "\n").splitlines() if _KEY_LINE.fullmatch(line))
            return text
        return self._text(name, self.secrets[name])

    def _own_headers(self) -> Mapping[str, str]:
        if not self.own_headers and self.header_lines is None:
            return {}
        own = {name: self._text(f"header {name}", secret) for name, secret in self.own_headers.items()}
        if self.header_lines is None:
            return own
        found = header_lines(_read(self.header_lines, "file of headers", printable=False))
        self.redact.add(value for name, value in found.items() if is_secret(name, value))
        return {**own, **found}

    def _text(self, name: str, secret: Secret) -> str:
        return _read(secret, _SPOKEN.get(name, name), printable=True)

    def _waiting(self, secrets: Mapping[str, str]) -> str:
        """The key in `transport.waits` of this server with these credentials."""
        texts = tuple(secrets.values())
        if (waiting := self._waiters.get(texts)) is None:
            identity = "\n".join(
                (str(URL(self.base_url).origin()), *(f"{name}={text}" for name, text in secrets.items()))
            )
            waiting = hashlib.sha256(identity.encode()).hexdigest()
            self._waiters.clear()
            self._waiters[texts] = waiting
        return waiting

    def _asked_wait(self, answer: Answer) -> float | None:
        """The seconds that the server asks to wait, up to an hour; None if it does not."""
        wait = retry_after(answer.headers, self.clock.now(), cap=math.inf)
        if wait is not None and wait > _LONGEST_WAIT:
            log.warning("retry_after.capped", org=self.org, asked=wait, waits=_LONGEST_WAIT)
            return _LONGEST_WAIT
        return wait


_WITH_BLANKS: Final = ("header ", "parameter ")
_KEY_LINE: Final = re.compile(r"[A-Za-z0-9+/=]{16,}")  # of a private key in PEM
_SPOKEN: Final = {"api_key": "API key", "admin_key": "admin key"}


def _read(secret: Secret, name: str, *, printable: bool) -> str:
    """The secret's text. Raises AuthFailed."""
    try:
        text = secret.read()
    except OSError as error:
        raise AuthFailed(f"the {name}'s file cannot be read: {error.strerror}") from None
    except ValueError:
        raise AuthFailed(f"the {name} is empty, or its file is not text") from None
    if printable and not (text.isascii() and text.isprintable() and (" " not in text or name.startswith(_WITH_BLANKS))):
        raise AuthFailed(f"the {name} contains invalid characters")
    return text


def header_lines(text: str) -> dict[str, str]:
    """Parse headers, one `Name: value` per line. Raises AuthFailed."""
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not (colon and name and value and line.isascii() and line.isprintable()) or " " in name:
            raise AuthFailed("the file of headers has a line that is not `Name: value`")
        found[name] = value
    return found


def _laborious(body: bytes) -> bool:
    """Whether parsing would block the event loop for too long, as with far more than 100 jobs."""
    return len(body) > 256 * 1024 or body.count(b"{") > 2_000


def scrubbed(value: T, redact: Redactor) -> T:
    """The value with all texts of the provider redacted; the same object if nothing changes."""
    return cast("T", _scrubbed(value, redact))


def _scrubbed(value: object, redact: Redactor) -> object:
    if isinstance(value, str):
        return value if isinstance(value, Enum) else redact(value)
    if isinstance(value, tuple):
        items = tuple(_scrubbed(item, redact) for item in value)
        return value if all(map(is_, items, value)) else items
    if isinstance(value, dict):
        return {redact(key): _scrubbed(item, redact) for key, item in value.items()} if value else value
    if isinstance(value, Request):  # cursors are sent to the server and never shown
        return value
    if is_dataclass(value) and not isinstance(value, type):
        olds = ((each.name, getattr(value, each.name)) for each in fields(value) if each.name not in _OURS)
        news = {name: new for name, old in olds if (new := _scrubbed(old, redact)) is not old}
        return replace(value, **news) if news else value
    return value
