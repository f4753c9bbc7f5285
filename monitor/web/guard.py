"""Middlewares for all responses: security headers, the check of the Host header, and errors that disclose nothing."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from monitor.log import get_logger
from monitor.store import BadCursor, StoreError, Unstorable
from monitor.web.query import InvalidQuery, NoSuchObject

log = get_logger()

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "finetune-monitor",
}

# Domains that nobody can register in public DNS: RFC 6762, RFC 6761, RFC 8375, ICANN's reservation of .internal, and
# Kubernetes' `service.namespace.svc`, since `svc` is not a top-level domain.
_PRIVATE: Final = (".localhost", ".local", ".internal", ".home.arpa", ".svc")

_ONLY_POST: Final = "this address accepts only POST"

UNGUARDED: Final = "unguarded"
"""The name of the routes that require neither a known Host nor a password, because their requests are signed."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_UNKNOWN_HOST: Final = "this Host is not allowed: use an IP address, or add the name to server.hosts"
_JSON: Final = ("/api/", "/-/requeue", "/-/replay")
_ALLOW: Final = "Allow"
_STATUS: Final[Mapping[type[Exception], int]] = {
    InvalidQuery: 400,
    BadCursor: 400,
    Unstorable: 400,
    NoSuchObject: 404,
    StoreError: 503,
}
_TEXTS: Final = {404: "there is nothing at this address", 405: "this address accepts only GET and HEAD"}


def harden(
    given: Callable[[], Mapping[str, str]] = dict,
) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """A signal that adds our security headers where a response lacks them, and then the operator's.

    As a signal and not a middleware, it covers aiohttp's own error responses too.
    """

    async def set_headers(_request: web.Request, response: web.StreamResponse) -> None:
        missing = {name: value for name, value in HEADERS.items() if name not in response.headers}
        response.headers.update({"Server": HEADERS["Server"], **missing, **given()})

    return set_headers


def known_host(host: str, allowed: frozenset[str]) -> bool:
    """Whether a request with this Host header is accepted, as a protection against DNS rebinding.

    A page of another site can make a browser send requests here by pointing its own name at our address; the browser
    then sends that name as Host. So Host must be something that a stranger cannot own: an IP address, a name of one
    label (`localhost`, a container, a service), a name under a private or reserved domain (`.local`, `.internal`,
    `.svc`, …), or a name that the operator allows. Prometheus in Docker and Kubernetes uses one of these. A proxy with
    a public name needs that name allowed, or has to pass its own name on.
    """
    name = _name(host)
    if name is None:
        return False
    if name in allowed or "." not in name or name.endswith(_PRIVATE):
        return True
    return _is_address(name)


def _name(host: str) -> str | None:
    """The host without its port, in lower case; None if it is malformed."""
    if host.startswith("["):
        address, bracket, rest = host[1:].partition("]")
        good = bool(bracket) and (not rest or (rest[0] == ":" and rest[1:].isdigit()))
        return address if good and _is_address(address) else None
    name, _, port = host.partition(":")
    if port and not port.isdigit():
        return None
    return name.lower().removesuffix(".") or None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def unguarded(request: web.Request) -> bool:
    """Whether the request's route requires neither a known Host nor a password."""
    return request.match_info.route.name == UNGUARDED


def guarded(hosts: frozenset[str]) -> Middleware:
    """The middleware that checks the Host header."""
    allowed = frozenset(host.lower().removesuffix(".") for host in hosts)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.getall("Host", [])
        if unguarded(request):
            return await handler(request)
        if len(given) > 1 or not all(known_host(host, allowed) for host in given):
            return refusal(request.path, 403, _UNKNOWN_HOST)
        return await handler(request)

    return guard


@web.middleware
async def shaped(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The middleware that turns exceptions into error responses, in JSON or text depending on the path."""
    try:
        return await handler(request)
    except tuple(_STATUS) as error:
        status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
        return refusal(request.path, status, str(error))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _http_error(request.path, error)
    except Exception as error:
        if request.writer.output_size > 0:
            raise  # a response has begun: aiohttp logs the error and closes the connection
        log.error("web.failed", method=request.method, path=request.path, exc_info=error)
        return refusal(request.path, 500, "something went wrong here; the log says what")


def _http_error(path: str, error: web.HTTPException) -> web.Response:
    allowed = error.headers.get(_ALLOW)
    text = _ONLY_POST if allowed == "POST" else _TEXTS.get(error.status, error.reason.lower())
    answer = refusal(path, error.status, text)
    if allowed is not None:
        answer.headers[_ALLOW] = allowed
    return answer


def refusal(path: str, status: int, message: str) -> web.Response:
    """An error response: JSON where the path answers in JSON, one line of text elsewhere."""
    if path.startswith(_JSON):
        body = msgspec.json.encode({"error": {"message": message}})
        return web.Response(body=body, status=status, content_type="application/json")
    return web.Response(text=f"{message}\n", status=status)
