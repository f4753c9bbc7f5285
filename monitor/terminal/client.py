"""The HTTP client of the daemon's API: no redirects, no proxies, a deadline, and a largest answer.

It uses the standard library's client, because importing aiohttp alone takes half a second.
"""

from __future__ import annotations

import http.client
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, Generic, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import click
import msgspec

from monitor.domain.text import line
from monitor.terminal.access import URL, Access, BadServer, Server, server
from monitor.terminal.answers import Answer, Page, Single

T = TypeVar("T")
A = TypeVar("A", bound=Answer)
Parameters = Mapping[str, str | None]
Json = dict[str, Any]

_LARGEST: Final = 32 << 20
_PAGE: Final = 500  # the largest page of the API
_PATIENCE: Final = 120.0  # seconds for a POST: enqueueing ten thousand deliveries takes a while
NOBODY_LISTENS: Final = f"Is the daemon running? --server or {URL} names another address."
_REFUSALS: Final = frozenset({400, 401, 403, 404, 421})


class AskError(click.ClickException):
    """The daemon did not answer, or not as expected; a retry may succeed. The text is safe to show."""

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def format_message(self) -> str:
        """The text, and what to do about it where that is known."""
        return f"{self.message}. {self.hint}" if self.hint else self.message


class Refused(AskError):
    """The daemon refuses the request."""


