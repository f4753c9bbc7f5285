"""What may stand in an organisation's settings."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from monitor.providers import OpenAI, OpenAISettings, OrganizationSettings
from monitor.providers._settings import Organization

ADAPTER: TypeAdapter[OpenAISettings] = TypeAdapter(OrganizationSettings)


def settings(**fields: Any) -> OpenAISettings:
    return ADAPTER.validate_python({"name": "research", "provider": "openai", **fields})


def test_the_least_there_can_be() -> None:
    assert settings(api_key="sk-x").dialect() == OpenAI(base_url="https://api.openai.com/v1")
    assert settings().required_secrets == ("api_key",)


def test_the_key_goes_with_its_organisation_and_project() -> None:
    dialect = settings(organization="org-abc", project="proj_abc").dialect()
    assert dict(dialect.headers("sk-x")) == {
        "Accept": "application/json",
        "Authorization": "Bearer sk-x",
        "OpenAI-Organization": "org-abc",
        "OpenAI-Project": "proj_abc",
    }
    assert "OpenAI-Organization" not in settings().dialect().headers("sk-x")


@pytest.mark.parametrize("secret", ["whsec_a", ["whsec_a", "whsec_b"]])
def test_webhook_secrets_are_one_or_several_and_never_shown(secret: object) -> None:
    found = settings(webhook_secret=secret, api_key="sk-verysecret", admin_key="sk-admin-verysecret")
    assert found.webhook_secret is not None
    assert "whsec_a" not in repr(found)
    assert "verysecret" not in repr(found)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://eu.api.openai.com/v1/", "https://eu.api.openai.com/v1"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000/a/b//", "http://[::1]:8000/a/b"),
    ],
)
def test_a_base_url_loses_its_last_slashes(url: str, expected: str) -> None:
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
def test_what_cannot_be_right_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**fields)


def test_a_password_in_a_base_url_is_refused_without_repeating_it_in_our_words() -> None:
    with pytest.raises(ValidationError) as caught:
        settings(base_url="https://user:hunter2@example.com/v1")
    assert "hunter2" not in caught.value.errors()[0]["msg"]


def test_good_labels_are_taken() -> None:
    assert settings(labels={"team": "search", "cost_center": "42"}).labels == {"team": "search", "cost_center": "42"}


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        settings().name = "other"


def test_every_field_is_described_in_the_schema() -> None:
    fields = OpenAISettings.model_json_schema()["properties"]
    assert [name for name, field in fields.items() if not field.get("description")] == []


def test_a_provider_without_books_has_none() -> None:
    assert Organization(name="research").accounts() is None
