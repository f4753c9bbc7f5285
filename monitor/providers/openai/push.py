"""The webhooks of OpenAI and Azure: how they are signed, what they say, and where they are registered.

Signed by Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md);
events of https://platform.openai.com/docs/guides/webhooks.
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
from monitor.providers._json import Object, Partial, Skip
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
_LEAST_KEY: Final = 16  # bytes; the specification asks senders for 24
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
    """One, or a list of several."""
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
    """A file with the signing secret, read again whenever it changes; or several."""

    def signing_secrets(self) -> tuple[tuple[str | None, Path | None], ...]:
        """The secrets by which it signs, each as text or as a file."""
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
    """What a webhook says of what is watched. Raises PushRefused.

    The signature is compared here and not by `standardwebhooks`, which does not come to a good signature behind a
    malformed one. Nothing of the body is read before the signature is found good.
    """
    sent, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (sent and _TIMESTAMP.fullmatch(at)):
        raise PushRefused("bad_signature", "webhook-id or webhook-timestamp is missing, or none")
    signed = f"{sent}.{at}.".encode("utf-8", "surrogateescape") + body
    given = tuple(_signatures(headers.get("webhook-signature", "")))
    # All are compared, so that the time taken does not reveal which one was good.
    good = [hmac.compare_digest(_mark(secret, signed), one) for secret in secrets for one in given]
    if not any(good):
        raise PushRefused("bad_signature", "no signature is good")
    if abs(now.timestamp() - int(at)) > _TOLERANCE.total_seconds():
        raise PushRefused("stale", "webhook-timestamp is more than 300 s from now: is a clock wrong?")
    return _hint(sent, body, watch)


def _signatures(header: str) -> Iterator[bytes]:
    """The signatures of version 1. What is none, or of a version to come, does not hide those beside it."""
    for entry in header.split(" ")[:_MOST_SIGNATURES]:
        version, _, mark = entry.partition(",")
        if version == "v1":
            yield mark.encode("utf-8", "surrogateescape")


def _mark(secret: str, signed: bytes) -> bytes:
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
        raise PushRefused("malformed", "the event has no usable id of a job")
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
    """The webhooks; `path` is where they are registered, None where that is not offered."""
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
    return _changing("register_webhook", base, body)


def _rotate(base: str, endpoint: str) -> Call[WebhookEndpoint]:
    """A new secret; the old one stays good for a day, in which the configuration can follow."""
    path = f"{base}/{quote(endpoint, safe='')}/rotate_secret"
    return _changing("rotate_webhook", path, {"keep_old_secret_active_for_24_hours": True})


def _changing(operation: str, path: str, body: Mapping[str, object]) -> Call[WebhookEndpoint]:
    request = Request(
        operation=operation,
        path=path,
        method="POST",
        headers=(("Content-Type", "application/json"),),
        body=json.dumps(body).encode(),
    )
    return Call(request=request, read=_read_endpoint)


def _read_page(request: Request, response: Response) -> Page[WebhookEndpoint]:
    return read_page(request, response, _understand, one=False)


def _read_endpoint(response: Response) -> WebhookEndpoint:
    return single(response, _understand, what="webhook endpoint", rules=RULES)


def _understand(item: Object) -> Partial[WebhookEndpoint] | Skip:
    id_ = identifier(item.get("id"))
    if id_ is None:
        return "bad_id"
    endpoint = WebhookEndpoint(
        id=id_,
        url=text(item.get("url"), 2048) or "",
        event_types=texts(item.get("event_types"), 128, 200),
        secret=text(item.get("signing_secret"), 256),
    )
    return Partial(endpoint)
