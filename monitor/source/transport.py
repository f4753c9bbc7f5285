"""One GET over HTTP: bounded in time and size, never redirected, its failures in words that are safe to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import anyio
from yarl import URL

from monitor import __version__
from monitor.providers.base import Malformed, SourceError, TimedOut, Unavailable
from monitor.source.connecting import Connector, Room
from monitor.source.inflate import ENCODINGS

_CHUNK: Final = 64 * 1024
_SMALL: Final = 256 * 1024  # bytes of an answer that are always had; a usual page is smaller
_FAILURES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (aiohttp.ClientSSLError, "no TLS connection"),
    (aiohttp.ClientConnectorDNSError, "the host name does not resolve"),
    (aiohttp.ClientConnectorError, "no connection"),
    (aiohttp.ServerDisconnectedError, "the connection broke before an answer"),
    (aiohttp.ClientOSError, "the connection broke before an answer"),
    (aiohttp.ClientPayloadError, "the answer broke off"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one organisation's answers may cost."""

    timeout: float = 30.0
    """Seconds for one request, from connecting to the last byte."""
    max_bytes: int = 8 * 1024 * 1024
    """Of one answer, as sent and as inflated."""
    max_pages: int = 200
    """Of the job list in one look."""
    max_event_pages: int = 50
    """Of one job's event stream in one look."""
    concurrency: int = 4
    """Requests in flight for jobs and event streams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer as it came, still compressed."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case; the values of a repeated one are joined by commas."""
    body: bytes = b""

    @property
    def encoding(self) -> str:
        """How the body is compressed; empty when it is not."""
        return self.headers.get("content-encoding", "")

    def same(self, other: Answer) -> bool:
        """Whether it says the same, byte for byte."""
        return (self.status, self.encoding, self.body) == (other.status, other.encoding, other.body)


def session(*, proxy: str | None = None) -> aiohttp.ClientSession:
    """The one session of the program. It takes nothing from the environment and keeps nothing of any server.

    To be made inside the event loop, and closed by who makes it.
    """
    return aiohttp.ClientSession(
        connector=Connector(),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"finetune-monitor/{__version__}", "Accept-Encoding": ENCODINGS},
        timeout=aiohttp.ClientTimeout(total=None),  # every request has its own deadline
        trust_env=False,
        auto_decompress=False,
        proxy=proxy,
    )


async def get(http: aiohttp.ClientSession, url: URL, headers: Mapping[str, str], limits: Limits) -> Answer:
    """One answer to its end. Raises SourceError.

    A connection that turns out to be dead is replaced once; aiohttp does that for every GET.
    """
    try:
        with anyio.fail_after(limits.timeout):
            async with http.get(url, headers=headers, allow_redirects=False) as response:
                body = await _body(response, limits.max_bytes, room(http))
                return Answer(status=response.status, headers=_lower(response.headers), body=body)
    except TimeoutError:
        raise TimedOut(f"no complete answer within {limits.timeout:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _failure(error) from None


def room(http: aiohttp.ClientSession) -> Room:
    """What all answers of the session share."""
    return http.connector.room if isinstance(http.connector, Connector) else Room()


async def _body(response: aiohttp.ClientResponse, limit: int, shared: Room) -> bytes:
    if (response.content_length or 0) > limit:
        raise Malformed(f"the answer is larger than {limit} bytes")
    body, taken = bytearray(), 0
    try:
        async for chunk in response.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > limit:
                raise Malformed(f"the answer is larger than {limit} bytes")
            more = max(len(body) - _SMALL, 0) - taken
            if more > shared.left:
                raise Unavailable("too many large answers come at the same time")
            shared.left -= more
            taken += more
        return bytes(body)
    finally:
        shared.left += taken
        body.clear()  # an error's traceback may hold this frame until the next collection of garbage


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers.items():
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _failure(error: Exception) -> SourceError:
    """What went wrong, without the error's own text: that may hold headers and addresses."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = getattr(error.certificate_error, "verify_message", "")
        return Unavailable(f"the certificate is refused: {why}"[:200])
    if isinstance(error, aiohttp.ClientResponseError):
        return Malformed("the answer is not sound HTTP")
    if not isinstance(error, (aiohttp.ClientError, OSError)):
        return Malformed("the request cannot be made: is base_url right?")
    said = (words for kind, words in _FAILURES if isinstance(error, kind))
    return Unavailable(next(said, f"the request failed: {type(error).__name__}"))
