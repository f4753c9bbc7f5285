"""Azure's dialect as the official package reads it, at both kinds of address."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI

from monitor.simulator import Ending, Org, Simulation, configuration, organisations, serve
from monitor.simulator.azure import API_VERSION, entra
from tests.simulator.conftest import NOON, STEADY, HandClock

JOBS = "/fine_tuning/jobs"


@pytest.fixture
def simulation(clock: HandClock) -> Simulation:
    return Simulation(organisations(2, seed=1, providers=("azure",)), clock=clock, pace=STEADY)


@pytest.fixture
async def address(simulation: Simulation) -> AsyncIterator[str]:
    async with serve(simulation) as base_url:
        yield base_url.removesuffix("/v1")


@pytest.fixture
async def v1(simulation: Simulation, address: str) -> AsyncIterator[AsyncOpenAI]:
    key = simulation.orgs[0].key
    async with AsyncOpenAI(api_key=key, base_url=f"{address}/azure/openai/v1", max_retries=0) as api:
        yield api


@pytest.fixture
async def dated(simulation: Simulation, address: str) -> AsyncIterator[AsyncAzureOpenAI]:
    async with AsyncAzureOpenAI(
        api_key=simulation.orgs[0].key, api_version=API_VERSION, azure_endpoint=f"{address}/azure", max_retries=0
    ) as api:
        yield api


def one(simulation: Simulation, **asked: Any) -> str:
    return simulation.start_job(simulation.orgs[0], **asked).id


async def test_a_job_is_read_at_both_addresses(
    simulation: Simulation, v1: AsyncOpenAI, dated: AsyncAzureOpenAI, clock: HandClock
) -> None:
    job_id = one(simulation, suffix="tone")
    clock.move(100)
    for api in (v1, dated):
        [job] = [each async for each in api.fine_tuning.jobs.list()]
        seen: Any = (job.id, job.status, job.trained_tokens, job.error, job.organization_id)
        assert seen == (job_id, "succeeded", 12000, None, None)
        assert job.fine_tuned_model is not None
        assert job.fine_tuned_model.startswith("gpt-4o-mini-2024-07-18.ft-")
        assert job.fine_tuned_model.endswith("-tone")
        events = [each async for each in api.fine_tuning.jobs.list_events(job_id, limit=7)]
        assert events[0].message == "Job succeeded."
        assert {"Job enqueued. Waiting for jobs ahead to complete.", "Training started."} <= {e.message for e in events}
        assert len({each.id for each in events}) == len(events) > 30


async def test_a_job_has_no_files_of_results_until_it_has_some(
    simulation: Simulation, v1: AsyncOpenAI, clock: HandClock
) -> None:
    job_id = one(simulation)
    assert (await v1.fine_tuning.jobs.retrieve(job_id)).result_files is None
    clock.move(100)
    assert (await v1.fine_tuning.jobs.retrieve(job_id)).result_files


async def test_the_same_moment_has_the_words_of_each_address(
    simulation: Simulation, v1: AsyncOpenAI, dated: AsyncAzureOpenAI, clock: HandClock
) -> None:
    for _ in range(30):
        one(simulation)

    async def words(api: AsyncOpenAI) -> set[str]:
        return {str(job.status) async for job in api.fine_tuning.jobs.list()}

    assert await words(v1) == {"validating_files", "creating", "pending"}
    assert await words(dated) == {"pending"}
    clock.move(6)
    assert await words(v1) == {"queued", "pending"}
    assert await words(dated) == {"pending", "notRunning"}
    clock.move(20)
    assert await words(v1) == await words(dated) == {"running"}


async def test_pausing_resuming_and_cancelling_take_a_moment(
    simulation: Simulation, v1: AsyncOpenAI, clock: HandClock
) -> None:
    job_id, jobs = one(simulation), v1.fine_tuning.jobs
    clock.move(20)
    seen = [str((await jobs.pause(job_id)).status)]
    clock.move(5)
    seen += [str((await jobs.retrieve(job_id)).status), str((await jobs.resume(job_id)).status)]
    clock.move(12)
    seen.append((await jobs.retrieve(job_id)).status)
    seen.append(str((await jobs.cancel(job_id)).status))
    clock.move(60)
    last = await jobs.retrieve(job_id)
    assert seen[:4] == ["pausing", "paused", "resuming", "running"]
    assert seen[4] in {"cancelling", "canceling"}
    assert (last.status, last.finished_at) == (
        "cancelled",
        simulation.job(simulation.orgs[0], job_id).truth.finished_at,
    )
    assert last.finished_at is not None
    assert last.finished_at > NOON + 37
    newest = (await jobs.list_events(job_id)).data[0]
    assert str(newest.level) == "warning"


async def test_a_failed_job_says_why(simulation: Simulation, v1: AsyncOpenAI, clock: HandClock) -> None:
    job_id = one(simulation, ending=Ending.MODERATION)
    clock.move(100)
    job = await v1.fine_tuning.jobs.retrieve(job_id)
    assert job.error is not None
    assert (job.status, job.error.code) == ("failed", "unsafe_file")


async def test_checkpoints_are_paged_by_ids_of_azures_own(
    simulation: Simulation, v1: AsyncOpenAI, clock: HandClock
) -> None:
    job_id = one(simulation)
    clock.move(100)
    walked = [each.id async for each in v1.fine_tuning.jobs.checkpoints.list(job_id, limit=1)]
    assert len(set(walked)) == len(walked) == 3
    assert all(each.startswith("ftchkpt-") for each in walked)


async def test_a_tuned_model_is_tuned_further(simulation: Simulation, v1: AsyncOpenAI, clock: HandClock) -> None:
    one(simulation, suffix="team")
    clock.move(100)
    [model] = [job.fine_tuned_model async for job in v1.fine_tuning.jobs.list()]
    again = await v1.fine_tuning.jobs.retrieve(one(simulation, model=model, suffix="team"))
    assert again.model == model
    clock.move(100)
    made = (await v1.fine_tuning.jobs.retrieve(again.id)).fine_tuned_model
    assert made is not None
    assert made.startswith("gpt-4o-mini-2024-07-18.ft-")
    assert made != model


async def test_models_end_on_a_day_or_at_a_moment(
    simulation: Simulation, v1: AsyncOpenAI, dated: AsyncAzureOpenAI
) -> None:
    day = await v1.models.retrieve("gpt-4.1-2025-04-14")
    moment = await dated.models.retrieve("gpt-4.1-2025-04-14")
    assert day.to_dict()["shutdown_date"] == "2027-01-14"
    ends: Any = moment.to_dict()["deprecation"]
    assert ends["inference"] == 1_799_884_800


Headers = Callable[[Org], dict[str, str]]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        pytest.param("/openai/v1" + JOBS, lambda org: {"api-key": org.key}, 200, id="v1, api-key"),
        pytest.param("/openai/v1" + JOBS, lambda org: {"Authorization": f"Bearer {org.key}"}, 200, id="v1, bearer"),
        pytest.param("/api/projects/p/openai/v1" + JOBS, lambda org: {"api-key": org.key}, 200, id="of a project"),
        pytest.param("/openai/v1" + JOBS, lambda org: {"api-key": "no"}, 401, id="v1, a wrong key"),
        pytest.param("/openai/v1" + JOBS, lambda _: {}, 401, id="v1, nothing"),
        pytest.param(f"/openai{JOBS}?api-version=1", lambda org: {"api-key": org.key}, 200, id="dated, api-key"),
        pytest.param(
            f"/openai{JOBS}?api-version=1", lambda org: {"Authorization": f"Bearer {org.key}"}, 401, id="dated, bearer"
        ),
        pytest.param("/openai" + JOBS, lambda org: {"api-key": org.key}, 404, id="dated without its date"),
    ],
)
async def test_authentication(
    simulation: Simulation, session: aiohttp.ClientSession, address: str, path: str, headers: Headers, status: int
) -> None:
    async with session.get(f"{address}/azure{path}", headers=headers(simulation.orgs[0])) as answer:
        body = await answer.json()
    assert answer.status == status
    assert ("error" in body) == (status != 200)


@pytest.mark.parametrize("place", ["/openai/v1" + JOBS, f"/openai{JOBS}?api-version=1"])
async def test_an_application_of_entra_gets_a_token(
    simulation: Simulation, session: aiohttp.ClientSession, address: str, place: str
) -> None:
    known = entra(simulation.orgs[1])
    url = f"{address}/azure/{known['tenant_id']}/oauth2/v2.0/token"
    async with session.post(url, data={"grant_type": "client_credentials", **known}) as answer:
        token = (await answer.json())["access_token"]
    async with session.get(f"{address}/azure{place}", headers={"Authorization": f"Bearer {token}"}) as answer:
        assert answer.status == 200
    async with session.post(url, data={**known, "client_secret": "guessed"}) as answer:
        assert answer.status == 401


async def test_errors_have_an_inner_error_and_the_package_parses_them(v1: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        await v1.fine_tuning.jobs.list(limit=0)
    assert bad.value.body == {
        "code": "BadRequest",
        "message": "Invalid 'limit': integer below minimum value. Expected a value >= 1, but got 0 instead.",
        "param": "limit",
        "type": "invalid_request_error",
        "innererror": {"code": "integer_below_min_value"},
    }
    with pytest.raises(openai.NotFoundError, match="Could not find fine tune"):
        await v1.fine_tuning.jobs.retrieve("ftjob-none")


def test_a_configuration_has_one_kind_of_address(simulation: Simulation, tmp_path: Path) -> None:
    first, second = (configuration(org, "http://h:1/v1", tmp_path) for org in simulation.orgs)
    assert first["base_url"] == "http://h:1/azure/openai/v1"
    assert (second["endpoint"], second["api_version"]) == ("http://h:1/azure", API_VERSION)
    assert "base_url" not in second
