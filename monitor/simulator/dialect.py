"""What a provider's API is to the server: routes that turn a question into JSON, who is let in, and how refusals look.

A dialect only thinks: it reads the simulation as of one moment. `server` moves the bytes.
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
class Asked:
    """One question, from a caller who was let in."""

    simulation: Simulation
    caller: Caller
    now: float
    """The simulated moment as of which it is answered."""
    place: Mapping[str, str]
    """What the route's pattern found in the path."""
    query: MultiMapping[str]
    content: bytes = field(default=b"", repr=False)
    host: str = ""
    """Where the client reached the server, such as `http://127.0.0.1:10878`."""

    @property
    def org(self) -> Org:
        """The caller's organisation."""
        return self.caller.org

    def body(self) -> dict[str, Any]:
        """The content as a JSON object; raises ApiError 400."""
        return errors.json_object(self.content)


Answer = Callable[[Asked], Any]
Issue = Callable[[Mapping[str, str], Sequence[Org]], Any]


@dataclass(frozen=True)
class Route:
    """A path below the dialect's prefix; `scope` is what only an admin key may read."""

    method: str
    path: str
    answer: Answer
    scope: str | None = None


@dataclass(frozen=True)
class Stream:
    """A path whose question or answer is more than one JSON value."""

    method: str
    path: str
    answer: Callable[[web.Request, Simulation, Caller], Awaitable[web.StreamResponse]]
    scope: None = None


@dataclass(frozen=True)
class Sent:
    """What of a request proves who sent it."""

    method: str
    path: str
    query: str
    """As sent, still encoded; so is the path."""
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Dialect:
    """One provider's API."""

    provider: str
    prefix: str
    routes: tuple[Route | Stream, ...]
    recognise: Callable[[Sequence[Org], Sent, bool], Caller]
    """Whose credentials a request carries, admin keys included if the last argument says so; raises ApiError 401."""
    refuse: Callable[[ApiError], tuple[Any, Mapping[str, str]]]
    """The JSON and the headers of a refusal."""
    configuration: Callable[[Org, str, Path], dict[str, Any]]
    """What the organisation's entry in a client's configuration has beside name and provider.

    It takes the server's address, and a folder for credentials that clients read from a file.
    """
    tokens: tuple[tuple[str, Issue], ...] = ()
    """Paths below the prefix where tokens are issued for the form that is posted there, and by what."""


def bearer(orgs: Mapping[str, Caller], sent: Sent, *, also: str | None = None) -> Caller:
    """The caller whose key comes as a bearer token, or in the header `also`; raises ApiError 401."""
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
    """The moment as ISO 8601 in UTC, with so many digits of a second."""
    whole, part = divmod(at, 1)
    fraction = f"{int(part * 10**digits):0{digits}d}"
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{fraction}Z"


def by_key(orgs: Sequence[Org], sent: Sent, _admin: bool) -> Caller:
    """The caller whose key comes as a bearer token; raises ApiError 401."""
    return bearer(keyring(orgs), sent)


def token_page(
    items: Sequence[T], asked: Asked, *, size: str, after: str, most: int, default: int
) -> tuple[Sequence[T], str | None]:
    """A page of the lists that continue with a token; raises ApiError 400 for a size or a token that is none.

    A size above `most` is taken for `most`. The token hides the number of the first item that is left.
    """
    wanted, at = asked.query.get(size, str(default)), asked.query.get(after) or "0"
    try:
        count, start = min(int(wanted), most), int(at.removeprefix("p"), 16)
    except ValueError:
        raise errors.bad(None, f"Invalid {size} or {after}.") from None
    if count < 0 or not 0 <= start <= len(items):
        raise errors.bad(None, f"Invalid {size} or {after}.")
    end = start + (count or default)
    return items[start:end], f"p{end:08x}" if end < len(items) else None
