"""The webhooks of OpenAI and Azure: their signature, their events, and their registration.

Signed as in Standard Webhooks
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md); events as in
https://platform.openai.com/docs/guides/webhooks.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Container, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import msgspec
from pydantic import AfterValidator, BeforeValidator, SecretStr

from monitor.domain.model import BATCH_PREFIX, JobKind
from monitor.domain.signing import signing_key
from monitor.providers._answers import single
from monitor.providers._json import Object, Parsed, Skip
from monitor.providers._settings import Organization
from monitor.providers._values import identifier, text, texts
from monitor.providers.base import (
    Call,
    Hint,
    Listing,
    Page,
    Push,
    PushRefused,
    Request,
    Response,
    WebhookEndpoint,
    WebhookEndpoints,
)
from monitor.providers.openai.shape import RULES, first_page, read_page

_TOLERANCE: Final = timedelta(seconds=300)
_LEAST_KEY: Final = 16  # bytes; the specification requires 24 of senders
_TIMESTAMP: Final = re.compile(r"[1-9][0-9]{0,11}")
_MOST_SIGNATURES: Final = 32
_ENDS: Final[Mapping[JobKind, tuple[str, ...]]] = {
    JobKind.FINE_TUNING: ("fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"),
    JobKind.BATCH: ("batch.completed", "batch.failed", "batch.expired", "batch.cancelled"),
}
_FINE_TUNING: Final = (JobKind.FINE_TUNING,)


def _signing(value: SecretStr) -> SecretStr:
    signing_key(value.get_secret_value(), least=_LEAST_KEY)
    return value


def _listed(value: object) -> object:
    """Accept a single value in place of a list."""
    return value if isinstance(value, (list, tuple)) else [value]


SigningSecret = Annotated[SecretStr, AfterValidator(_signing)]
SigningSecrets = Annotated[
    tuple[SigningSecret, ...],
    BeforeValidator(_listed, json_schema_input_type=SigningSecret | tuple[SigningSecret, ...]),
]
SecretFiles = Annotated[tuple[Path, ...], BeforeValidator(_listed, json_schema_input_type=Path | tuple[Path, ...])]


class PushedOrganization(Organization):
    """An organisation whose provider sends webhooks."""

    webhook_secret: SigningSecrets = ()
    """The signing secret of the provider's webhooks to `/webhooks/{name}`; several while it is being rotated."""
    webhook_secret_file: SecretFiles = ()
    """A file with the signing secret, or several files. They are re-read when they change."""

    def signing_secrets(self) -> tuple[tuple[str | None, Path | None], ...]:
        """The configured signing secrets, each as `(text, None)` or `(None, path of its file)`."""
        texts = ((one.get_secret_value(), None) for one in self.webhook_secret)
        return (*texts, *((None, path) for path in self.webhook_secret_file))


def verify(
    headers: Mapping[str, str],
    body: bytes,
    secrets: tuple[str, ...],
    now: datetime,
    *,
    watch: Container[JobKind] = _FINE_TUNING,
) -> Hint:
    """Verify a webhook and return which job it is about. Raises PushRefused.

    The signatures are compared here since `standardwebhooks` stops at a malformed signature and ignores a valid one
    after it. The body is not parsed before a signature is found valid.
    """
    sent, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (sent and _TIMESTAMP.fullmatch(at)):
        raise PushRefused("bad_signature", "webhook-id or webhook-timestamp is missing or malformed")
    signed = f"{sent}.{at}.".encode("utf-8", "surrogateescape") + body
    given = tuple(_signatures(headers.get("webhook-signature", "")))
    # All are compared, so that the time taken does not reveal which one matched.
    good = [hmac.compare_digest(_signature(secret, signed), one) for secret in secrets for one in given]
    if not any(good):
        raise PushRefused("bad_signature", "no signature is valid")
    if abs(now.timestamp() - int(at)) > _TOLERANCE.total_seconds():
        raise PushRefused("stale", "webhook-timestamp is more than 300 s from now: is one of the clocks wrong?")
    return _hint(sent, body, watch)


