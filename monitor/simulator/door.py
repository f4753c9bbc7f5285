"""The way in: who is calling, how fast, and how errors and headers look on the way out."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from monitor.simulator import errors
from monitor.simulator.clock import monotonic
from monitor.simulator.errors import ApiError
from monitor.simulator.orgs import Caller, Org, admin_keyring, keyring, recognise

Answer = Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]
Plain = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CALLER = web.RequestKey("caller", Caller)
_LIMITS = web.RequestKey("limits", dict[str, str])
_ARRIVED = web.RequestKey("arrived", float)
_UNLIMITED = 10_000


@dataclass
class Bucket:
    """The requests an organisation has left; refilled all the time, never above one second's worth (at least one)."""

    rate: float
    left: float
    at: float

    def take(self, now: float) -> float:
        """Take one request; the seconds to wait if there is none."""
        self.left = min(max(1.0, self.rate), self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left < 1.0:
            return (1.0 - self.left) / self.rate
        self.left -= 1.0
        return 0.0


@dataclass(frozen=True)
class Door:
    """Lets callers in by their keys, as fast as `requests_per_second` of each organisation allows."""

    orgs: tuple[Org, ...]
    requests_per_second: float | None
    buckets: dict[str, Bucket] = field(default_factory=dict)

    def guard(self, answer: Answer) -> Plain:
        """`answer` as aiohttp wants it, for callers with a key."""
        keys = keyring(self.orgs)

        async def guarded(request: web.Request) -> web.StreamResponse:
            caller = recognise(keys, request.headers)
            request[_CALLER] = caller
            request[_LIMITS] = self._admit(caller.org)
            return await answer(request, caller)

        return guarded

    def guard_books(self, answer: Answer, scope: str) -> Plain:
        """The same for callers with an admin key; an ordinary one lacks `scope`."""
        keys, admins = keyring(self.orgs), admin_keyring(self.orgs)

        async def guarded(request: web.Request) -> web.StreamResponse:
            caller = recognise(keys | admins, request.headers)
            request[_CALLER] = caller
            request[_LIMITS] = self._admit(caller.org)
            if request.headers["Authorization"].partition(" ")[2].strip() not in admins:
                raise errors.not_permitted(scope)
            return await answer(request, caller)

        return guarded

    def _admit(self, org: Org) -> dict[str, str]:
        """The headers that tell what is left; raises ApiError 429."""
        rate = self.requests_per_second
        if rate is None:
            return _limits(_UNLIMITED, _UNLIMITED - 1, "6ms")
        now = monotonic()
        bucket = self.buckets.setdefault(org.id, Bucket(rate, max(1.0, rate), now))
        wait = bucket.take(now)
        if wait:
            refused = errors.too_fast(org.id, rate=rate, wait=wait)
            refused.headers = {**refused.headers, **_limits(int(max(1.0, rate)), 0, f"{wait:.3f}s")}
            raise refused
        return _limits(int(max(1.0, rate)), int(bucket.left), f"{1 / rate:.3f}s")


def _limits(limit: int, left: int, reset: str) -> dict[str, str]:
    return {
        "x-ratelimit-limit-requests": str(limit),
        "x-ratelimit-remaining-requests": str(left),
        "x-ratelimit-reset-requests": reset,
    }


@web.middleware
async def envelopes(request: web.Request, handler: Plain) -> web.StreamResponse:
    """Errors as the API sends them, also for URLs and methods that it does not have."""
    request[_ARRIVED] = monotonic()
    try:
        return await handler(request)
    except ApiError as error:
        refused = error
    except web.HTTPNotFound:
        refused = errors.unknown_url(request.method, request.path)
    except web.HTTPMethodNotAllowed:
        refused = errors.wrong_method(request.method, request.path)
    except web.HTTPRequestEntityTooLarge:
        refused = ApiError(413, "The request body is too large.")
    return web.json_response(refused.envelope(), status=refused.status, headers=refused.headers)


async def sign(request: web.Request, response: web.StreamResponse) -> None:
    """The headers that every answer carries."""
    arrived = request.get(_ARRIVED)
    response.headers["x-request-id"] = f"req_{secrets.token_hex(16)}"
    response.headers["openai-version"] = "2020-10-01"
    response.headers["openai-processing-ms"] = str(0 if arrived is None else round((monotonic() - arrived) * 1000))
    caller = request.get(_CALLER)
    if caller is not None:
        response.headers["openai-organization"] = caller.org.name
        response.headers["openai-project"] = caller.project.id
    for name, value in request.get(_LIMITS, {}).items():
        response.headers.setdefault(name, value)


async def read_json(request: web.Request) -> Mapping[str, Any]:
    """The body as a JSON object; raises ApiError 400."""
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        raise errors.unreadable_body() from None
    if not isinstance(body, dict):
        raise errors.unreadable_body()
    return body
