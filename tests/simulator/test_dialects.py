"""What all dialects share: one server, one engine, controls that work for each, and separation of providers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from monitor.simulator import PROVIDERS, Org, Simulation, Traffic, configuration, organisations, serve
from tests.simulator.conftest import STEADY, HandClock

LISTS = {
    "openai": "/v1/fine_tuning/jobs?limit=100",
    "azure": "/azure/openai/v1/fine_tuning/jobs?limit=100",
    "together": "/together/v1/fine-tunes",
    "fireworks": "/fireworks/v1/accounts/{account}/supervisedFineTuningJobs",
    "vertex": "/vertex/v1beta1/projects/{account}/locations/us-central1/tuningJobs",
    "bedrock": "/bedrock/model-customization-jobs",
}
REFUSALS: dict[str, Callable[[Any], object]] = {
    "openai": lambda body: body["error"]["type"],
    "azure": lambda body: body["error"]["code"],
    "together": lambda body: body["error"]["type"],
    "fireworks": lambda body: body["code"],
    "vertex": lambda body: body["error"]["status"],
    "bedrock": sorted,
}
"""The provider-specific part of an error body."""


async def ask(address: str, org: Org, path: str) -> tuple[int, Any, Any]:
    headers = {"Authorization": f"Bearer {org.key}"}
    async with aiohttp.ClientSession() as session, session.get(address + path, headers=headers) as answer:
        return answer.status, await answer.json(), answer.headers


def one(provider: str, clock: HandClock, **asked: Any) -> tuple[Simulation, Org, str]:
    """A simulation of one organisation, and the path of its job list."""
    [org] = organisations(1, seed=1, providers=(provider,))
    return Simulation((org,), clock=clock, pace=STEADY, **asked), org, LISTS[provider].format(account=org.id)


def test_every_provider_has_its_list() -> None:
    assert set(LISTS) == set(REFUSALS) == set(PROVIDERS)


@pytest.mark.parametrize(
    ("provider", "known"),
    [
        ("openai", "requests"), ("azure", "429"), ("together", "requests"), ("fireworks", 8),
        ("vertex", "RESOURCE_EXHAUSTED"), ("bedrock", ["message"]),
    ],
)  # fmt: skip
async def test_a_rate_limit_error_has_the_providers_format(clock: HandClock, provider: str, known: object) -> None:
    simulation, org, path = one(provider, clock, requests_per_second=0.1)
    async with serve(simulation) as base_url:
        address = base_url.removesuffix("/v1")
        assert (await ask(address, org, path))[0] == 200
        status, body, headers = await ask(address, org, path)
    assert (status, REFUSALS[provider](body)) == (429, known)
    assert 1 <= int(headers["Retry-After"]) <= 10


@pytest.mark.parametrize(
    ("provider", "known"),
    [
        ("openai", "invalid_request_error"), ("azure", "ResourceNotFound"), ("together", "invalid_request_error"),
        ("fireworks", 5), ("vertex", "NOT_FOUND"), ("bedrock", ["message"]),
    ],
)  # fmt: skip
async def test_an_unknown_path_has_the_providers_error_format(clock: HandClock, provider: str, known: object) -> None:
    simulation, org, path = one(provider, clock)
    async with serve(simulation) as base_url:
        wrong = "/".join([*path.split("/")[:3], "no", "such", "thing"])
        status, body, _ = await ask(base_url.removesuffix("/v1"), org, wrong)
    assert (status, REFUSALS[provider](body)) == (404, known)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_injected_faults_affect_every_dialect(clock: HandClock, provider: str) -> None:
    @web.middleware
    async def broken(request: web.Request, handler: Handler) -> web.StreamResponse:
        return web.json_response({"broken": True}, status=503)

    simulation, org, path = one(provider, clock)
    async with serve(simulation, middlewares=[broken]) as base_url:
        assert (await ask(base_url.removesuffix("/v1"), org, path))[0] == 503


async def test_a_key_opens_nothing_at_another_provider(clock: HandClock) -> None:
    orgs = organisations(1, seed=1, providers=PROVIDERS)
    async with serve(Simulation(orgs, clock=clock)) as base_url:
        address = base_url.removesuffix("/v1")
        for org in orgs:
            for provider, path in LISTS.items():
                status, _, _ = await ask(address, org, path.format(account=org.id))
                refused = 403 if provider == "bedrock" else 401
                assert status == (200 if provider == org.provider else refused), (org.provider, provider)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_traffic_is_the_same_again_with_the_same_seed(clock: HandClock, provider: str) -> None:
    async def told() -> Any:
        simulation, org, path = one(provider, clock, traffic=Traffic(history=30, under_way=2, gap=(60, 90)), seed=3)
        clock.move(600)
        async with serve(simulation) as base_url:
            found = (await ask(base_url.removesuffix("/v1"), org, path))[1]
        clock.move(-600)
        return found

    assert await told() == await told()


def test_names_and_keys_differ_between_providers(tmp_path: Path) -> None:
    orgs = organisations(2, seed=1, providers=PROVIDERS)
    entries = [configuration(org, "http://h:1/v1", tmp_path) for org in orgs]
    assert len({entry["name"] for entry in entries}) == 12
    assert len({org.key for org in orgs}) == 12
    assert [entry["provider"] for entry in entries[::2]] == list(PROVIDERS)