def _signatures(header: str) -> Iterator[bytes]:
    """The signatures of version 1. Malformed entries and other versions are skipped."""
    for entry in header.split(" ")[:_MOST_SIGNATURES]:
        version, _, mark = entry.partition(",")
        if version == "v1":
            yield mark.encode("utf-8", "surrogateescape")


def _signature(secret: str, signed: bytes) -> bytes:
    return base64.b64encode(hmac.digest(signing_key(secret, least=_LEAST_KEY), signed, "sha256"))


def _hint(sent: str, body: bytes, watch: Container[JobKind]) -> Hint:
    id_, event = identifier(sent), _event(body)
    type_ = event.get("type")
    if id_ is None or not isinstance(type_, str):
        raise PushRefused("malformed", "the event has no usable id, or no type")
    kind = next((kind for kind, ends in _ENDS.items() if type_ in ends and kind in watch), None)
    if kind is None:
        return Hint(id=id_, job=None)
    subject = event.get("data")
    job = identifier(subject.get("id")) if isinstance(subject, dict) else None
    if job is None or "/" in job:
        raise PushRefused("malformed", "the event has no usable job id")
    return Hint(id=id_, job=BATCH_PREFIX + job if kind is JobKind.BATCH else job)


def _event(body: bytes) -> dict[str, Any]:
    try:
        event = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise PushRefused("malformed", "the event is not a JSON object")
    return event


def push(
    path: str | None = "/webhook_endpoints", *, rotates: bool = True, watch: Container[JobKind] = _FINE_TUNING
) -> Push:
    """The provider's webhooks. `path` is the list of registered endpoints; None if the vendor has no API for it."""
    check = partial(verify, watch=watch)
    if path is None:
        return Push(verify=check)
    endpoints = WebhookEndpoints(
        all=Listing(first=first_page("list_webhooks", path), read=_read_page),
        register=partial(_register, path, [end for kind, ends in _ENDS.items() if kind in watch for end in ends]),
        rotate=partial(_rotate, path) if rotates else None,
    )
    return Push(verify=check, endpoints=endpoints)


def _register(base: str, event_types: list[str], url: str) -> Call[WebhookEndpoint]:
    body = {"name": "finetune-monitor", "url": url, "event_types": event_types}
    return _post("register_webhook", base, body)


def _rotate(base: str, endpoint: str) -> Call[WebhookEndpoint]:
    """Request a new secret. The old one stays valid for 24 hours, so that the configuration can be changed."""
    path = f"{base}/{quote(endpoint, safe='')}/rotate_secret"
    return _post("rotate_webhook", path, {"keep_old_secret_active_for_24_hours": True})


def _post(operation: str, path: str, body: Mapping[str, object]) -> Call[WebhookEndpoint]:
    request = Request(
        operation=operation,
        path=path,
        method="POST",
        headers=(("Content-Type", "application/json"),),
        body=json.dumps(body).encode(),
    )
    return Call(request=request, read=_read_endpoint)


def _read_page(request: Request, response: Response) -> Page[WebhookEndpoint]:
    return read_page(request, response, _parse_endpoint, one=False)


def _read_endpoint(response: Response) -> WebhookEndpoint:
    return single(response, _parse_endpoint, what="webhook endpoint", rules=RULES)


def _parse_endpoint(item: Object) -> Parsed[WebhookEndpoint] | Skip:
    id_ = identifier(item.get("id"))
    if id_ is None:
        return "bad_id"
    endpoint = WebhookEndpoint(
        id=id_,
        url=text(item.get("url"), 2048) or "",
        event_types=texts(item.get("event_types"), 128, 200),
        secret=text(item.get("signing_secret"), 256),
    )
    return Parsed(endpoint)
