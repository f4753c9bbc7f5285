"""Two organisations that are one account in other words: each would be counted twice."""

from __future__ import annotations

import pytest

from tests.config.conftest import Folder

BOTH = """organizations:
  - {{name: a, provider: {0}, {1}}}
  - {{name: b, provider: {0}, {2}}}
"""


@pytest.mark.fault("P10")
@pytest.mark.parametrize(
    ("provider", "first", "second"),
    [
        pytest.param("openai", "api_key: k1", "api_key: k1", id="the same"),
        pytest.param("openai", "api_key: k1", "api_key: k1, base_url: 'https://API.OpenAI.com/v1'", id="in capitals"),
        pytest.param("openai", "api_key: k1", "api_key: k1, base_url: 'https://api.openai.com:443/v1/'", id="its port"),
        pytest.param("openai", "api_key: k1", "api_key: k1, base_url: 'https://api.openai.com./v1'", id="a dot"),
        pytest.param("openai", "api_key: k1", "api_key: k1, base_url: 'https://api.openai.com//v1'", id="slashes"),
        pytest.param(
            "azure",
            "api_key: k1, base_url: 'https://r.openai.azure.com/openai/v1'",
            "api_key: k1, endpoint: 'https://r.openai.azure.com', api_version: 2024-10-21",
            id="both addresses of a resource",
        ),
        pytest.param("bedrock", "api_key: k1, region: us-east-1", "api_key: k1, region: us-east-1", id="a region"),
    ],
)
def test_the_same_account_is_refused_however_it_is_spelt(
    folder: Folder, provider: str, first: str, second: str
) -> None:
    folder.write(BOTH.format(provider, first, second))
    assert folder.problems() == ["3:5 organizations.1: has the same key, address and project as organizations.0"]


R1 = "https://r.openai.azure.com/openai/v1"
PROJECT = "https://r.services.ai.azure.com/api/projects/%s/openai/v1"


@pytest.mark.fault("P10", "G24")
@pytest.mark.parametrize(
    ("provider", "first", "second"),
    [
        pytest.param("azure", f"api_key: k1, base_url: '{R1}'", f"api_key: k2, base_url: '{R1}'", id="its second key"),
        pytest.param(
            "azure",
            f"api_key: k1, base_url: '{R1}'",
            "token_file: /t, endpoint: 'https://R.cognitiveservices.azure.com', api_version: 2024-10-21",
            id="another name of its host",
        ),
        pytest.param(
            "azure",
            f"api_key: k1, base_url: '{PROJECT % 'p'}'",
            f"api_key: k2, base_url: '{PROJECT % 'p'}/'",
            id="a project of Foundry",
        ),
        pytest.param(
            "vertex",
            "token_file: /t1, project: p, locations: [us-central1]",
            "metadata: true, project: p, locations: [europe-west4, us-central1]",
            id="a location in common",
        ),
        pytest.param("fireworks", "api_key: k1, account: a", "api_key: k2, account: a", id="an account"),
    ],
)
def test_addresses_of_the_same_jobs_are_refused_whatever_the_keys_are(
    folder: Folder, provider: str, first: str, second: str
) -> None:
    folder.write(BOTH.format(provider, first, second))
    [problem] = [problem for problem in folder.problems() if "file" not in problem]
    assert problem == "3:5 organizations.1: lists the same jobs as organizations.0, whatever its key is"


@pytest.mark.parametrize(
    ("provider", "first", "second"),
    [
        pytest.param("openai", "api_key: k1", "api_key: k2", id="another key"),
        pytest.param(
            "azure",
            f"api_key: k1, base_url: '{PROJECT % 'p'}'",
            f"api_key: k2, base_url: '{PROJECT % 'q'}'",
            id="two projects of Foundry",
        ),
        pytest.param(
            "azure",
            "api_key: k1, base_url: 'https://gateway.example/openai/v1'",
            "api_key: k2, base_url: 'https://gateway.example/openai/v1'",
            id="a gateway, which decides by the key",
        ),
        pytest.param(
            "vertex",
            "metadata: true, project: p, locations: [us-central1]",
            "metadata: true, project: p, locations: [europe-west4]",
            id="another location",
        ),
        pytest.param("openai", "api_key: k1, project: p1", "api_key: k1, project: p2", id="another project"),
        pytest.param("openai", "api_key: k1", "api_key: k1, base_url: 'https://x.example/v1'", id="another server"),
        pytest.param("fireworks", "api_key: k1, account: a1", "api_key: k1, account: a2", id="another account"),
        pytest.param("bedrock", "api_key: k1, region: us-east-1", "api_key: k1, region: us-west-2", id="a region more"),
        pytest.param(
            "openai",
            "api_key: k1, admin_key: ad, project: p1",
            "api_key: k2, admin_key: ad, project: p2",
            id="one admin key for two projects that are named",
        ),
    ],
)
def test_two_accounts_are_two(folder: Folder, provider: str, first: str, second: str) -> None:
    folder.write(BOTH.format(provider, first, second))
    assert len(folder.load().organizations) == 2


@pytest.mark.fault("P10")
def test_one_admin_key_for_projects_that_are_not_named_would_count_the_bill_twice(folder: Folder) -> None:
    folder.write(BOTH.format("openai", "api_key: k1, admin_key: ad", "api_key: k2, admin_key: ad, project: p2"))
    [problem] = folder.problems()
    assert "organizations.1.admin_key: has the same admin key as organizations.0" in problem
    assert "name the `project` of each" in problem


HOSTING = "hosting: {subscription_id: s, resource_group: g, account: %s, token_file: /t}"


def test_the_hosting_of_one_resource_is_that_of_one_organisation(folder: Folder) -> None:
    first, second = (f"api_key: k{n}, base_url: 'https://r{n}.openai.azure.com/openai/v1', " for n in (1, 2))
    folder.write(BOTH.format("azure", first + HOSTING % "r", second + HOSTING % "R"))
    [problem] = folder.problems()
    assert "organizations.1.hosting: is the same resource as that of organizations.0" in problem
    folder.write(BOTH.format("azure", first + HOSTING % "r1", second + HOSTING % "r2"))
    assert len(folder.load().organizations) == 2


@pytest.mark.fault("P20")
@pytest.mark.parametrize("piece", ["sUPD8ILPZIo2LaLaSw", "AbCdEfGhIjKlMnOp", "a1b2c3", "sk-Proj", "xoxb-12-ab"])
def test_a_piece_of_a_secret_that_became_a_key_is_not_shown(folder: Folder, piece: str) -> None:
    folder.write(f"organizations: [{{name: a, provider: openai, api_key: k1}}]\n{piece}: 1\n")
    [problem] = folder.problems()
    assert piece not in problem
    assert problem.startswith("2:1 ?: unknown key")


@pytest.mark.parametrize(
    ("pricing", "like"),
    [
        ("{org: a, like: openai}", "openai"),
        ("[{org: a, like: openai}]", "openai"),
        ("{sellers: [{org: [b], like: azure}, {org: [a], like: openai}]}", "openai"),
        ("{}", None),
    ],
)
def test_whose_prices_hold_can_be_said(folder: Folder, pricing: str, like: str | None) -> None:
    folder.write(f"organizations: [{{name: a, provider: openai, api_key: k1}}]\npricing: {pricing}\n")
    assert folder.load().pricing.like_of("a") == like
