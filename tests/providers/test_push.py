"""Webhooks of OpenAI and Azure: signatures and events."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from standardwebhooks.webhooks import Webhook

from monitor.domain.signing import signing_key
from monitor.providers import OrganizationSettings
from monitor.providers.base import Hint, PushRefused
from monitor.providers.openai.push import verify

SAMPLES = Path(__file__).parent / "samples"
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
BODY = b'{"object":"event","id":"evt_1","type":"fine_tuning.job.succeeded","created_at":1,"data":{"id":"ftjob-1"}}'


def signed(body: bytes = BODY, *, secret: str = SECRET, id_: str = "wh_1", at: datetime = NOW) -> dict[str, str]:
    """Headers signed with the reference library."""
    signature = Webhook(secret).sign(id_, at, body.decode())
    return {"webhook-id": id_, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


def refused(headers: dict[str, str], body: bytes = BODY, secrets: tuple[str, ...] = (SECRET,)) -> str:
    """The reason for which a webhook is refused."""
    with pytest.raises(PushRefused) as caught:
        verify(headers, body, secrets, NOW)
    return caught.value.result


def event(type_: object = "fine_tuning.job.failed", **data: object) -> bytes:
    return json.dumps({"type": type_, "data": data}).encode()


def test_a_webhook_signed_by_openai_is_valid() -> None:
    vector = json.loads((SAMPLES / "webhook_test_vector.json").read_text())
    at = datetime.fromtimestamp(int(vector["headers"]["webhook-timestamp"]), UTC)
    hint = verify(vector["headers"], vector["body"].encode(), (vector["secret"],), at)
    assert hint == Hint(id="wh_685c059ae39c8190af8c71ed1022a24d", job=None)


@pytest.mark.parametrize("ending", ["succeeded", "failed", "cancelled"])
def test_an_end_names_its_job(ending: str) -> None:
    body = event(f"fine_tuning.job.{ending}", id="ftjob_abc123")
    assert verify(signed(body), body, (SECRET,), NOW) == Hint(id="wh_1", job="ftjob_abc123")


def entry(secret: str) -> str:
    return signed(secret=secret)["webhook-signature"]


@pytest.mark.parametrize(
    "signatures",
    [
        pytest.param(f"{entry(OTHER)} {entry(SECRET)}", id="beside that of another secret"),
        pytest.param(f"v1,!!! {entry(SECRET)}", id="beside one that is no base64"),
        pytest.param(f"v1 {entry(SECRET)}", id="beside one without a comma"),
        pytest.param(f",, v1,\udcff  v2,abc {entry(SECRET)}", id="beside bytes, blanks and a version to come"),
        pytest.param(f"{entry(SECRET)} v1,x", id="before a malformed one"),
    ],
)
def test_one_valid_signature_among_others_suffices(signatures: str) -> None:
    headers = {**signed(), "webhook-signature": signatures}
    assert verify(headers, BODY, (SECRET,), NOW).job == "ftjob-1"


def test_each_of_several_secrets_is_accepted() -> None:
    for secret in (SECRET, OTHER):
        assert verify(signed(secret=secret), BODY, (SECRET, OTHER), NOW).job == "ftjob-1"


EMPTY_KEY = base64.b64encode(
    __import__("hmac").digest(b"", f"wh_1.{int(NOW.timestamp())}.".encode() + BODY, "sha256")
).decode()


@pytest.mark.fault("W01")
@pytest.mark.parametrize(
    ("changes", "body"),
    [
        pytest.param({"webhook-signature": entry(OTHER)}, BODY, id="another secret"),
        pytest.param({}, BODY.replace(b"ftjob-1", b"ftjob-2"), id="another body"),
        pytest.param({}, BODY + b" ", id="a longer body"),
        pytest.param({"webhook-id": "wh_2"}, BODY, id="another id"),
        pytest.param({"webhook-timestamp": str(int(NOW.timestamp()) + 1)}, BODY, id="another time"),
        pytest.param({"webhook-timestamp": f"+{int(NOW.timestamp())}"}, BODY, id="a time with a sign"),
        pytest.param({"webhook-timestamp": "1_800_000_000"}, BODY, id="a time with underscores"),
        pytest.param({"webhook-timestamp": "٣"}, BODY, id="a time in other digits"),
        pytest.param({"webhook-timestamp": "9" * 400}, BODY, id="a time beyond all time"),
        pytest.param({"webhook-signature": entry(SECRET).removeprefix("v1,")}, BODY, id="no version"),
        pytest.param({"webhook-signature": entry(SECRET).replace("v1,", "v2,")}, BODY, id="another version"),
        pytest.param({"webhook-signature": f"v1,{EMPTY_KEY}"}, BODY, id="an empty key"),
        pytest.param({"webhook-signature": "v1,"}, BODY, id="an empty signature"),
        pytest.param({"webhook-signature": "v1,é\udcff"}, BODY, id="a signature that is not ASCII"),
        pytest.param({"webhook-id": "\udcff"}, BODY, id="an id that is not UTF-8"),
        pytest.param({}, b"\xff\xfe", id="a body that is not UTF-8"),
    ],
)
def test_an_invalid_signature_is_refused(changes: dict[str, str], body: bytes) -> None:
    assert refused({**signed(), **changes}, body) == "bad_signature"


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("gone", [True, False])
def test_no_header_may_be_missing_or_empty(name: str, gone: bool) -> None:
    headers = signed()
    del headers[name]
    assert refused(headers if gone else {**headers, name: ""}) == "bad_signature"


def test_without_a_secret_nothing_is_valid() -> None:
    assert refused(signed(), secrets=()) == "bad_signature"


@pytest.mark.parametrize(("seconds", "good"), [(-300, True), (-301, False), (300, True), (301, False)])
def test_a_timestamp_is_valid_within_five_minutes(seconds: int, good: bool) -> None:
    headers = signed(at=NOW + timedelta(seconds=seconds))
    if good:
        assert verify(headers, BODY, (SECRET,), NOW).job == "ftjob-1"
    else:
        assert refused(headers) == "stale"


@pytest.mark.fault("W06")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(event("batch.completed", id="batch_1"), id="a batch"),
        pytest.param(event("fine_tuning.job.brandnew", id="ftjob-1"), id="a type to come"),
        pytest.param(b'{"type":"x"}', id="no data"),
    ],
)
def test_an_event_about_something_else_is_no_hint(body: bytes) -> None:
    assert verify(signed(body), body, (SECRET,), NOW) == Hint(id="wh_1", job=None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"type":7}',
        b"[" * 100_000,
        b'{"type":"fine_tuning.job.failed"}',
        event(),
        event(id=None),
        event(id=["ftjob-1"]),
        event(id=""),
        event(id=".."),
        event(id="../batches/batch_1"),
        event(id="ftjob-1/cancel"),
        event(id="x" * 300),
        event(id="a\nb"),
        event(id="\0"),
    ],
    ids=lambda body: body[:50].decode(),
)
def test_a_signed_but_invalid_event_is_malformed(body: bytes) -> None:
    assert refused(signed(body), body) == "malformed"


@pytest.mark.fault("W11")
@pytest.mark.parametrize("text", [SECRET, SECRET.removeprefix("whsec_"), SECRET.rstrip("=")])
def test_a_secret_may_come_without_prefix_or_padding(text: str) -> None:
    assert signing_key(text) == bytes(range(32))


@pytest.mark.fault("W11")
@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsec_=", "whsec_!", "whsec_c2hvcnQ=", "é" * 40, "whsec_whsec_" + SECRET]
)
@pytest.mark.parametrize("several", [True, False])
def test_a_secret_that_is_too_weak_is_refused_at_startup(text: str, several: bool) -> None:
    org: dict[str, Any] = {"name": "research", "provider": "openai", "api_key": "sk-1"}
    secret: Any = (SECRET, text) if several else text
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(OrganizationSettings).validate_python({**org, "webhook_secret": secret})
    assert "base64 of at least 16 bytes" in str(caught.value)


def test_the_signing_secret_is_not_used_for_requests() -> None:
    org = {"name": "research", "provider": "openai", "api_key": "sk-1", "webhook_secret": (SECRET, OTHER)}
    settings: Any = TypeAdapter(OrganizationSettings).validate_python(org)
    assert set(settings.credentials()) == {"api_key"}
    assert settings.signing_secrets() == ((SECRET, None), (OTHER, None))
