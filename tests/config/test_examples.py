"""The configurations that are shipped as examples load without a warning, and validate against the shipped schema."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # it comes without stubs

from monitor.config import Settings, examine, load, schema
from monitor.config.yaml import parse
from tests.faults.certificates import SERVER

FOLDER = Path(__file__).parents[2] / "config"
EXAMPLES = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "prices.yaml")
ENVIRON = {
    "OPENAI_KEY": "sk-test-0123456789",
    "HOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "OLD_HOOK_SECRET": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "MATTERMOST_HOOK": "abcdefgh",
}
SECRETS = {
    "search": "sk-search-0123",
    "search-staging": "sk-staging-0123",
    "support": "sk-support-0123",
    "research": "sk-research-0123",
    "research-admin": "sk-admin-0123",
    "teams": "https://prod-1.westeurope.logic.azure.com/workflows/x?sig=abc",
    "discord": "https://discord.com/api/webhooks/1/abc",
    "pagerduty": "R0123456789abcdef",
    "smtp": "correct-horse-battery",
    "research-webhook": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "gateway": "sk-gateway-0123",
    "search-hook": "https://hooks.slack.com/services/T0/B0/search",
    "support-hook": "https://hooks.slack.com/services/T0/B0/support",
    "slack-hook": "https://hooks.slack.com/services/T0/B0/any",
    "slack-token": "xoxb-0123",
    "ops": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}
VALIDATOR = Draft202012Validator(schema())


def beside(example: Path, folder: Path) -> Path:
    """The example with its secrets, and whatever else it names, in a folder of its own."""
    for name, text in SECRETS.items():
        file = folder / name
        file.write_text(f"{text}\n", encoding="utf-8")
        file.chmod(0o600)
    copy = folder / example.name
    copy.write_text(example.read_text("utf-8").replace("/run/secrets/", f"{folder}/"), encoding="utf-8")
    (folder / "prices.yaml").write_bytes((FOLDER / "prices.yaml").read_bytes())
    (folder / "tls.crt").write_bytes(SERVER.cert.read_bytes())
    (folder / "tls.key").write_bytes(SERVER.key.read_bytes())
    web = (FOLDER / "web.yml").read_text("utf-8").replace("/run/secrets/", f"{folder}/")
    (folder / "web.yml").write_text(web, encoding="utf-8")
    return copy


def test_there_is_an_example_for_each_case() -> None:
    names = {"example", "full", "gateway", "many-organisations", "slack", "tls", "webhooks"}
    assert {path.stem for path in EXAMPLES} == names


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_loads_without_a_warning(example: Path, tmp_path: Path) -> None:
    settings, warnings = examine(beside(example, tmp_path), ENVIRON)
    assert settings.organizations
    assert [str(warning) for warning in warnings] == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_validates_against_the_schema(example: Path) -> None:
    tree = parse(example.read_bytes(), lambda text: text).tree
    assert [error.message for error in VALIDATOR.iter_errors(tree)] == []


def test_the_full_example_shows_every_key(tmp_path: Path) -> None:
    tree = parse((FOLDER / "full.yaml").read_bytes(), lambda text: text).tree
    assert set(tree) == set(Settings.model_fields)
    for key in ("poll", "stall", "store", "server", "delivery", "metrics", "pricing", "log"):
        field = Settings.model_fields[key].annotation
        assert field is not None
        alternatives = {name for name in field.model_fields if name.removesuffix("_file") in tree[key].keys() - {name}}
        assert set(tree[key]) == set(field.model_fields) - alternatives, key


def test_the_full_example_shows_the_defaults(tmp_path: Path) -> None:
    full, least = (load(beside(FOLDER / name, tmp_path), ENVIRON) for name in ("full.yaml", "example.yaml"))
    for key in ("poll", "stall", "store", "server", "delivery", "metrics", "log"):
        assert getattr(full, key) == getattr(least, key), key


def test_the_schema_is_a_schema_with_a_sentence_for_each_of_our_keys() -> None:
    found = schema()
    Draft202012Validator.check_schema(found)
    assert VALIDATOR.is_valid(found["examples"][0])
    for name in (
        "PollSettings",
        "StallSettings",
        "Store",
        "ServerSettings",
        "DeliverySettings",
        "MetricsSettings",
        "OpenAISettings",
        "AzureSettings",
        "RouteSettings",
        "WindowSettings",
        "JobMatch",
        "BudgetSettings",
        "Log",
    ):
        for key, described in found["$defs"][name]["properties"].items():
            assert described.get("description"), (name, key)
    assert found["$defs"]["PollSettings"]["properties"]["interval"]["default"] == "30s"
    assert found["$defs"]["ServerSettings"]["properties"]["listen"]["default"] == "127.0.0.1:10877"


ORGANIZATION = {"name": "a", "provider": "openai", "api_key": "sk-0"}


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param({}, id="no organisations"),
        pytest.param({"organizations": [ORGANIZATION], "polls": {}}, id="an unknown key"),
        pytest.param({"organizations": [{**ORGANIZATION, "api_ky": "x"}]}, id="an unknown key inside"),
        pytest.param({"organizations": [{"name": "a", "provider": "openai"}]}, id="no secret"),
        pytest.param({"organizations": [{**ORGANIZATION, "api_key_file": "x"}]}, id="a secret given in both ways"),
        pytest.param({"organizations": [ORGANIZATION], "poll": {"interval": 30}}, id="a duration without a unit"),
        pytest.param(
            {"organizations": [ORGANIZATION], "routes": [{"notify": "a", "on": "done"}]}, id="an unknown word"
        ),
    ],
)
def test_the_schema_refuses_what_the_program_refuses(tree: Mapping[str, Any]) -> None:
    assert not VALIDATOR.is_valid(tree)


def test_the_schema_takes_one_word_for_a_list_of_one() -> None:
    assert VALIDATOR.is_valid({"organizations": [ORGANIZATION], "routes": [{"notify": "a", "on": "failed"}]})
