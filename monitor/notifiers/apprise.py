"""Any service that Apprise knows (https://appriseit.com/services/), by its URL. Needs the extra `apprise`.

Apprise makes its own requests: it takes proxies from the environment and checks no address, so that a configuration
with `outbound.public_only` may have none. Redirects are not followed. It says whether a message was taken, and not why.
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
    """Apprise's plugin for a URL. Raises ValueError, which does not show it."""
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
    """Any of the services that Apprise knows."""

    required_secrets: ClassVar[tuple[str, ...]] = ("url",)

    type: Literal["apprise"]
    url: Annotated[SecretStr, AfterValidator(_known)] | None = None
    """Apprise's own, such as `ntfys://ntfy.example.com/topic`; it holds the credentials."""
    url_file: Path | None = None

    def notifier(self, connections: Connections) -> AppriseNotifier:
        """The sender by Apprise."""
        (url,) = self.secrets(connections.redactor)["url"]
        return AppriseNotifier(name=self.name, url=url, timeout=connections.timeout, lane=f"apprise:{self.name}")


@dataclass(slots=True, kw_only=True)
class AppriseNotifier:
    """One service. What it says no to is tried again: nobody knows why it did."""

    name: str
    url: Secret
    timeout: float
    """Seconds to wait for Apprise, which has deadlines of its own."""
    lane: str
    min_gap: float = 1.0
    idempotent: bool = False
    one_at_a_time: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))

    def preview(self, message: Message, attempt: Attempt) -> str:
        """The title and the text, cut to what the service takes. Raises SendError."""
        service = self._open()
        return "\n".join(texts(message, attempt, title=service.title_maxlen, body=service.body_maxlen))

    async def send(self, message: Message, attempt: Attempt) -> Receipt:
        """Deliver it, cut to what the service takes. Raises SendError."""
        service = await self._run(self._open)
        title, body = texts(message, attempt, title=service.title_maxlen, body=service.body_maxlen)
        notify = partial(service.notify, title=title, body=body, notify_type=_TYPES[message.severity])
        if not await self._run(partial(notify, body_format="text")):  # some results are falsy and not False
            raise SendError(FailureKind.TRANSIENT, "refused", "Apprise could not deliver it")
        return Receipt()

    async def check(self) -> None:
        """Whether Apprise knows the URL; it cannot be asked more without a message. Raises SendError."""
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
    """The title and the body in so many characters; a service without titles takes all of it as the body."""
    shown = show(message, attempt)
    lines = [*shown.lines, *filter(None, (shown.link,))]
    if title <= 0:
        return "", cut("\n".join(lines), body)
    return cut(shown.title, title), cut("\n".join(lines[1:]) or shown.id or "…", body)
