"""Each provider end to end, from its dialect to notifications, and that no answer leaks a key."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from ruamel.yaml import YAML

from monitor.simulator import (
    PROVIDERS,
    Ending,
    Job,
    Org,
    Pace,
    Simulation,
    Traffic,
    configuration,
    organisations,
    serve,
)
from tests.e2e.daemon import FAST, Daemon, running, until
from tests.e2e.receivers import SIGNING, Inbox, webhook
from tests.e2e.test_secrets import parts

BRISK = Pace(
    validation=(0.8, 1.0), queue=(2.0, 2.5), step=(0.1, 0.11), evaluation=(0.3, 0.4), announcement=(0.3, 0.5), steps=30
)
ENDS = {"succeeded", "failed", "cancelled"}


@dataclass(frozen=True)
class Expected:
    """What a provider reveals about a succeeded job."""

    basis: str
    usd: Callable[[Job], float | None]
    exact: bool
    """Whether it reports when the training began; otherwise the monitor uses the time at which it saw that."""
    failure: str | None = "provider"
    """The class of a failure for which the provider is responsible."""


def per_million(dollars: float) -> Callable[[Job], float | None]:
    return lambda job: job.trained_tokens * dollars / 1e6


EXPECTED = {
    "openai": Expected("computed", per_million(7), exact=True),
    "azure": Expected("computed", per_million(7), exact=True),
    "together": Expected("reported", per_million(0.48), exact=True),  # for some jobs it reports no price
    "fireworks": Expected("reported", per_million(0.5), exact=False),
    "vertex": Expected("computed", per_million(7), exact=False),
    "bedrock": Expected("unknown", lambda job: None, exact=True),
}


def prices(folder: Path, models: dict[str, str]) -> Path:
    """An operator's price table with $7 per million tokens for these providers' models."""
    file = folder / "prices.yaml"
    rows = [
        {"models": [model], "provider": provider, "methods": ["supervised", "dpo"], "confidence": "A",
         "training": [{"per_million": 7}], "source": "a contract"}
        for provider, model in models.items()
    ]  # fmt: skip
    YAML().dump({"checked": "2026-11-27", "prices": rows}, file)
    file.write_text(file.read_text().replace("'2026-11-27'", "2026-11-27"))
    return file


def settings(hook: Inbox, entry: dict[str, Any], folder: Path, models: dict[str, str]) -> dict[str, Any]:
    return {
        "organizations": [entry],
        "pricing": {"file": str(prices(folder, models))},
        "poll": FAST,
        "notifiers": [{"name": "hook", "type": "webhook", "url": hook.url, "secret": SIGNING},
                      {"name": "out", "type": "console"}],
        "routes": [{"notify": ["hook", "out"], "on": ["started", *sorted(ENDS)]}],
    }  # fmt: skip


def told(hook: Inbox, job: Job) -> list[dict[str, Any]]:
    """The announced ends of a job. A job at Bedrock is identified by its ARN."""
    jobs = (body["data"]["job"] for body in hook.bodies)
    return [told for told in jobs if told["status"] in ENDS and told["id"].rpartition("/")[2] == job.id]


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_ends_are_told_with_their_times_and_costs(provider: str, tmp_path: Path) -> None:
    simulation = Simulation(organisations(1, seed=5, providers=(provider,)), pace=BRISK, seed=5)
    [org] = simulation.orgs
    expected = EXPECTED[provider]
    async with serve(simulation) as base_url, webhook() as hook:
        model = simulation.start_job(org).spec.model
        entry = configuration(org, base_url, tmp_path)
        async with running(tmp_path, settings(hook, entry, tmp_path, {provider: model})) as daemon:
            await until(lambda: '"event":"org.first_seen"' in daemon.log)
            good, failing, stopped = (
                simulation.start_job(org, suffix="good", ending=Ending.SUCCESS),
                simulation.start_job(org, suffix="bad", ending=Ending.SERVER_ERROR),
                simulation.start_job(org, suffix="stopped", ending=Ending.SUCCESS),
            )
            await until(lambda: any(body["type"] == "finetune.job.started" for body in hook.bodies))
            simulation.cancel(org, stopped.id)
            await until(lambda: all(told(hook, job) for job in (good, failing, stopped)))
            await daemon.stop()
    for job, status in ((good, "succeeded"), (failing, "failed"), (stopped, "cancelled")):
        assert [each["status"] for each in told(hook, job)] == [status]
    [shown], truth = told(hook, good), simulation.job(org, good.id).truth
    assert truth.started_at is not None
    assert truth.finished_at is not None
    queued, ran = truth.started_at - good.created_at, truth.finished_at - truth.started_at
    early, late = (1, 1) if expected.exact else (1, 6)
    assert -early <= shown["queue_seconds"] - queued <= late
    assert -late <= shown["run_seconds"] - ran <= early
    usd = expected.usd(simulation.job(org, good.id))
    assert shown["cost"]["basis"] == expected.basis
    assert shown["cost"]["usd"] is None if usd is None else float(shown["cost"]["usd"]) == pytest.approx(usd)
    [failed] = told(hook, failing)
    assert failed["error"]["class"] == expected.failure
    assert failed["cost"] == {"usd": None, "basis": "unknown"} or float(failed["cost"]["usd"]) == 0


@pytest.mark.slow
async def test_both_ends_of_two_fireworks_jobs_with_one_id_are_told(tmp_path: Path) -> None:
    """Users choose the ids at Fireworks, and each list has its own."""
    simulation = Simulation(organisations(1, seed=5, providers=("fireworks",)), pace=BRISK, seed=5)
    [org] = simulation.orgs
    async with serve(simulation) as base_url, webhook() as hook:
        entry = configuration(org, base_url, tmp_path)
        async with running(tmp_path, settings(hook, entry, tmp_path, {})) as daemon:
            await until(lambda: '"event":"org.first_seen"' in daemon.log)
            simulation.start_job(org, name="same", ending=Ending.SUCCESS)
            simulation.start_job(org, name="same", method="dpo", ending=Ending.SERVER_ERROR)
            await until(lambda: len(ended(hook)) == 2)
            assert ended(hook) == {("same", "succeeded"), ("dpo:same", "failed")}
            shown = {job["id"]: job["provider_id"] for job in (await daemon.json("/api/v1/jobs"))["data"]}
            assert shown == {"same": "same", "dpo:same": "same"}
            await daemon.stop()


def ended(hook: Inbox) -> set[tuple[str, str]]:
    """The ids and statuses of the ended jobs that were announced."""
    jobs = (body["data"]["job"] for body in hook.bodies)
    return {(job["id"], job["status"]) for job in jobs if job["status"] in ENDS}


# Fields without which an answer cannot be parsed.
STRUCTURE = {
    "object",
    "id",
    "name",
    "state",
    "status",
    "jobArn",
    "tuningJobState",
    "has_more",
    "hash",
    "type",
    "level",
    "organization_id",
}


def parroted(value: Any, key: str, name: str = "") -> Any:
    """The value with the key appended to each text outside of its structure, and in additional fields."""
    if isinstance(value, dict):
        return {**{each: parroted(part, key, each) for each, part in value.items()}, "apiKey": key, key: key}
    if isinstance(value, list):
        return [parroted(part, key, name) for part in value]
    told = isinstance(value, str) and name not in STRUCTURE and not name.lower().endswith(("time", "_at", "token"))
    return f"{value} {key}" if told else value


def possessed(item: Any, key: str) -> Any:
    """The item with the key in place of each text."""
    if isinstance(item, dict):
        return {name: possessed(part, key) for name, part in item.items()}
    return key if isinstance(item, str) else item


def parrot(keys: set[str]) -> Callable[..., Awaitable[web.StreamResponse]]:
    """A middleware that repeats the keys wherever an answer can contain text."""

    @web.middleware
    async def repeat(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        answer = await handler(request)
        if not isinstance(answer, web.Response) or request.method != "GET" or not answer.text:
            return answer
        key = " ".join(sorted(keys))
        try:
            told = json.loads(answer.text)
        except ValueError:
            return answer
        said = parroted(told, key)
        for name, items in said.items():
            if isinstance(items, list) and items and isinstance(items[0], dict):
                said[name] = [*items, possessed(copy.deepcopy(items[0]), min(keys))]
        return web.json_response(said, status=answer.status, headers={"X-Request-Id": min(keys)})

    return repeat


def secrets_of(entry: dict[str, Any]) -> Iterator[str]:
    """The credentials in an entry of the configuration."""
    for name in ("api_key", "admin_key", "access_key_id", "secret_access_key", "session_token"):
        if name in entry:
            yield entry[name]
    if "token_file" in entry:
        yield Path(entry["token_file"]).read_text()


def stored(folder: Path) -> list[str]:
    """The files of the database."""
    return [file.read_bytes().decode("latin-1") for file in folder.glob("monitor.db*")]


async def said_by(daemon: Daemon, org: str) -> AsyncIterator[str]:
    """The text of everything that can be requested from the daemon."""
    jobs = (await daemon.json("/api/v1/jobs"))["data"]
    pages = ["/", "/metrics", "/nowhere", "/api/v1/orgs", "/api/v1/jobs", "/api/v1/deliveries", "/api/v1/models",
             "/api/v1/costs", "/api/v1/budgets"]  # fmt: skip
    for job in jobs:
        path = f"{job['org']}/{quote(job['id'], safe='')}"
        pages += [f"/jobs/{path}", f"/api/v1/jobs/{path}", f"/api/v1/jobs/{path}/events"]
    for page in pages:
        yield (await daemon.get(page))[1]
    assert org in {job["org"] for job in jobs}


@asynccontextmanager
async def careless(provider: str, tmp_path: Path) -> AsyncIterator[tuple[Daemon, Inbox, Simulation, set[str]]]:
    """The daemon at a provider that repeats its keys everywhere; the two organisations have different kinds of keys."""
    orgs = organisations(2, seed=5, providers=(provider,))
    simulation = Simulation(orgs, pace=BRISK, traffic=Traffic(history=6, in_use=1), seed=5)
    keys: set[str] = set()
    async with serve(simulation, middlewares=[parrot(keys)]) as base_url, webhook() as hook:
        entries = [configuration(org, base_url, tmp_path) for org in orgs]
        keys.update(key for entry in entries for key in secrets_of(entry))
        given = settings(hook, entries[0], tmp_path, {})
        async with running(tmp_path, {**given, "organizations": entries}) as daemon:
            yield daemon, hook, simulation, keys


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_key_in_any_field_of_any_answer_is_found_nowhere(provider: str, tmp_path: Path) -> None:
    async with careless(provider, tmp_path) as (daemon, hook, simulation, keys):
        await until(lambda: daemon.log.count('"event":"org.first_seen"') == 2)
        made = [
            simulation.start_job(org, suffix="tone", ending=ending)
            for org in simulation.orgs
            for ending in (Ending.SUCCESS, Ending.SERVER_ERROR)
        ]
        await until(lambda: all(told(hook, job) for job in made))
        said = [text async for text in said_by(daemon, simulation.orgs[0].name)]
        await daemon.stop()
        said += [daemon.log, json.dumps(hook.bodies)]
        said += stored(tmp_path)
    assert "[redacted]" in "".join(said), "it was repeated, and something was made of it"
    wandb = {each for org in simulation.orgs for each in _wandb_keys(org)}
    found = {part for secret in keys | wandb for part in parts(secret) if any(part in text for text in said)}
    assert found == set()


def _wandb_keys(org: Org) -> set[str]:
    """The keys of other accounts that an organisation's jobs at Fireworks contain."""
    from monitor.simulator.draws import derived  # noqa: PLC0415 - of no use to other tests

    return {derived(40, org.id, "wandb")} if org.provider == "fireworks" else set()
