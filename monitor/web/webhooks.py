"""Receives providers' webhooks: `POST /webhooks/{org}`, authenticated by their signature alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import anyio
from aiohttp import hdrs, web

from monitor.clock import Clock
from monitor.log import get_logger
from monitor.providers.base import Hint, Push, PushRefused
from monitor.secret import Secret
from monitor.store import HintStore, StoreError
from monitor.web.guard import UNGUARDED, refusal

log = get_logger()

LARGEST: Final = 256 * 1024
"""The largest body in bytes; OpenAI's have 200."""
_SMALL: Final = 16 * 1024
_LARGE_BODIES: Final = 32  # bodies larger than _SMALL that are read at once, which bounds the memory
# Seconds for the body and the commit. OpenAI and Azure give up after ten in all, with those for the head.
_DEADLINE: Final = 8.0
_SIGNED: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")
_STATUS: Final = {"bad_signature": 401, "stale": 401}


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """The receiver of one organisation's webhooks."""

    push: Push
    secrets: tuple[Secret, ...]

    def verify(self, headers: Mapping[str, str], body: bytes, clock: Clock) -> Hint:
        """Verify a webhook. Raises PushRefused, and StoreError if no signing secret can be read."""
        texts = tuple(filter(None, map(_text, self.secrets)))
        if not texts:
            raise StoreError("the signing secrets cannot be read")
        return self.push.verify(headers, body, texts, clock.now())


def _text(secret: Secret) -> str | None:
    try:
        return secret.read()
    except (OSError, ValueError):  # one of several files is being replaced
        return None


class _Refused(Exception):
    """The request is answered with this status before its signature is checked."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """The handler of webhooks. One is acknowledged once it is stored; the job itself is then polled."""

    receivers: Callable[[], Mapping[str, Receiver]]
    """The receivers by organisation; called for each request, so that a reload takes effect at once."""
    hints: HintStore
    clock: Clock
    count: Callable[[str, str], None] = lambda org, result: None
    """Counts a webhook of an organisation by its result."""
    large: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_LARGE_BODIES))

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the endpoint to the router."""
        router.add_post("/webhooks/{org}", self.receive, name=UNGUARDED)

    async def receive(self, request: web.Request) -> web.Response:
        """POST /webhooks/{org}. Refused webhooks are not logged, since anybody can send as many as they like."""
        org = request.match_info["org"]
        receiver = self.receivers().get(org)
        if receiver is None:
            return refusal(request.path, 404, "no organisation of this name has a webhook_secret")
        try:
            with anyio.fail_after(_DEADLINE):
                return await self._receive(org, receiver, request)
        except TimeoutError:
            return self._refused(request, 408, "the request was not complete in time")
        except (web.RequestPayloadError, ConnectionError):
            return self._refused(request, 400, "the body does not match its headers")
        except _Refused as error:
            return self._refused(request, error.status, str(error))
        except PushRefused as error:
            self.count(org, error.result)
            return refusal(request.path, _STATUS.get(error.result, 400), str(error))

    async def _receive(self, org: str, receiver: Receiver, request: web.Request) -> web.Response:
        body = await self._body(request)
        hint = receiver.verify(_headers(request), body, self.clock)
        result = "ignored"
        if hint.job is not None:
            fresh = await self.hints.accept(org, hint.id, hint.job, self.clock.now())
            result = "accepted" if fresh else "duplicate"
            log.info("webhook.received", org=org, job=hint.job, result=result)
        self.count(org, result)
        return web.Response(text=f"{result}\n", status=202)

    def _refused(self, request: web.Request, status: int, text: str) -> web.Response:
        """Refuse a request and close its connection, since the rest of the body may still come."""
        self.count(request.match_info["org"], "malformed")
        answer = refusal(request.path, status, text)
        answer.force_close()
        return answer

    async def _body(self, request: web.Request) -> bytes:
        """The body as it was signed. Raises _Refused where it is compressed or too large."""
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
            raise _Refused(415, "the body must not be compressed")
        if (request.content_length or 0) > LARGEST:
            raise _Refused(413, f"the body is larger than {LARGEST} bytes")
        body = await _read(request, bytearray(), _SMALL)
        if len(body) <= _SMALL:
            return bytes(body)
        async with self.large:
            body = await _read(request, body, LARGEST)
        if len(body) > LARGEST:
            raise _Refused(413, f"the body is larger than {LARGEST} bytes")
        return bytes(body)


async def _read(request: web.Request, body: bytearray, most: int) -> bytearray:
    """Read until the end of the body, or until it has more than `most` bytes."""
    while len(body) <= most and (part := await request.content.readany()):
        body += part
    return body


def _headers(request: web.Request) -> dict[str, str]:
    """The headers of the signature. One that occurs twice is left out."""
    given = {name: request.headers.getall(name, []) for name in _SIGNED}
    return {name: texts[0] for name, texts in given.items() if len(texts) == 1}
