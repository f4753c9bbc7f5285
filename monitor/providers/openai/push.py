"""OpenAI's webhooks, which Azure sends too: Standard Webhooks whose body names a job and how it ended.

platform.openai.com/docs/guides/webhooks; github.com/standard-webhooks/standard-webhooks
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final

from monitor.providers._json import obj
from monitor.providers._values import identifier, sub, text, whole
from monitor.providers.base import Hint, Malformed, Push, PushRefused, Response

_TOLERANCE: Final = 300.0  # seconds, both ways: OpenAI's own and that of the standard
_ABOUT: Final = "fine_tuning.job."
_PREFIX: Final = "whsec_"


def verify(headers: Mapping[str, str], body: bytes, secrets: tuple[str, ...], now: datetime) -> Hint:
    """What the webhook is about. Raises PushRefused: `bad_signature`, `stale` or `malformed`."""
    id_, stamp = headers.get("webhook-id", ""), whole(headers.get("webhook-timestamp"))
    if not id_ or stamp is None:
        raise PushRefused("bad_signature", "the headers of Standard Webhooks are missing")
    signed = b".".join((id_.encode("utf-8", "surrogateescape"), str(stamp).encode(), body))
    given = [part[3:] for part in headers.get("webhook-signature", "").split() if part.startswith("v1,")]
    if not any(_good(key, signed, given) for secret in secrets for key in _keys(secret)):
        raise PushRefused("bad_signature", "no signature is good")
    if abs(now.timestamp() - stamp) > _TOLERANCE:
        raise PushRefused("stale", "the signature is older than five minutes, or from the future")
    try:
        event = obj(Response(status=200, body=body))
    except Malformed as error:
        raise PushRefused("malformed", str(error)) from None
    about = (text(event.get("type"), 128) or "").startswith(_ABOUT)
    return Hint(id=id_, job=identifier(sub(event, "data", "id")) if about else None)


PUSH: Final = Push(verify=verify)


def _keys(secret: str) -> Iterator[bytes]:
    """The key is base64 behind the prefix. Without one, OpenAI's package takes the text itself, others decode it."""
    bare = secret.removeprefix(_PREFIX)
    with suppress(binascii.Error, ValueError):
        yield base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    if bare == secret:
        yield secret.encode()


def _good(key: bytes, signed: bytes, given: list[str]) -> bool:
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(expected.encode(), each.encode("utf-8", "replace")) for each in given)
