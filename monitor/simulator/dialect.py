"""What distinguishes a provider's API: its routes, its authentication, and its error responses.

A dialect only computes: it reads the simulation at one moment. `server` does the I/O.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web
from multidict import MultiMapping

from monitor.simulator import errors
from monitor.simulator.errors import ApiError
from monitor.simulator.orgs import Caller, Org, keyring
from monitor.simulator.simulation import Simulation

T = TypeVar("T")


@dataclass(frozen=True)
class ApiCall:
    """An authenticated call of the API."""

    simulation: Simulation
    caller: Caller
    now: float
    """The simulated time at which it is answered."""
    params: Mapping[str, str]
    """The parameters in the path."""
    query: MultiMapping[str]
    content: bytes = field(default=b"", repr=False)
    host: str = ""
    """The base address by which the client reached the server, such as `http://127.0.0.1:10878`."""

    @property
    def org(self) -> Org:
        """The caller's organisation."""
        return self.caller.org

    def body(self) -> dict[str, Any]:
        """The content as a JSON object. Raises ApiError 400."""
        return errors.json_object(self.content)


Answer = Callable[[ApiCall], Any]
Issue = Callable[[Mapping[str, str], Sequence[Org]], Any]


@dataclass(frozen=True)
class Route:
    """A path below the dialect's prefix. `scope` is the permission that only admin keys have."""

    method: str
    path: str
    answer: Answer
    scope: str | None = None


@dataclass(frozen=True)
class Stream:
    """A path whose request or response is not a single JSON value."""

    method: str
    path: str
    answer: Callable[[web.Request, Simulation, Caller], Awaitable[web.StreamResponse]]
    scope: None = None


@dataclass(frozen=True)
class Sent:
    """The parts of a request that authenticate it."""

    method: str
    path: str
    query: str
    """Percent-encoded as it was sent, like the path."""
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Dialect:
    """The API of one provider."""

    provider: str
    prefix: str
    routes: tuple[Route | Stream, ...]
    authenticate: Callable[[Sequence[Org], Sent, bool], Caller]
    """Authenticate a request; admin keys are accepted if the last argument is true. Raises ApiError 401."""
    error_response: Callable[[ApiError], tuple[Any, Mapping[str, str]]]
    """The JSON body and the headers of an error response."""
    configuration: Callable[[Org, str, Path], dict[str, Any]]
    """The organisation's entry in a client's configuration, without name and provider.

    Takes the server's address, and a folder for credentials that clients read from files.
    """
    tokens: tuple[tuple[str, Issue], ...] = ()
    """The paths below the prefix where tokens are issued, with the functions that issue them for a posted form."""


def bearer(orgs: Mapping[str, Caller], sent: Sent, *, also: str | None = None) -> Caller:
    """Authenticate by a key as a bearer token, or in the header `also`. Raises ApiError 401."""
    scheme, _, key = sent.headers.get("Authorization", "").partition(" ")
    found = key.strip() if scheme.lower() == "bearer" else ""
    if also is not None:
        found = sent.headers.get(also, found).strip()
    if not found:
        raise errors.no_key()
    caller = orgs.get(found)
    if caller is None:
        raise errors.wrong_key(found)
    return caller


def rfc3339(at: float, digits: int) -> str:
    """The time as ISO 8601 in UTC with the given number of fractional digits."""
    whole, part = divmod(at, 1)
    fraction = f"{int(part * 10**digits):0{digits}d}"
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{fraction}Z"


def by_key(orgs: Sequence[Org], sent: Sent, _admin: bool) -> Caller:
    """Authenticate by a key as a bearer token. Raises ApiError 401."""
    return bearer(keyring(orgs), sent)


def token_page(
    items: Sequence[T], call: ApiCall, *, size: str, after: str, most: int, default: int
) -> tuple[Sequence[T], str | None]:
    """A page of a list with next-page tokens. Raises ApiError 400 for an invalid size or token.

    Sizes above `most` are reduced to it. The token encodes the index of the next item.
    """
    wanted, at = call.query.get(size, str(default)), call.query.get(after) or "0"
    try:
        count, start = min(int(wanted), most), int(at.removeprefix("p"), 16)
    except ValueError:
        raise errors.bad(None, f"Invalid {size} or {after}.") from None
    if count < 0 or not 0 <= start <= len(items):
        raise errors.bad(None, f"Invalid {size} or {after}.")
    end = start + (count or default)
    return items[start:end], f"p{end:08x}" if end < len(items) else None
