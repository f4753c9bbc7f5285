"""How a request proves who asks: headers, parameters, tokens that are exchanged, and waits that a key shares."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from monitor.app.build import source as built
from monitor.clock import SystemClock
from monitor.config import settings_from
from monitor.providers.base import AuthFailed, RateLimited
from monitor.secret import Redactor, Secret, is_secret
from monitor.simulator import Simulation, organisations, serve
from monitor.simulator.azure import entra
from monitor.simulator.vertex import service_account
from monitor.source import Source, Transport, transport
from tests.simulator.conftest import STEADY
from tests.source.servers import KEY, Api, answering, asking, job, refusal, serving, source


def organised(entry: dict[str, Any], way: Transport) -> Source:
    settings = settings_from({"organizations": [{"name": "research", **entry}]})
    redactor = Redactor()
    return built(settings, settings.organizations[0], transport=way, clock=SystemClock(), redactor=redactor)


async def test_headers_and_parameters_of_the_configuration_go_with_every_request(tmp_path: Path) -> None:
    lines = tmp_path / "headers"
    lines.write_text("X-Gateway-Key: verysecret1234567\n\nX-Team: search \n")
    lines.chmod(0o600)
    api = Api()
    async with serving(api) as url, transport() as way:
        entry = {
            "provider": "openai", "base_url": url, "api_key": KEY, "headers": {"X-Scope": "fine-tuning"},
            "headers_file": str(lines), "query": {"tenant": "a b&c"},
        }  # fmt: skip
        of = organised(entry, way)
        await of.check()
        lines.write_text("X-Team: sales")
        await of.check()
        assert of.client.redact("verysecret1234567 fine-tuning search") == "[redacted] fine-tuning search"
    first, second = api.headers
    assert (first["X-Scope"], first["X-Gateway-Key"], first["X-Team"]) == ("fine-tuning", "verysecret1234567", "search")
    assert (second["X-Team"], "X-Gateway-Key" in second) == ("sales", False)


@pytest.mark.parametrize("text", ["no colon", "X Y: z", "X-Y:", "X-Ключ: z", "X-Y: a\x00b"])
async def test_a_file_of_headers_that_is_none_goes_nowhere(text: str, tmp_path: Path) -> None:
    lines = tmp_path / "headers"
    lines.write_text(text)
    api = Api()
    async with serving(api) as url, asking(url, header_lines=Secret(path=lines)) as asked:
        with pytest.raises(AuthFailed, match="Name: value"):
            await asked.source.check()
    assert api.asked == []


@pytest.mark.fault("P25")
@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("X-Scope", "fine-tuning", False), ("X-Team", "search-and-ranking", False), ("Accept-Language", "en", False),
        ("Authorization", "x", True), ("X-Api-Key", "short", True), ("Cookie", "a=b", True),
        ("X-Anything", "9f8e7d6c5b4a3210", True), ("x-tenant", "4711", False),
    ],
)  # fmt: skip
def test_words_of_the_configuration_are_no_secrets(name: str, value: str, secret: bool) -> None:
    assert is_secret(name, value) is secret


async def test_entra_is_asked_for_a_token_once_and_again_when_it_is_refused() -> None:
    simulation = Simulation(organisations(1, seed=1, providers=("azure",)), pace=STEADY)
    [org] = simulation.orgs
    async with serve(simulation) as base_url, transport() as way:
        address = base_url.removesuffix("/v1") + "/azure"
        entry = {"provider": "azure", "base_url": f"{address}/openai/v1", "entra": {**entra(org), "authority": address}}
        of = organised(entry, way)
        await of.check()
        text, until = of.client._token.text, of.client._token.until
        await of.check()
        assert (of.client._token.text, of.client._token.until) == (text, until)
        assert 3000 < until - SystemClock().monotonic() < 3599, "it is replaced before it ends"
        assert of.client.redact(f"said {text}") == "said [redacted]"
        of.client._token.text = "eyJ.taken.back"
        with pytest.raises(AuthFailed):
            await of.check()
        await of.check()
        wrong = {**entry, "entra": {**entry["entra"], "client_secret": "x" * 20}}  # type: ignore[dict-item]  # a mapping
        with pytest.raises(AuthFailed, match="no access token"):
            await organised(wrong, way).check()


async def test_a_service_account_is_asked_for_a_token(tmp_path: Path) -> None:
    simulation = Simulation(organisations(1, seed=1, providers=("vertex",)), pace=STEADY)
    [org] = simulation.orgs
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    async with serve(simulation) as base_url, transport() as way:
        address = base_url.removesuffix("/v1") + "/vertex"
        file = tmp_path / "sa.json"
        document = {"client_email": service_account(org), "private_key": pem, "token_uri": f"{address}/token"}
        file.write_text(json.dumps(document))
        file.chmod(0o600)
        entry = {
            "provider": "vertex", "base_url": address, "project": org.id, "locations": ["us-central1"],
            "credentials_file": str(file),
        }  # fmt: skip
        of = organised(entry, way)
        await of.check()
        line = pem.splitlines()[5]
        assert of.client.redact(f"said {line}") == "said [redacted]"
        assert of.client.redact(f"at {address}/token") == f"at {address}/token"


async def test_a_wait_holds_for_all_that_use_the_key_and_for_nobody_else() -> None:
    api = Api(faults={"jobs": answering(lambda: refusal(429, Retry_After="30"))})
    async with serving(api) as url, transport() as way:
        one, same = (source(url, transport=way, org=org).source for org in ("a", "b"))
        other = source(url, transport=way, org="c", secret=Secret("sk-other-0123456789")).source
        with pytest.raises(RateLimited) as first:
            await one.check()
        assert first.value.retry_after == 30
        for waiting in (one, same):
            with pytest.raises(RateLimited, match="asked for a pause") as later:
                await waiting.check()
            assert later.value.retry_after is not None
            assert 29 < later.value.retry_after <= 30
        assert len(api.asked) == 1
        api.faults.clear()
        await other.check()
        way.waits.update(dict.fromkeys(way.waits, -math.inf))
        await one.check()
    assert len(api.asked) == 3


@pytest.mark.fault("P5")
async def test_every_secret_of_the_program_is_masked_in_what_is_seen() -> None:
    redactor = Redactor()
    others = [
        "sk-admin-0Q9w8E7r6T5y4U3i2O1p",
        "https://hooks.example.com/services/T000/B000/XyZ123456789abc",
        "whsec_c2VjcmV0",
    ]
    redactor.add(others)
    told = "admin 0Q9w8E7r6T5y, hook XyZ123456789abc, signing whsec_c2VjcmV0"
    api = Api(jobs=[job("ftjob-1", metadata={"note": told}, user_provided_suffix=told)])
    async with serving(api) as url, asking(url, redact=redactor) as asked:
        await asked.source.check()
        page = await asked.source.client.page(
            asked.source.provider.jobs[0].pages.first, asked.source.provider.jobs[0].pages.read
        )
    [seen] = page.items
    masked = "admin [redacted], hook [redacted], signing [redacted]"
    assert (seen.name, seen.metadata) == (masked, {"note": masked})


async def test_what_is_left_out_is_counted_each_time_it_is_read() -> None:
    skipped: list[tuple[str, int]] = []
    api = Api(jobs=[job("ftjob-1"), job("..", trained_tokens="many"), job("ftjob-2", trained_tokens="many")])
    async with serving(api) as url, asking(url, skip=lambda reason, items: skipped.append((reason, items))) as asked:
        await asked.source.check()
    assert skipped == [("bad_figure", 1), ("bad_id", 1)]


async def test_a_post_is_made_where_a_call_says_so() -> None:
    said: list[tuple[str, bytes]] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        said.append((request.method, await request.read()))
        return web.json_response({"data": []})

    async with serving(answer) as url, asking(url) as asked:
        pages = asked.source.provider.jobs[0].pages
        await asked.source.client.page(replace(pages.first, method="POST", body=b"{}"), pages.read)
    assert said == [("POST", b"{}")]
