"""OpenAI's webhooks: whose signature is good, and which job they are about."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest

from monitor.providers.base import PushRefused
from monitor.providers.openai.push import verify

NOW = datetime(2026, 11, 27, 5, 0, tzinfo=UTC)
KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
BODY = json.dumps({"id": "evt_1", "type": "fine_tuning.job.succeeded", "data": {"id": "ftjob-1"}}).encode()


def signed(body: bytes = BODY, key: bytes = KEY, at: datetime = NOW) -> dict[str, str]:
    stamp = str(int(at.timestamp()))
    digest = hmac.new(key, b"wh_1." + stamp.encode() + b"." + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    return {"webhook-id": "wh_1", "webhook-timestamp": stamp, "webhook-signature": signature}


def test_the_vector_of_openais_own_tests_is_good() -> None:
    # tests/lib/test_webhooks.py of openai-python.
    payload = (
        b'{"id": "evt_685c059ae3a481909bdc86819b066fb6", "object": "event", "created_at": 1750861210, "type": "response'
        b'.completed", "data": {"id": "resp_123"}}'
    )
    headers = {
        "webhook-timestamp": "1750861210",
        "webhook-id": "wh_685c059ae39c8190af8c71ed1022a24d",
        "webhook-signature": "v1,gUAg4R2hWouRZqRQG4uJypNS8YK885G838+EHb4nKBY=",
    }
    secret = "whsec_RdvaYFYUXuIFuEbvZHwMfYFhUf7aMYjYcmM24+Aj40c="
    found = verify(headers, payload, (secret,), datetime.fromtimestamp(1750861210, UTC))
    assert (found.id, found.job) == ("wh_685c059ae39c8190af8c71ed1022a24d", None)


def test_a_good_webhook_names_its_job() -> None:
    found = verify(signed(), BODY, (SECRET,), NOW)
    assert (found.id, found.job) == ("wh_1", "ftjob-1")


@pytest.mark.parametrize(
    ("secrets", "key"),
    [
        pytest.param(("whsec_" + base64.b64encode(b"old" * 8).decode(), SECRET), KEY, id="the second of two"),
        pytest.param((base64.b64encode(KEY).decode(),), KEY, id="base64 without the prefix"),
        pytest.param(("plain text as a key",), b"plain text as a key", id="plain text, as OpenAI's package takes it"),
    ],
)
def test_any_of_the_secrets_will_do(secrets: tuple[str, ...], key: bytes) -> None:
    assert verify(signed(key=key), BODY, secrets, NOW).job == "ftjob-1"


def test_one_of_several_signatures_will_do() -> None:
    headers = signed()
    headers["webhook-signature"] = "v1a,x v1,AAAA " + headers["webhook-signature"]
    assert verify(headers, BODY, (SECRET,), NOW).job == "ftjob-1"


@pytest.mark.parametrize(
    ("headers", "body", "result"),
    [
        pytest.param({}, BODY, "bad_signature", id="no headers"),
        pytest.param(signed(key=b"x"), BODY, "bad_signature", id="another key"),
        pytest.param(signed(), BODY + b" ", "bad_signature", id="another body"),
        pytest.param(signed() | {"webhook-id": "wh_2"}, BODY, "bad_signature", id="another id"),
        pytest.param(signed() | {"webhook-timestamp": "soon"}, BODY, "bad_signature", id="no time"),
        pytest.param(signed() | {"webhook-signature": "v1,é"}, BODY, "bad_signature", id="no signature"),
        pytest.param(signed(at=NOW - timedelta(seconds=301)), BODY, "stale", id="too old"),
        pytest.param(signed(at=NOW + timedelta(seconds=301)), BODY, "stale", id="from the future"),
        pytest.param(signed(b"[]"), b"[]", "malformed", id="no object"),
        pytest.param(signed(b"{"), b"{", "malformed", id="no JSON"),
    ],
)
def test_what_is_refused(headers: dict[str, str], body: bytes, result: str) -> None:
    with pytest.raises(PushRefused) as caught:
        verify(headers, body, (SECRET,), NOW)
    assert caught.value.result == result


@pytest.mark.parametrize("kind", ["batch.completed", "response.failed", None, 7])
def test_what_is_about_something_else_names_no_job(kind: object) -> None:
    body = json.dumps({"type": kind, "data": {"id": "x"}}).encode()
    assert verify(signed(body), body, (SECRET,), NOW).job is None
