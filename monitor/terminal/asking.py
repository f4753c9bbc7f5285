"""Asks the daemon over HTTP, within bounds: no redirects, no proxies of the environment, a deadline, a largest answer.

The standard library's client, in a worker thread: a command is there at once, where aiohttp alone takes half a second
to be imported.
"""

from __future__ import annotations

import http.client
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

import anyio
import msgspec

from monitor.domain.text import line
from monitor.terminal.answers import Delivery, Event, Job, JobFile, One, Page, Replayed, Requeued, Said
from monitor.terminal.background import in_background
from monitor.terminal.server import BadServer, Server

T = TypeVar("T", bound=Said)

_LARGEST: Final = 32 << 20
_PAGE: Final = 500  # as many as the API gives at once
_MOST_EVENTS: Final = 10 * _PAGE
_PATIENCE: Final = 120.0  # seconds: ten thousand envelopes are not enqueued in a moment
_REFUSALS: Final = frozenset({400, 401, 403, 404, 421})


class AskError(Exception):
    """There is no answer, or none that can be understood; another try may bring one. The text is safe to show."""


class Refused(AskError):
    """The daemon understood, and says no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """One daemon over HTTP. Every method raises AskError."""

    server: Server
    trusted: ssl.SSLContext | None
    timeout: float
    """Seconds for one answer, all of it."""

    async def jobs(self, *, org: str | None, status: str | None, most: int | None) -> AsyncIterator[tuple[Job, Any]]:
        """Jobs, newest first, each as a value and as the daemon said it; at most so many, or all."""
        wanted = {"org": org, "status": status}
        async for page, said in self._pages("/api/v1/jobs", wanted, Page[Job], most=most):
            for pair in zip(page.data, said["data"], strict=True):
                yield pair

    async def deliveries(self, *, state: str) -> AsyncIterator[tuple[Delivery, Any]]:
        """All envelopes in this state, newest first, each as a value and as the daemon said it."""
        async for page, said in self._pages("/api/v1/deliveries", {"state": state}, Page[Delivery], most=None):
            for pair in zip(page.data, said["data"], strict=True):
                yield pair

    async def job(self, org: str, job_id: str) -> tuple[JobFile, Any]:
        """One job and what became of it."""
        answer, said = await self.ask(_path(org, job_id), {}, One[JobFile])
        return answer.data, said["data"]

    async def events(self, org: str, job_id: str) -> tuple[list[Event], list[Any]]:
        """The stored events of a job, newest first, as values and as the daemon said them."""
        events: list[Event] = []
        originals: list[Any] = []
        path = f"{_path(org, job_id)}/events"
        async for page, said in self._pages(path, {}, Page[Event], most=_MOST_EVENTS):
            events += page.data
            originals += said["data"]
        return events, originals

    async def newest_events(self, org: str, job_id: str) -> list[Event]:
        """The newest hundred events of a job, newest first."""
        answer, _ = await self.ask(f"{_path(org, job_id)}/events", {"limit": "100"}, Page[Event])
        return answer.data

    async def requeue(self) -> Requeued:
        """Let all dead letters wait again."""
        answer, _ = await self._change("/-/requeue", {}, One[Requeued])
        return answer.data

    async def replay(self, *, since: str, notifier: str | None, dry_run: bool) -> tuple[Replayed, Any]:
        """Tell again what was observed within that duration, or say what that would be; also as the daemon said it."""
        wanted = {"since": since, "notifier": notifier, "dry_run": "true" if dry_run else None}
        answer, said = await self._change("/-/replay", wanted, One[Replayed])
        return answer.data, said["data"]

    async def _pages(
        self, path: str, wanted: Mapping[str, str | None], shape: type[Page[Any]], *, most: int | None
    ) -> AsyncIterator[tuple[Page[Any], Any]]:
        after: str | None = None
        count, seen = 0, set[str]()
        while True:
            limit = _PAGE if most is None else min(_PAGE, most - count)
            page, said = await self.ask(path, {**wanted, "limit": str(limit), "after": after}, shape)
            if len(page.data) > limit:
                raise AskError("the daemon says more than it was asked for")
            yield page, said
            count += len(page.data)
            after = page.next
            if after is None or (most is not None and count >= most):
                return
            if after in seen or not page.data:
                raise AskError("the daemon's pages lead nowhere")
            seen.add(after)

    async def ask(self, path: str, parameters: Mapping[str, str | None], shape: type[T]) -> tuple[T, Any]:
        """An answer as a value and as it was said."""
        return await self._said("GET", path, parameters, shape)

    async def _change(self, path: str, parameters: Mapping[str, str | None], shape: type[T]) -> tuple[T, Any]:
        """The answer to what changes something, which may take longer."""
        return await replace(self, timeout=max(self.timeout, _PATIENCE))._said("POST", path, parameters, shape)

    async def _said(
        self, method: str, path: str, parameters: Mapping[str, str | None], shape: type[T]
    ) -> tuple[T, Any]:
        given = {name: value for name, value in parameters.items() if value is not None}
        target = f"{self.server.prefix}{path}" + (f"?{urlencode(given, errors='surrogateescape')}" if given else "")
        status, body = await self._fetched(method, target)
        try:
            said = msgspec.json.decode(body)
            if status != http.HTTPStatus.OK:
                raise _refusal(status, said)
            return msgspec.convert(said, shape), said
        except (msgspec.MsgspecError, ValueError, RecursionError):
            if status != http.HTTPStatus.OK:
                raise _refusal(status, None) from None
            raise AskError("the answer is not that of a finetune-monitor") from None

    async def _fetched(self, method: str, target: str) -> tuple[int, bytes]:
        try:
            with anyio.fail_after(self.timeout):
                return await in_background(partial(self._fetch, method, target))
        except TimeoutError:
            raise AskError(f"no answer within {self.timeout:g} s") from None
        except ssl.SSLError as error:
            reason = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else error.reason
            raise AskError(f"no trust in the connection: {line(str(reason or 'TLS failed'), 200)}") from None
        except http.client.RemoteDisconnected:
            raise AskError("the connection was closed without an answer (http:// where it is https://?)") from None
        except http.client.HTTPException:
            raise AskError("the answer is no HTTP that can be understood") from None
        except OSError as error:
            raise AskError((error.strerror or type(error).__name__).lower()) from None
        except UnicodeError:
            raise AskError("the server's name cannot be looked up") from None

    def _fetch(self, method: str, target: str) -> tuple[int, bytes]:
        """Status and body; in a worker thread."""
        server = self.server
        connection = (
            http.client.HTTPConnection(server.host, server.port, timeout=self.timeout)
            if self.trusted is None
            else http.client.HTTPSConnection(server.host, server.port, timeout=self.timeout, context=self.trusted)
        )
        headers = {"Accept": "application/json", "Connection": "close", "User-Agent": "finetune-monitor"}
        if server.credentials is not None:
            pair = f"{server.credentials.user}:{server.credentials.password}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode(errors='surrogateescape')).decode()}"
        try:
            connection.request(method, target, headers=headers)
            with connection.getresponse() as response:
                body = response.read(_LARGEST + 1)
        finally:
            connection.close()
        if len(body) > _LARGEST:
            raise AskError(f"the answer is larger than {_LARGEST >> 20} MiB")
        return response.status, body


def daemon(server: Server, *, timeout: float = 10.0) -> Daemon:
    """The daemon behind an address; `timeout` is in seconds. Raises BadServer for authorities that are none."""
    trusted = None
    if server.secure:
        try:
            trusted = ssl.create_default_context(cafile=server.ca_file)
        except OSError as error:
            raise BadServer(f"{server.ca_file}: cannot be used: {error.strerror or 'no certificates in it'}") from None
    return Daemon(server=server, trusted=trusted, timeout=timeout)


def _path(org: str, job_id: str) -> str:
    return f"/api/v1/jobs/{_segment(org)}/{_segment(job_id)}"


def _segment(text: str) -> str:
    """Percent-encoded with its dots, so that nobody on the way takes `..` for a folder."""
    return quote(text, safe="", errors="surrogateescape").replace(".", "%2E")


def _refusal(status: int, said: Any) -> AskError:
    if 300 <= status < 400:
        return AskError("it sends us elsewhere: give the address where the daemon itself is")
    text = _message(said)
    if status == http.HTTPStatus.UNAUTHORIZED:
        text = "a name and a password are needed, or they are wrong"
    kind = Refused if status in _REFUSALS else AskError
    return kind(text or f"it answers with HTTP {status}")


def _message(said: Any) -> str | None:
    error = said.get("error") if isinstance(said, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return line(message, 300) if isinstance(message, str) else None
