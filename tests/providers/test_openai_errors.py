"""Error responses: the class of the error, and a short text that is safe to show."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.flow import Reason, Trouble
from monitor.providers.base import (
    AuthFailed,
    Malformed,
    NotEligible,
    NotFound,
    ProviderUnavailable,
    RateLimited,
    Response,
    SourceError,
    TimedOut,
)
from tests.providers.answers import read_events, read_job, read_jobs


def refused(status: int, body: bytes) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read_jobs(Response(status=status, body=body))
    return caught.value


def envelope(message: object = "no", **fields: object) -> bytes:
    return json.dumps({"error": {"message": message, "param": None, **fields}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        pytest.param(401, envelope(code="invalid_api_key"), AuthFailed, id="a wrong key"),
        pytest.param(401, envelope(code="mismatched_organization"), AuthFailed, id="another organisation's key"),
        pytest.param(403, envelope("Missing scopes: api.fine_tuning.jobs.read"), AuthFailed, id="a key without rights"),
        pytest.param(403, envelope(code="training_not_available"), NotEligible, id="fine-tuning is wound down"),
        pytest.param(403, envelope(code="unsupported_country_region_territory"), NotEligible, id="the wrong country"),
        pytest.param(402, b"", NotEligible, id="payment required"),
        pytest.param(429, envelope(code="rate_limit_exceeded"), RateLimited, id="too fast"),
        pytest.param(429, envelope(code="slow_down", type="rate_limit_error"), RateLimited, id="slow down"),
        pytest.param(429, b"", RateLimited, id="too fast, without a word"),
        pytest.param(429, envelope(code="insufficient_quota"), NotEligible, id="the quota is spent"),
        pytest.param(429, envelope(code=None, type="insufficient_quota"), NotEligible, id="the same as a type"),
        pytest.param(429, envelope(code="credit_balance_exhausted"), NotEligible, id="no credit"),
        pytest.param(429, envelope("You reached your hard spend limit"), NotEligible, id="a hard limit in words"),
        pytest.param(400, envelope(), Malformed, id="a bad request"),
        pytest.param(404, envelope(), Malformed, id="no list at this address"),
        pytest.param(408, b"", ProviderUnavailable, id="request time-out"),
        pytest.param(409, b"", ProviderUnavailable, id="conflict"),
        pytest.param(500, b"", ProviderUnavailable, id="server error"),
        pytest.param(502, b"<html>Bad gateway</html>", ProviderUnavailable, id="a gateway's HTML"),
        pytest.param(503, envelope(code="server_is_overloaded"), ProviderUnavailable, id="overloaded"),
        pytest.param(529, b"", ProviderUnavailable, id="a status of the server's own"),
        pytest.param(302, b"", Malformed, id="a redirect"),
        pytest.param(308, b"", Malformed, id="a permanent redirect"),
        pytest.param(418, b"", Malformed, id="a teapot"),
    ],
)
def test_an_error_says_who_has_to_act(status: int, body: bytes, expected: type[SourceError]) -> None:
    error = refused(status, body)
    assert type(error) is expected
    assert str(error).startswith(f"{status}: ")


def test_a_404_for_a_job_is_not_found_and_for_a_list_a_wrong_address() -> None:
    with pytest.raises(NotFound):
        read_job(Response(status=404, body=envelope("No such job")))
    with pytest.raises(NotFound):
        read_events(Response(status=404))
    assert "base_url" in str(refused(404, b""))
    assert "base_url" in str(refused(302, b""))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (envelope("Incorrect key", code="invalid_api_key"), "401: the key is refused (invalid_api_key: Incorrect key)"),
        (b'{"error": "nope"}', "401: the key is refused (nope)"),
        (b'{"message": "nope"}', "401: the key is refused (nope)"),
        (b'{"detail": "nope"}', "401: the key is refused (nope)"),
        (b'{"error": {"message": ["nope"], "code": {}}}', "401: the key is refused"),
        (b"<html>", "401: the key is refused"),
        (b"[" * 100_000, "401: the key is refused"),
        (b"", "401: the key is refused"),
    ],
)
def test_the_servers_message_is_quoted_if_there_is_one(body: bytes, words: str) -> None:
    assert str(refused(401, body)) == words


def test_the_servers_message_is_truncated_and_cleaned() -> None:
    text = str(refused(401, envelope("a\x00\x1b[31m\nb" + "x" * 10**6)))
    assert len(text) == 300
    assert text.isprintable()


@given(status=st.integers(300, 999), body=st.binary(max_size=100))
def test_every_error_status_is_a_source_error(status: int, body: bytes) -> None:
    assert 0 < len(str(refused(status, body))) <= 300


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AuthFailed("a"), Reason.AUTH),
        (NotEligible("a"), Reason.NOT_ELIGIBLE),
        (RateLimited("a"), Reason.RATE_LIMITED),
        (ProviderUnavailable("a"), Reason.UNAVAILABLE),
        (TimedOut("a"), Reason.TIMEOUT),
        (Malformed("a"), Reason.MALFORMED),
        (NotFound("a"), Reason.MALFORMED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_source_error_has_a_trouble(error: SourceError, reason: Reason) -> None:
    assert error.trouble == Trouble(reason=reason, text="a")
    assert type(error)("b", retry_after=7.5).trouble == Trouble(reason=reason, text="b", retry_after=7.5)
