"""Signatures: requests to AWS, byte for byte as in botocore, and assertions to Google."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from monitor.providers._sigv4 import SigV4
from monitor.providers.base import AuthFailed, Outgoing
from monitor.providers.vertex import _from_service_account

NOW = datetime(2026, 11, 27, 5, 9, 5, tzinfo=UTC)
HOST = "https://bedrock.us-east-1.amazonaws.com"
KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}


@pytest.mark.parametrize("session", [None, "FwoGZXIvYXdzEBYaD/long+session=token"])
@pytest.mark.parametrize(
    "path",
    [
        "/model-customization-jobs?maxResults=100&sortBy=CreationTime&sortOrder=Descending",
        "/model-customization-jobs?nextToken=a%2Bb%2Fc%3D%3D&maxResults=1",
        "/model-customization-jobs/arn%3Aaws%3Abedrock%3Aus-east-1%3A123%3Amodel-customization-job%2Fm.x-v1%3A0%2Fabc",
        "/model-customization-jobs",
    ],
)
def test_a_signature_is_botocores_byte_for_byte(path: str, session: str | None, monkeypatch: Any) -> None:
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: NOW.replace(tzinfo=None))
    theirs = AWSRequest(method="GET", url=HOST + path)
    SigV4Auth(Credentials(KEYS["access_key_id"], KEYS["secret_access_key"], session), "bedrock", "us-east-1").add_auth(
        theirs
    )
    secrets = KEYS if session is None else {**KEYS, "session_token": session}
    ours = SigV4(region="us-east-1", service="bedrock").headers(secrets, Outgoing(method="GET", url=HOST + path), NOW)
    assert ours["Authorization"] == theirs.headers["Authorization"]
    assert ours["x-amz-date"] == theirs.headers["X-Amz-Date"]
    assert ours.get("x-amz-security-token") == session


def service_account(key: rsa.RSAPrivateKey, **over: object) -> str:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return json.dumps(
        {
            "type": "service_account", "client_email": "monitor@acme.iam.gserviceaccount.com", "private_key_id": "k1",
            "private_key": pem, "token_uri": "https://oauth2.googleapis.com/token", **over,
        }
    )  # fmt: skip


def part(text: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(text + "=="))


def test_a_service_account_asks_for_a_token_with_a_signed_assertion() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    call = _from_service_account({"credentials": service_account(key)}, NOW)
    assert (call.request.method, call.request.path) == ("POST", "https://oauth2.googleapis.com/token")
    assertion = dict(pair.split("=") for pair in call.request.body.decode().split("&"))["assertion"]
    header, claims, signature = assertion.split(".")
    assert part(header) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    assert part(claims) == {
        "iss": "monitor@acme.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": "https://oauth2.googleapis.com/token",
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 3600,
    }
    key.public_key().verify(
        base64.urlsafe_b64decode(signature + "=="), f"{header}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
    )


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "not JSON", '{"client_email": "a", "token_uri": "https://x", "private_key": "no key"}']
)
def test_an_invalid_service_account_file_is_reported_without_its_content(text: str) -> None:
    with pytest.raises(AuthFailed, match="not the JSON key of a service account") as caught:
        _from_service_account({"credentials": text}, NOW)
    assert "no key" not in str(caught.value)
