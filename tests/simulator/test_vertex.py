"""Vertex AI's dialect as Google's own packages read it, and what they hide."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google import genai
from google.auth.transport.requests import Request
from google.genai import errors, types
from google.oauth2.credentials import Credentials
from google.oauth2.service_account import Credentials as ServiceAccount

from monitor.simulator import Ending, Simulation, Traffic, configuration, organisations
from monitor.simulator.vertex import LOCATIONS, job_json, location, number, service_account
from tests.simulator.conftest import NOON, STEADY, Api, HandClock, provided

# google-genai creates a subclass of aiohttp's session, which aiohttp has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")


@pytest.fixture
async def api(clock: HandClock) -> AsyncIterator[Api]:
    async with provided("vertex", clock, "/vertex") as opened:
        yield opened


def client(api: Api, place: str) -> genai.Client:
    return genai.Client(
        vertexai=True, project=api.org.id, location=place, credentials=Credentials(api.org.key),  # type: ignore[no-untyped-call]  # google-auth has few types
        http_options=types.HttpOptions(base_url=api.base_url),
    )  # fmt: skip


def path(api: Api, place: str, rest: str = "", project: str | None = None) -> str:
    return f"/v1beta1/projects/{project or api.org.id}/locations/{place}/tuningJobs{rest}"


def start(api: Api, **asked: Any) -> tuple[str, str]:
    """Start a job. Returns its id and its path."""
    job = api.simulation.start_job(api.org, **asked)
    return job.id, location(job)


async def test_a_job_is_followed_by_the_package(api: Api, clock: HandClock) -> None:
    job_id, place = start(api, suffix="tone", metadata={"team": "labs"})
    async with client(api, place).aio as google:
        seen: list[tuple[str, str]] = []
        job = types.TuningJob()
        while not job.has_ended:
            job = await google.tunings.get(name=f"projects/{api.org.id}/locations/{place}/tuningJobs/{job_id}")
            seen.append((str(job.state.value if job.state else ""), job.tuning_job_state or ""))
            clock.move(1)
    words = [f"{a.removeprefix('JOB_STATE_')} {b.removeprefix('TUNING_JOB_STATE_')}".strip() for a, b in seen]
    details = ("PROCESSING_DATASET", "WAITING_FOR_CAPACITY", "TUNING", "POST_PROCESSING")
    assert list(dict.fromkeys(words))[1:] == [*(f"RUNNING {detail}" for detail in details), "SUCCEEDED"]
    assert words[0] in {"PENDING", "QUEUED WAITING_FOR_QUOTA"}
    assert job.start_time is not None
    assert job.end_time is not None
    created = datetime.fromtimestamp(NOON, UTC)
    assert timedelta(seconds=1) < job.start_time - created < timedelta(seconds=5)
    assert job.end_time - created == timedelta(seconds=65)
    assert (job.base_model, job.labels) == ("gemini-2.5-flash", {"team": "labs"})
    assert job.tuning_data_stats is not None
    assert job.tuning_data_stats.supervised_tuning_data_stats is not None
    assert job.tuning_data_stats.supervised_tuning_data_stats.total_billable_token_count == 4000
    assert job.tuned_model is not None
    assert [each.step for each in job.tuned_model.checkpoints or []] == [10, 20, 30]


async def test_a_list_is_of_one_location_and_continues_with_a_token(api: Api, clock: HandClock) -> None:
    made = [start(api) for _ in range(40)]
    clock.move(30)
    walked = []
    for place in LOCATIONS:
        async with client(api, place).aio as google:
            pager = await google.tunings.list(config={"page_size": 7})
            found = [str(job.name).rpartition("/")[2] async for job in pager]
            assert set(found) == {job_id for job_id, at in made if at == place}
            walked += found
    assert len(walked) == 40
    assert all(walked.count(job_id) == 1 for job_id, _ in made)


async def test_an_empty_list_is_an_empty_object(api: Api) -> None:
    assert await api.get(path(api, LOCATIONS[0])) == {}


async def test_whole_numbers_are_text_and_names_have_the_number_of_the_project(api: Api, clock: HandClock) -> None:
    job_id, place = start(api)
    clock.move(40)
    job = await api.get(path(api, place, f"/{job_id}"))
    assert job["tuningJobMetadata"] == {"completedEpochCount": "2", "completedStepCount": "25"}
    assert job["supervisedTuningSpec"]["hyperParameters"]["epochCount"] == "3"
    assert job["name"].startswith(f"projects/{number(api.org)}/")
    assert job["createTime"].endswith(".000000000Z")
    assert "error" not in job
    assert "endTime" not in job
    assert (await api.call(path(api, place, f"/{job_id}", number(api.org))))[0] == 200


@pytest.mark.parametrize(
    ("ending", "after", "code"),
    [
        pytest.param(Ending.SERVER_ERROR, "fail", 13, id="theirs"),
        pytest.param(Ending.VALIDATION, "fail", 3, id="mine"),
        pytest.param(Ending.SUCCESS, "cancel", 1, id="cancelled"),
    ],
)
async def test_an_error_is_on_failed_and_on_cancelled_jobs(
    api: Api, clock: HandClock, ending: Ending, after: str, code: int
) -> None:
    job_id, place = start(api, ending=ending)
    clock.move(20)
    if after == "cancel":
        assert (await api.call(path(api, place, f"/{job_id}:cancel"), "POST")) == (200, {})
        assert (await api.get(path(api, place, f"/{job_id}")))["state"] == "JOB_STATE_CANCELLING"
    clock.move(200)
    job = await api.get(path(api, place, f"/{job_id}"))
    assert job["state"] == ("JOB_STATE_CANCELLED" if after == "cancel" else "JOB_STATE_FAILED")
    assert job["error"]["code"] == code
    assert "tunedModel" not in job


async def test_strangers_other_projects_and_unknown_jobs_are_refused(api: Api) -> None:
    async with client(api, LOCATIONS[0]).aio as google:
        with pytest.raises(errors.ClientError, match="NOT_FOUND"):
            await google.tunings.get(name=f"projects/{api.org.id}/locations/{LOCATIONS[0]}/tuningJobs/1")
    assert (await api.call(path(api, LOCATIONS[0], project="other")))[0] == 403
    status, body = await api.call(path(api, LOCATIONS[0]), Authorization="Bearer ya29.wrong")
    assert (status, body["error"]["status"]) == (401, "UNAUTHENTICATED")
    assert (await api.call(path(api, LOCATIONS[0], "?filter=nonsense")))[0] == 400


@pytest.mark.parametrize("email", ["known", "stranger@example.com"])
async def test_a_service_account_gets_a_token(api: Api, email: str) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    told = {
        "type": "service_account",
        "client_email": service_account(api.org) if email == "known" else email,
        "private_key": pem,
        "token_uri": f"{api.base_url}/token",
    }
    account: Any = ServiceAccount.from_service_account_info(  # type: ignore[no-untyped-call]  # google-auth has few types
        told, scopes=["https://www.googleapis.com/auth/cloud-platform"]
    )
    if email != "known":
        with pytest.raises(Exception, match="invalid_grant"):
            await to_thread.run_sync(account.refresh, Request())
        return
    await to_thread.run_sync(account.refresh, Request())
    assert account.token == api.org.key


async def test_an_invalid_assertion_is_refused(api: Api) -> None:
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "a.b.c"}
    async with api.session.post(f"{api.base_url}/token", data=form) as answer:
        assert (answer.status, (await answer.json())["error"]) == (400, "invalid_grant")


def test_every_value_is_in_the_package(clock: HandClock) -> None:
    [org] = organisations(1, seed=2, providers=("vertex",))
    simulation = Simulation((org,), clock=clock, pace=STEADY, traffic=Traffic(history=120, under_way=3))
    found = [job_json(job, clock.now) for job in simulation.jobs(org)]
    assert {job["state"] for job in found} <= {each.value for each in types.JobState}
    assert {"JOB_STATE_SUCCEEDED", "JOB_STATE_PARTIALLY_SUCCEEDED"} <= {job["state"] for job in found}
    details = {job["tuningJobState"] for job in found if "tuningJobState" in job}
    assert details <= {each.value for each in types.TuningJobState}


def test_the_token_is_in_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    [org] = organisations(1, seed=1, providers=("vertex",))
    entry = configuration(org, "http://h:1/v1", tmp_path)
    file = Path(entry["token_file"])
    assert (file.read_text(), file.stat().st_mode & 0o777) == (org.key, 0o600)
    assert json.loads(json.dumps(entry))["locations"] == list(LOCATIONS)
