"""The validation of an organisation's settings."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from monitor.providers import OpenAISettings, OrganizationSettings
from monitor.providers.base import Outgoing
from tests.builders import NOON

_SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ADAPTER: TypeAdapter[Any] = TypeAdapter(OrganizationSettings)


def settings(**fields: Any) -> OpenAISettings:
    found: OpenAISettings = ADAPTER.validate_python({"name": "research", "provider": "openai", **fields})
    return found


def test_minimal_settings() -> None:
    found = settings(api_key="sk-x").vendor()
    assert (found.name, found.base_url, found.billing, found.seller) == (
        "openai", "https://api.openai.com/v1", None, "openai",
    )  # fmt: skip
    assert settings().required_secrets == ("api_key",)


def test_the_key_goes_with_its_organisation_and_project() -> None:
    found = settings(organization="org-abc", project="proj_abc").vendor()
    assert found.headers == {"OpenAI-Organization": "org-abc", "OpenAI-Project": "proj_abc"}
    asked = Outgoing(method="GET", url="https://api.openai.com/v1/models")
    assert found.auth.headers({"api_key": "sk-x"}, asked, NOON) == {"Authorization": "Bearer sk-x"}
    assert settings().vendor().headers == {}


@pytest.mark.parametrize("secret", [_SIGNING, [_SIGNING, f"{_SIGNING[:-1]}A"]])
def test_webhook_secrets_are_one_or_several_and_never_shown(secret: object) -> None:
    found = settings(webhook_secret=secret, api_key="sk-verysecret", admin_key="sk-admin-verysecret")
    assert found.webhook_secret is not None
    assert _SIGNING not in repr(found)
    assert "verysecret" not in repr(found)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://eu.api.openai.com/v1/", "https://eu.api.openai.com/v1"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000/a/b//", "http://[::1]:8000/a/b"),
        ("HTTPS://API.OpenAI.com:443//v1", "https://api.openai.com/v1"),
        ("https://api.openai.com./v1", "https://api.openai.com/v1"),
        ("http://gateway:80/V1", "http://gateway/V1"),
        ("http://gateway:443/v1", "http://gateway:443/v1"),
    ],
)
def test_a_base_url_has_one_spelling(url: str, expected: str) -> None:
    assert settings(base_url=url).base_url == expected


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"name": ""}, id="no name"),
        pytest.param({"name": "Research"}, id="a name in capitals"),
        pytest.param({"name": "-x"}, id="a name that starts with a dash"),
        pytest.param({"name": "x" * 64}, id="a name of 64 characters"),
        pytest.param({"name": "x\n"}, id="a name with a newline behind"),
        pytest.param({"provider": "acme"}, id="a provider nobody knows"),
        pytest.param({"api_keys": "sk-x"}, id="a key nobody knows"),
        pytest.param({"base_url": "ftp://x"}, id="another scheme"),
        pytest.param({"base_url": "api.openai.com/v1"}, id="no scheme"),
        pytest.param({"base_url": "https://"}, id="no host"),
        pytest.param({"base_url": "https://x:99999"}, id="no port"),
        pytest.param({"base_url": "https://x/v1?api-version=1"}, id="a query"),
        pytest.param({"base_url": "https://x/v1?"}, id="an empty query"),
        pytest.param({"base_url": "https://x/v1#a"}, id="a fragment"),
        pytest.param({"base_url": "https://x /v1"}, id="a space"),
        pytest.param({"base_url": "https://x/\n"}, id="a newline"),
        pytest.param({"organization": "org\r\nX: y"}, id="a header in a header"),
        pytest.param({"project": ""}, id="an empty project"),
        pytest.param({"labels": {"0team": "x"}}, id="a label name that starts with a digit"),
        pytest.param({"labels": {"team-name": "x"}}, id="a label name with a dash"),
        pytest.param({"labels": {"__team": "x"}}, id="a reserved label name"),
        pytest.param({"labels": {"org": "x"}}, id="a label name of our own"),
        pytest.param({"labels": {"team": "x" * 257}}, id="an endless label"),
    ],
)
def test_invalid_settings_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**fields)


def test_a_password_in_a_base_url_is_refused_without_repeating_it_in_our_words() -> None:
    with pytest.raises(ValidationError) as caught:
        settings(base_url="https://user:hunter2@example.com/v1")
    assert "hunter2" not in caught.value.errors()[0]["msg"]


def test_valid_labels_are_accepted() -> None:
    assert settings(labels={"team": "search", "cost_center": "42"}).labels == {"team": "search", "cost_center": "42"}


def test_settings_are_immutable() -> None:
    with pytest.raises(ValidationError):
        settings().name = "other"


@pytest.mark.parametrize(
    ("base_url", "seller"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://eu.api.openai.com/v1", "openai"),
        ("https://api.openai.com.evil.example/v1", None),
        ("https://api.tokenfactory.nebius.com/v1", None),
    ],
)
def test_published_prices_apply_only_at_the_publishers_host(base_url: str, seller: str | None) -> None:
    assert settings(base_url=base_url).vendor().seller == seller


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"headers": {"Host": "x"}}, id="the host"),
        pytest.param({"headers": {"Content-Length": "0"}}, id="the length"),
        pytest.param({"headers": {"X Y": "x"}}, id="a name with a space"),
        pytest.param({"headers": {"X-Y": "a\r\nX-Z: b"}}, id="a header in a header"),
        pytest.param({"query": {"": "x"}}, id="a parameter without a name"),
        pytest.param({"watch": []}, id="nothing to watch"),
    ],
)
def test_headers_and_parameters_that_cannot_be_sent_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**fields)


def test_the_values_of_headers_and_parameters_are_not_shown() -> None:
    found = settings(headers={"X-Key": "verysecret"}, query={"sig": "verysecret"})
    assert "verysecret" not in repr(found)


def test_a_single_former_name_is_a_list_of_one() -> None:
    assert settings(was="lab").was == ("lab",)
    assert settings(was=["lab", "laboratory"]).was == ("lab", "laboratory")
