"""Any service that Apprise supports (https://appriseit.com/services/), by its URL. Needs the extra `apprise`.

Apprise makes its own requests. It uses proxies from the environment and does not check addresses, so it is not allowed
with `outbound.public_only`. It follows no redirects. It reports whether a message was accepted, but not why it was not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

import anyio
import anyio.to_thread
from pydantic import AfterValidator, SecretStr

from monitor.domain.news import Message, Severity
from monitor.notifiers.base import Attempt, FailureKind, Receipt, SendError
from monitor.notifiers.settings import ChannelSettings, Connections
from monitor.notifiers.text import cut, show
from monitor.secret import Secret

_TYPES: Final = {
    Severity.GOOD: "success",
    Severity.INFO: "info",
    Severity.WARNING: "warning",
    Severity.BAD: "failure",
}


def _service(url: str) -> Any:
    """Apprise's plugin for a URL. Raises ValueError, without the URL."""
    if find_spec("apprise") is None:
        raise ValueError("needs Apprise: install finetune-monitor[apprise]")
    import apprise  # noqa: PLC0415 - an extra, and slow to import

    asset = apprise.AppriseAsset(http_redirects=False)
    service = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if not service:
        raise ValueError("is not a URL that Apprise knows")
    return service


def _known(value: SecretStr) -> SecretStr:
    _service(value.get_secret_value())
    return value


class AppriseSettings(ChannelSettings):
    """Any service that Apprise supports."""

    required_secrets: ClassVar[tuple[str, ...]] = ("url",)

    type: Literal["apprise"]
    url: Annotated[SecretStr, AfterValidator(_known)] | None = None
    """An Apprise URL, such as `ntfys://ntfy.example.com/topic`; it contains the credentials."""
    url_file: Path | None = None

    def notifier(self, connections: Connections) -> AppriseNotifier:
        """A notifier that sends with Apprise."""
        (url,) = self.secrets(connections.redactor)["url"]
        return AppriseNotifier(name=self.name, url=url, timeout=connections.timeout, lane=f"apprise:{self.name}")


@dataclass(slots=True, kw_only=True)
class AppriseNotifier:
    """One service. Every failure is retried, because its reason is unknown."""

    name: str
    url: Secret
    timeout: float
    """Seconds to wait for Apprise, which has deadlines of its own."""
    lane: str
    min_gap: float = 1.0
    idempotent: bool = False
    one_at_a_time: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))

    def preview(self, message: Message, attempt: Attempt) -> str:
        """The title and the text, shortened to the limits of the service. Raises SendError."""
        service = self._open()
        return "\n".join(texts(message, attempt, title=service.title_maxlen, body=service.body_maxlen))

    async def send(self, message: Message, attempt: Attempt) -> Receipt:
        """Deliver the message, shortened to the limits of the service. Raises SendError."""
        service = await self._run(self._open)
        title, body = texts(message, attempt, title=service.title_maxlen, body=service.body_maxlen)
        notify = partial(service.notify, title=title, body=body, notify_type=_TYPES[message.severity])
        if not await self._run(partial(notify, body_format="text")):  # some results are falsy and not False
            raise SendError(FailureKind.TRANSIENT, "refused", "Apprise could not deliver it")
        return Receipt()

    async def check(self) -> None:
        """Check whether Apprise accepts the URL; nothing else can be checked without a message. Raises SendError."""
        await self._run(self._open)

    def _open(self) -> Any:
        try:
            return _service(self.url.read())
        except (OSError, ValueError) as error:
            raise SendError(FailureKind.TRANSIENT, "secret", f"the URL cannot be used: {error}") from None

    async def _run(self, call: Any) -> Any:
        with anyio.move_on_after(self.timeout):
            return await anyio.to_thread.run_sync(call, limiter=self.one_at_a_time, abandon_on_cancel=True)
        raise SendError(FailureKind.AMBIGUOUS, "answer_lost", "Apprise did not answer in time")


def texts(message: Message, attempt: Attempt, *, title: int, body: int) -> tuple[str, str]:
    """The title and the body, with at most so many characters. Without titles, the body contains everything."""
    shown = show(message, attempt)
    lines = [*shown.lines, *filter(None, (shown.link,))]
    if title <= 0:
        return "", cut("\n".join(lines), body)
    return cut(shown.title, title), cut("\n".join(lines[1:]) or shown.id or "…", body)
