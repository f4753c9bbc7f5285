"""Error messages for invalid settings."""

from typing import Any

import pytest

from monitor.providers import OpenAISettings


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"base_url": "ftp://x/"}, "not an http or https URL"),
        ({"base_url": "https://"}, "not an http or https URL"),
        ({"base_url": "https://x:0/"}, "not an http or https URL"),
        ({"base_url": "https://x:99999/"}, "not an http or https URL"),
        ({"base_url": "https://x y/"}, "not an http or https URL"),
        ({"base_url": "https://ü/"}, "not an http or https URL"),
        ({"base_url": "https://./"}, "not an http or https URL"),
        ({"base_url": "http://..:8080/v1"}, "not an http or https URL"),
        ({"base_url": "https://x\\y/"}, "not an http or https URL"),
        ({"base_url": "https://[::1/"}, "not an http or https URL"),
        ({"base_url": "https://user@x/"}, "credentials do not belong in a URL"),
        ({"base_url": "https://:secret@x/"}, "credentials do not belong in a URL"),
        ({"base_url": "https://x/?a=b"}, "a base URL has no query and no fragment; parameters go into `query`"),
        ({"base_url": "https://x/#"}, "a base URL has no query and no fragment; parameters go into `query`"),
        ({"labels": {"org": "x"}}, "'org' is taken by the monitor's own metrics"),
        (
            {"labels": {"a-b": "x"}},
            "'a-b' is not a Prometheus label name: letters, digits and _, not starting with __",
        ),
    ],
)
def test_invalid_settings_are_reported(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=r"1 validation error") as caught:
        OpenAISettings.model_validate({"name": "a", "provider": "openai", "api_key": "k", **settings})
    assert f"Value error, {complaint} [" in str(caught.value)


def test_port_1_is_valid() -> None:
    settings = {"name": "a", "provider": "openai", "api_key": "k", "base_url": "https://x:1/v1/"}
    assert OpenAISettings.model_validate(settings).base_url == "https://x:1/v1"