class Item(NamedTuple, Generic[A]):
    """An object of an answer, as a value and as the daemon's JSON."""

    value: A
    raw: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """The API of one daemon. Every method raises AskError."""

    server: Server
    tls: ssl.SSLContext | None
    timeout: float
    """Seconds for one whole answer."""

    def get(self, path: str, shape: type[A], parameters: Parameters | None = None) -> Item[A]:
        """GET a single object."""
        raw = self._ask("GET", path, parameters or {}, Single).data
        return Item(self._converted(raw, shape), raw)

    def post(self, path: str, shape: type[A], parameters: Parameters | None = None) -> Item[A]:
        """POST and return the single object of the answer. The timeout is longer than that of `get`."""
        raw = self._ask("POST", path, parameters or {}, Single).data
        return Item(self._converted(raw, shape), raw)

    def list(self, path: str, shape: type[A], parameters: Parameters | None = None) -> list[Item[A]]:
        """GET a list without pages, or its first page."""
        page = self._ask("GET", path, parameters or {}, Page)
        return [Item(self._converted(raw, shape), raw) for raw in page.data]

    def pages(
        self, path: str, shape: type[A], parameters: Parameters | None = None, *, most: int | None = None
    ) -> Iterator[Item[A]]:
        """GET the pages of a list as they are needed, newest first, and yield at most `most` objects."""
        after: str | None = None
        count, seen = 0, set[str]()
        while True:
            limit = _PAGE if most is None else min(_PAGE, most - count)
            page = self._ask("GET", path, {**(parameters or {}), "limit": str(limit), "after": after}, Page)
            if len(page.data) > limit:
                raise self._error("the daemon returned more than it was asked for")
            yield from [Item(self._converted(raw, shape), raw) for raw in page.data]
            count += len(page.data)
            after = page.next
            if after is None or (most is not None and count >= most):
                return
            if after in seen or not page.data:
                raise self._error("the daemon's list has no end")
            seen.add(after)

    def reload(self) -> Sequence[str]:
        """Make the daemon reload its configuration. Returns the problems; empty after a success."""
        status, body = self._send("POST", "/-/reload")
        lines = body.decode(errors="replace").splitlines()
        if status == HTTPStatus.INTERNAL_SERVER_ERROR and len(lines) > 1:  # a sentence, and the problems
            return [line(text, 1000) for text in lines[1:]]
        if status != HTTPStatus.OK:
            raise self._refusal(
                status, _message(body) or (line(lines[0], 300) if status in _REFUSALS and lines else None)
            )
        return []

    def _ask(self, method: str, path: str, parameters: Parameters, shape: type[A]) -> A:
        given = {name: value for name, value in parameters.items() if value is not None}
        query = f"?{urlencode(given, errors='surrogateescape')}" if given else ""
        status, body = self._send(method, f"{path}{query}")
        if status != HTTPStatus.OK:
            raise self._refusal(status, _message(body))
        return self._decoded(lambda: msgspec.json.decode(body, type=shape))

    def _converted(self, raw: Json, shape: type[A]) -> A:
        return self._decoded(lambda: msgspec.convert(raw, shape))

    def _decoded(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise self._error("the answer does not come from a finetune-monitor") from None

    def _send(self, method: str, target: str) -> tuple[int, bytes]:
        """Send a request within the timeout and return the status and the body."""
        timeout = self.timeout if method == "GET" else max(self.timeout, _PATIENCE)
        try:
            return _within(timeout, partial(self._exchange, method, f"{self.server.prefix}{target}", timeout))
        except TimeoutError:
            raise self._error(f"no answer within {timeout:g} s") from None
        except ssl.SSLError as error:
            reason = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else error.reason
            raise self._error(f"the connection is not trusted: {line(str(reason or 'TLS failed'), 200)}") from None
        except http.client.RemoteDisconnected:
            raise self._error("the connection was closed without an answer (http:// instead of https://?)") from None
        except http.client.HTTPException:
            raise self._error("the answer is not HTTP") from None
        except OSError as error:
            hint = NOBODY_LISTENS if isinstance(error, ConnectionRefusedError) else ""
            raise self._error((error.strerror or type(error).__name__).lower(), hint=hint) from None
        except UnicodeError:
            raise self._error("the server's host name is not valid") from None

    def _exchange(self, method: str, target: str, timeout: float) -> tuple[int, bytes]:
        """Send one request. Called in a thread."""
        where = self.server
        connection = (
            http.client.HTTPConnection(where.host, where.port, timeout=timeout)
            if self.tls is None
            else http.client.HTTPSConnection(where.host, where.port, timeout=timeout, context=self.tls)
        )
        headers = {"Accept": "application/json", "Connection": "close", "User-Agent": "finetune-monitor"}
        if where.credentials is not None:
            pair = f"{where.credentials.user}:{where.credentials.password}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode(errors='surrogateescape')).decode()}"
        try:
            connection.request(method, target, headers=headers)
            with connection.getresponse() as response:
                body = response.read(_LARGEST + 1)
        finally:
            connection.close()
        if len(body) > _LARGEST:
            raise self._error(f"the answer is larger than {_LARGEST >> 20} MiB")
        return response.status, body

    def _refusal(self, status: int, text: str | None) -> AskError:
        if 300 <= status < 400:
            return self._error("the answer is a redirect: give the address of the daemon itself")
        if status == HTTPStatus.UNAUTHORIZED:
            text = "a user name and a password are required, or the given ones are wrong"
        kind = Refused if status in _REFUSALS else AskError
        return self._error(text or f"HTTP {status}", kind)

    def _error(self, text: str, kind: type[AskError] = AskError, *, hint: str = "") -> AskError:
        return kind(f"{self.server.address}: {text}", hint)


def connect(access: Access, environ: Mapping[str, str], *, timeout: float = 10.0) -> Daemon:
    """The client of the daemon that the options name; `timeout` is in seconds. Raises BadServer."""
    found = server(access, environ)
    if not found.secure:
        return Daemon(server=found, tls=None, timeout=timeout)
    try:
        return Daemon(server=found, tls=ssl.create_default_context(cafile=found.ca_file), timeout=timeout)
    except OSError as error:
        raise BadServer(f"{found.ca_file}: cannot be used: {error.strerror or 'no certificates in it'}") from None


def job_path(org: str, job_id: str) -> str:
    """The API's path of a job. Dots are encoded too, so that no proxy takes `..` for a parent folder."""
    encoded = [quote(part, safe="", errors="surrogateescape").replace(".", "%2E") for part in (org, job_id)]
    return "/api/v1/jobs/" + "/".join(encoded)


def _within(seconds: float, call: Callable[[], T]) -> T:
    """The result of a call. Raises what the call raises, and TimeoutError when it takes longer.

    A socket's timeout is for each read only. After the deadline or Ctrl-C the thread is left behind; it ends with the
    process.
    """
    outcomes: SimpleQueue[tuple[T] | Exception] = SimpleQueue()

    def run() -> None:
        try:
            outcomes.put((call(),))
        except Exception as error:  # noqa: BLE001 - raised below, where it is waited for
            outcomes.put(error)

    Thread(target=run, daemon=True).start()
    try:
        outcome = outcomes.get(timeout=seconds)
    except Empty:
        raise TimeoutError from None
    if isinstance(outcome, Exception):
        raise outcome
    return outcome[0]


def _message(body: bytes) -> str | None:
    """The message of an error of the API; None if the body is no such error."""
    try:
        message = msgspec.json.decode(body)["error"]["message"]
        return line(message, 300) if isinstance(message, str) else None
    except (msgspec.MsgspecError, ValueError, RecursionError, LookupError, TypeError):
        return None
