"""Sends Standard Webhooks to any receiver: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import quote

from pydantic import AfterValidator, Field, SecretStr, field_validator
from standardwebhooks.webhooks import Webhook

from monitor.domain.news import Card, Message
from monitor.domain.signing import signing_key
from monitor.notifiers.base import Attempt, HttpAnswer, HttpRequest, Receipt, SendError, judge_status
from monitor.notifiers.settings import HttpSettings, SecretUrl

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_RESERVED: Final = (
    "webhook-",
    "content-",
    "transfer-encoding",
    "connection",
    "host",
    "expect",
    "upgrade",
    "te",
    "trailer",
)


_SHORTEST: Final = 16  # bytes of a signing key: fewer can be guessed


def _signing(value: SecretStr) -> SecretStr:
    signing_key(value.get_secret_value(), least=_SHORTEST)
    return value


SigningSecret = Annotated[SecretStr, AfterValidator(_signing)]


class WebhookSettings(HttpSettings):
    """Signed JSON to a URL of your own, in the format of Standard Webhooks."""

    required_secrets: ClassVar[tuple[str, ...]] = ("url",)

    type: Literal["webhook"]
    url: SecretUrl | None = None
    url_file: Path | None = None
    secret: SigningSecret | tuple[SigningSecret, ...] | None = None
    """Signs the requests. Several secrets each add a signature, so that receivers can switch from one to the next."""
    secret_file: Path | tuple[Path, ...] | None = None
    headers: Mapping[str, SecretStr] = Field(default_factory=dict)
    """Added to every request; the values are treated as secrets."""
    format: Literal["standard", "cloudevents"] = "standard"
    """The format of the body: Standard Webhooks, or CloudEvents 1.0 in structured mode. Both are signed."""

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, value: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for name, secret in value.items():
            if not _TOKEN.fullmatch(name) or name.lower().startswith(_RESERVED):
                raise ValueError("the name of this header is not allowed")
            text = secret.get_secret_value()
            if not text.isascii() or not text.isprintable():
                raise ValueError("the value of a header must be ASCII on one line")
        return value

    def open(self, secrets: Mapping[str, tuple[str, ...]]) -> WebhookChannel:
        """The channel with the current URL and signing secrets."""
        return WebhookChannel(
            url=secrets["url"][0],
            keys=secrets["secret"],
            cloudevents=self.format == "cloudevents",
            headers={name: value.get_secret_value() for name, value in self.headers.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookChannel:
    """One receiver. It recognises duplicates by the delivery key."""

    url: str = field(repr=False)
    keys: tuple[str, ...] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    cloudevents: bool = False

    def post(self, message: Message, attempt: Attempt) -> HttpRequest:
        """The signed request, with the configured headers."""
        as_event = self.cloudevents and message.body is None
        content = cloudevent(message, attempt) if as_event else body(message)
        headers = {**self.headers, **signed(content, attempt, self.keys)}
        if as_event:
            headers["content-type"] = "application/cloudevents+json"
        return HttpRequest(url=self.url, body=content, headers=headers)

    def edit(self, card: Card, message: Message, attempt: Attempt) -> None:
        """None: events are never edited."""

    def judge(self, answer: HttpAnswer, now: datetime) -> Receipt | SendError:
        """Judge an answer by its status alone, whatever its body says."""
        return judge_status(answer, now)

    def probe(self) -> HttpRequest:
        """A request that shows whether the receiver can be reached. Signatures cannot be checked without a message."""
        return HttpRequest(url=self.url, method="OPTIONS")

    def judge_probe(self, answer: HttpAnswer, now: datetime) -> SendError | None:
        """Judge the answer: only a 410 is a refusal, because receivers may well reject what is unsigned or no POST."""
        verdict = judge_status(answer, now)
        return verdict if isinstance(verdict, SendError) and answer.status == 410 else None


def body(message: Message) -> bytes:
    """The body of the request, or the one that a template has rendered.

    It is the same on every attempt, because `data` is inserted as it was stored.
    """
    if message.body is not None:
        return message.body.encode("utf-8", "replace")
    at = message.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = f'{{"type":{json.dumps(message.type)},"timestamp":"{at}","data":{message.data}}}'
    return text.encode("utf-8", "replace")  # a lone surrogate has no UTF-8


def cloudevent(message: Message, attempt: Attempt) -> bytes:
    """The same content as a CloudEvent: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md."""
    context = {
        "specversion": "1.0",
        "id": _header(attempt.key),
        "source": f"/finetune-monitor/{quote(message.subject.org or message.subject.kind, safe='', errors='replace')}",
        "type": message.type,
        "subject": _header(message.subject.key),
        "time": message.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "datacontenttype": "application/json",
    }
    return f'{json.dumps(context)[:-1]}, "data": {message.data}}}'.encode("utf-8", "replace")


def _header(key: str) -> str:
    """The key as the value of a header: ids come from outside, so forbidden characters are percent-encoded."""
    return quote(key, safe="!#$&'()*+,/:;=?@[]~", errors="replace")


def signed(content: bytes, attempt: Attempt, keys: Iterable[str]) -> dict[str, str]:
    """The headers of one attempt, with its own time and signatures."""
    at: datetime = attempt.at.astimezone(UTC).replace(microsecond=0)
    key = _header(attempt.key)
    headers = {
        "webhook-id": key,
        "webhook-timestamp": str(int(at.timestamp())),
        "content-type": "application/json",
    }
    signatures = [Webhook(secret).sign(key, at, content.decode()) for secret in keys]
    return headers | ({"webhook-signature": " ".join(signatures)} if signatures else {})
