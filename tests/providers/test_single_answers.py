"""Requests for one job, and unusual answers: known events, tokens, statuses without an error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from monitor.domain.model import Status
from monitor.providers._grpc import job_error
from monitor.providers.base import AuthFailed, Malformed, Outgoing, TokenAuth
from monitor.providers.openai.naming import base_model
from tests.providers.answers import OPENAI, page_of, read_events, response
from tests.providers.test_vendors import AT, MINUTE, sample, vendor


@pytest.mark.parametrize(
    ("provider", "which", "status"),
    [
        ("together", "job", Status.SUCCEEDED),
        ("fireworks", "supervised", Status.SUCCEEDED),
        ("vertex", "job", Status.SUCCEEDED),
        ("bedrock", "details", Status.FAILED),
    ],
)
def test_one_job_is_read_as_the_listed_one(provider: str, which: str, status: Status) -> None:
    one = vendor(provider).jobs[0].one("a/b")
    assert "a%2Fb" in one.request.path
    found = one.read(response(sample(provider)[which]))
    assert (found.org, found.provider, found.status) == ("research", provider, status)
    with pytest.raises(Malformed, match="is not a job"):
        one.read(response({}))


@pytest.mark.parametrize("status", [None, {}, {"code": 0}, {"code": 0, "message": "fine"}, {"code": "OK"}])
def test_a_status_of_ok_is_not_an_error(status: object) -> None:
    assert job_error(status) is None


def test_a_known_event_is_skipped_and_counted() -> None:
    event = {"object": "fine_tuning.job.event", "id": "ftevent-1", "created_at": 1_721_764_800, "message": "Step 1"}
    page = read_events(page_of(event), {"ftevent-1"})
    assert (page.items, page.known) == ((), 1)
    assert len(read_events(page_of(event), {"ftevent-2"}).items) == 1


def test_of_an_event_of_together_that_is_known_only_the_time_is_read() -> None:
    events = vendor("together").events
    assert events is not None
    event = {"hash": "h-1", "created_at": "2026-11-27T05:00:00Z", "message": "Step 1", "type": "JOB_START"}
    pages = events("ft-1", {"h-1"}, False)
    [seen] = pages.read(pages.first, response({"data": [event]})).items
    assert (seen.id, seen.at, seen.message) == ("h-1", AT, "")


@pytest.mark.parametrize(
    "progress",
    [{}, {"estimate_available": False, "seconds_remaining": 60}, {"estimate_available": True, "seconds_remaining": 0}],
)
def test_no_estimate_is_made_where_together_has_none(progress: dict[str, Any]) -> None:
    running = {**sample("together")["running"], "progress": progress}
    assert vendor("together").jobs[0].one("x").read(response(running)).estimated_finish is None


def test_the_base_of_a_name() -> None:
    assert base_model("ft:gpt-4o-mini-2024-07-18:acme::abc") == base_model("gpt-4o-mini-2024-07-18")
    assert OPENAI.naming.is_tuned("ft:gpt-4o-mini-2024-07-18:acme::abc")


def test_the_machines_own_account_gives_a_token() -> None:
    auth = vendor("vertex", token_file=None, metadata=True).auth
    grant = auth.grant({}, AT)
    assert grant is not None
    assert grant.request.headers == (("Metadata-Flavor", "Google"),)
    assert grant.read(response({"access_token": "ya29", "expires_in": 3599})).seconds == 3599
    asked = Outgoing(method="GET", url="https://us-central1-aiplatform.googleapis.com")
    assert auth.headers({"token": "ya29"}, asked, AT) == {"Authorization": "Bearer ya29"}


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def account(private: str, uri: str = "https://oauth2.googleapis.com/token") -> str:
    return json.dumps({"token_uri": uri, "client_email": "m@acme.iam", "private_key": private, "private_key_id": "7"})


def test_a_service_accounts_key_signs_for_a_token_and_nothing_else_does() -> None:
    auth = vendor("vertex", token_file=None, credentials_file="/c.json").auth
    assert isinstance(auth, TokenAuth)
    key = pem(rsa.generate_private_key(public_exponent=65_537, key_size=2048))
    grant = auth.grant({"credentials": account(key)}, AT + MINUTE)
    assert grant.request.path == "https://oauth2.googleapis.com/token"
    assert b"assertion=ey" in grant.request.body
    for text, why in (
        (account(key, "file:///etc/passwd"), "token_uri"),
        (account(pem(ec.generate_private_key(ec.SECP256R1()))), "is not the JSON key"),
        (account("-----BEGIN"), "is not the JSON key"),
        ("[]", "is not the JSON key"),
        ("{}", "is not the JSON key"),
        ("no JSON", "is not the JSON key"),
    ):
        with pytest.raises(AuthFailed, match=why):
            auth.grant({"credentials": text}, AT)


def test_an_event_of_together_without_hash_and_message_is_none() -> None:
    events = vendor("together").events
    assert events is not None
    pages = events("ft-1", (), False)
    assert pages.read(pages.first, response({"data": [{"type": "JOB_START"}]})).skipped == {"empty": 1}


@pytest.mark.parametrize("session", [{}, {"session_token": "t"}])
def test_bedrock_signs_with_the_keys_of_an_account(session: dict[str, str]) -> None:
    auth = vendor("bedrock", api_key=None, access_key_id="a", secret_access_key="s", **session).auth
    assert auth.secrets == ("access_key_id", "secret_access_key", *session)
