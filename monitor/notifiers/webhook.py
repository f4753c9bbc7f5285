"""Standard Webhooks to any receiver: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final, Literal, TypeVar
from urllib.parse import quote

import aiohttp
from pydantic import Field, SecretStr, field_validator
from standardwebhooks.webhooks import Webhook

from monitor.domain.news import Message
from monitor.domain.retry_after import retry_after
from monitor.notifiers.base import Attempt, Failure, Receipt, SendError
from monitor.notifiers.outgoing import Answer, post
from monitor.notifiers.settings import SecretUrl, Settings, secret
from monitor.secret import Redactor, Secret

T = TypeVar("T")

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OURS: Final = ("webhook-", "content-", "transfer-encoding", "connection", "host", "expect", "upgrade", "te", "trailer")


class WebhookSettings(Settings):
    """Signed JSON to a URL of yours, in the format of Standard Webhooks."""

    required_secrets: ClassVar[tuple[str, ...]] = ("url",)

    type: Literal["webhook"]
    url: SecretUrl | None = None
    url_file: Path | None = None
    secret: SecretStr | tuple[SecretStr, ...] | None = None
    """Signs what is sent; with several, each signs, so that receivers can change from one to the next."""
    secret_file: Path | tuple[Path, ...] | None = None
    headers: Mapping[str, SecretStr] = Field(default_factory=dict)
    """Added to every request; the values are treated as secrets."""

    @field_validator("secret")
    @classmethod
    def _signs(cls, value: SecretStr | tuple[SecretStr, ...] | None) -> SecretStr | tuple[SecretStr, ...] | None:
        for one in _several(value):
            if key_problem(one.get_secret_value()):
                raise ValueError("a signing secret is base64 that is not empty, after an optional whsec_")
        return value

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, value: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for name, one in value.items():
            if not _TOKEN.fullmatch(name) or name.lower().startswith(_OURS):
                raise ValueError("a header's name is not allowed here")
            text = one.get_secret_value()
            if not text.isascii() or not text.isprintable():
                raise ValueError("a header's value is plain ASCII on one line")
        return value


@dataclass(slots=True, kw_only=True)
class WebhookNotifier:
    """One receiver. It knows the delivery key, so that sending again is safe."""

    name: str
    url: Secret
    keys: tuple[Secret, ...]
    headers: Mapping[str, Secret]
    session: aiohttp.ClientSession
    timeout: float
    lane: str
    min_gap: float = 0.0
    at_most_once_more: bool = False

    async def send(self, message: Message, attempt: Attempt) -> Receipt:
        """Deliver it. Raises SendError."""
        content = body(message)
        try:
            url = self.url.read()
            keys = [key.read() for key in self.keys]
            headers = {name: value.read() for name, value in self.headers.items()} | signed(content, attempt, keys)
        except (OSError, ValueError) as error:
            raise SendError(Failure.TRANSIENT, "secret", f"a secret cannot be read: {type(error).__name__}") from None
        answer = await post(self.session, url, body=content, headers=headers, timeout=self.timeout)
        refused = refusal(answer, attempt.at)
        if refused is not None:
            raise refused
        return Receipt()

    async def check(self) -> None:
        """Ask whether the receiver can be reached. Raises SendError.

        Whether it takes our signature cannot be asked without a message: an unsigned request may well be refused.
        """
        try:
            url = self.url.read()
            broken = any(key_problem(key.read()) for key in self.keys)
        except (OSError, ValueError) as error:
            raise SendError(Failure.TARGET, "secret", f"a secret cannot be read: {type(error).__name__}") from None
        if broken:
            raise SendError(Failure.TARGET, "secret", "a signing secret is empty or not base64")
        answer = await post(self.session, url, body=b"", headers={}, timeout=self.timeout, method="OPTIONS")
        if answer.status == 410:
            raise SendError(Failure.TARGET, "gone", "the receiver answers 410: it wants no more messages")


def build(
    settings: WebhookSettings, *, session: aiohttp.ClientSession, redactor: Redactor, timeout: float
) -> WebhookNotifier:
    """The receiver of some settings, of which one of `url` and `url_file` is given."""
    url = secret(settings.url, settings.url_file, redactor)
    if url is None:
        raise ValueError("url or url_file is needed")
    texts = tuple(Secret(one.get_secret_value(), redactor=redactor) for one in _several(settings.secret))
    files = tuple(Secret(path=path, redactor=redactor) for path in _several(settings.secret_file))
    return WebhookNotifier(
        name=settings.name,
        url=url,
        keys=texts + files,
        headers={name: Secret(one.get_secret_value(), redactor=redactor) for name, one in settings.headers.items()},
        session=session,
        timeout=timeout,
        lane=f"webhook:{settings.name}",
    )


def body(message: Message) -> bytes:
    """The request's body, the same at every attempt: `data` goes in as it is stored, never decoded and written anew."""
    at = message.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = f'{{"type":{json.dumps(message.type)},"timestamp":"{at}","data":{message.data}}}'
    return text.encode("utf-8", "replace")  # a lone surrogate has no UTF-8


def signed(content: bytes, attempt: Attempt, keys: list[str]) -> dict[str, str]:
    """The headers of one attempt; its time and signatures are fresh. Raises ValueError for a key that cannot sign."""
    at: datetime = attempt.at.astimezone(UTC).replace(microsecond=0)
    # A job's id comes from outside: what may not stand in a header is percent-encoded.
    key = quote(attempt.key, safe="!#$&'()*+,/:;=?@[]~", errors="replace")
    headers = {
        "webhook-id": key,
        "webhook-timestamp": str(int(at.timestamp())),
        "content-type": "application/json",
    }
    if any(map(key_problem, keys)):
        raise ValueError("a signing secret is empty or not base64")
    signatures = [Webhook(one).sign(key, at, content.decode()) for one in keys]
    return headers | ({"webhook-signature": " ".join(signatures)} if signatures else {})


def refusal(answer: Answer, now: datetime) -> SendError | None:
    """What an answer means, by its status alone; None is success. The body is the receiver's business."""
    status = answer.status
    wait = retry_after(answer.headers, now)
    text = f"the receiver answered {status}"
    if 200 <= status < 300:
        return None
    if status == 429 or (status == 503 and wait is not None):
        return SendError(Failure.RATE, "rate_limited", text, retry_after=wait)
    if status == 408 or status >= 500:
        return SendError(Failure.TRANSIENT, "server_error", text, retry_after=wait)
    if 300 <= status < 400:
        # A maintenance page goes away again; an address that has moved is for the operator to mend.
        return SendError(Failure.TRANSIENT, "redirect", f"{text}: redirects are not followed", retry_after=wait)
    return SendError(*_REFUSED.get(status, (Failure.OTHER, "other")), text)


_REFUSED: Final = {
    400: (Failure.MESSAGE, "message_refused"),
    413: (Failure.MESSAGE, "message_refused"),
    422: (Failure.MESSAGE, "message_refused"),
    401: (Failure.TARGET, "unauthorized"),
    403: (Failure.TARGET, "unauthorized"),
    404: (Failure.TARGET, "not_found"),
    410: (Failure.TARGET, "gone"),
}


def key_problem(text: str) -> bool:
    """Whether a signing secret cannot sign: `""` and `whsec_` would, with a key that everybody knows."""
    bare = text.removeprefix("whsec_").rstrip("=")
    try:
        return not binascii.a2b_base64(bare + "=" * (-len(bare) % 4), strict_mode=True)
    except (binascii.Error, ValueError):
        return True


def _several(value: T | tuple[T, ...] | None) -> tuple[T, ...]:
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)
