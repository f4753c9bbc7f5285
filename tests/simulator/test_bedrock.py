"""Bedrock's dialect as boto3 reads it, and authentication."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import boto3
import pytest
from anyio import to_thread
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import get_session

from monitor.simulator import Ending, Simulation, Traffic, configuration, organisations
from monitor.simulator.bedrock import REGION, access_key, details, job_arn, job_name, summary
from tests.simulator.conftest import NOON, STEADY, Api, HandClock, provided


@pytest.fixture
async def api(clock: HandClock) -> AsyncIterator[Api]:
    async with provided("bedrock", clock, "/bedrock") as opened:
        yield opened


Ask = Callable[..., Any]


def boto(api: Api, secret: str | None = None) -> Ask:
    """Call an operation of the real client in a thread, by default with the organisation's access key."""
    key_id, own = access_key(api.org)
    client = boto3.client(
        "bedrock", region_name=REGION, endpoint_url=api.base_url, aws_access_key_id=key_id,
        aws_secret_access_key=secret or own, config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip

    async def ask(operation: str, **asked: Any) -> Any:
        return await to_thread.run_sync(partial(getattr(client, operation), **asked))

    return ask


async def test_a_job_is_in_progress_until_its_end_and_phases_show_the_progress(api: Api, clock: HandClock) -> None:
    api.start(suffix="tone")
    [job] = api.simulation.jobs(api.org)
    ask, seen = boto(api), list[tuple[str, ...]]()
    for moment in (1, 6, 20, 50, 66):
        clock.now = NOON + moment
        shown = await ask("get_model_customization_job", jobIdentifier=job_arn(job))
        phases = shown["statusDetails"]
        names = ("validationDetails", "dataProcessingDetails", "trainingDetails")
        seen.append((shown["status"], *(phases[name]["status"] for name in names)))
    assert seen == [
        ("InProgress", "InProgress", "NotStarted", "NotStarted"),
        ("InProgress", "Completed", "InProgress", "NotStarted"),
        ("InProgress", "Completed", "Completed", "InProgress"),
        ("InProgress", "Completed", "Completed", "Completed"),
        ("Completed", "Completed", "Completed", "Completed"),
    ]
    created = datetime.fromtimestamp(NOON, UTC)
    assert phases["trainingDetails"]["creationTime"] - created == timedelta(seconds=15)
    assert shown["endTime"] - created == timedelta(seconds=65)
    assert shown["hyperParameters"] == {"epochCount": "3", "batchSize": "1", "learningRate": "0.00001"}
    assert shown["trainingMetrics"]["trainingLoss"] > 0
    assert shown["outputModelArn"].startswith(f"arn:aws:bedrock:us-east-1:{api.org.id}:custom-model/amazon.nova")
    by_name = await ask("get_model_customization_job", jobIdentifier=job_name(job))
    assert by_name["jobArn"] == job_arn(job)


async def test_the_list_continues_with_a_token_that_is_signed(api: Api, clock: HandClock) -> None:
    made = []
    for _ in range(25):
        api.start()
        made.append(job_arn(api.simulation.jobs(api.org)[0]))
        clock.move(1)
    ask, walked, token = boto(api), list[str](), dict[str, str]()
    while not walked or token:
        page = await ask(
            "list_model_customization_jobs", maxResults=10, sortBy="CreationTime", sortOrder="Descending", **token
        )
        walked += [each["jobArn"] for each in page["modelCustomizationJobSummaries"]]
        token = {"nextToken": page["nextToken"]} if "nextToken" in page else {}
    assert walked == made[::-1]
    late = await ask("list_model_customization_jobs", creationTimeAfter=datetime.fromtimestamp(NOON + 20, UTC))
    assert len(late["modelCustomizationJobSummaries"]) == 4
    none = await ask("list_model_customization_jobs", statusEquals="Failed")
    assert none["modelCustomizationJobSummaries"] == []


async def test_a_job_is_stopped(api: Api, clock: HandClock) -> None:
    api.start()
    [job] = api.simulation.jobs(api.org)
    ask, seen = boto(api), list[Any]()
    clock.move(20)
    await ask("stop_model_customization_job", jobIdentifier=job_arn(job))
    for seconds in (0, 60):
        clock.move(seconds)
        shown = await ask("get_model_customization_job", jobIdentifier=job_arn(job))
        seen.append((shown["status"], shown["statusDetails"]["trainingDetails"]["status"]))
    assert seen == [("Stopping", "Stopping"), ("Stopped", "Stopped")]


async def test_a_failed_job_has_a_message(api: Api, clock: HandClock) -> None:
    api.start(ending=Ending.VALIDATION)
    [job] = api.simulation.jobs(api.org)
    clock.move(100)
    shown = await boto(api)("get_model_customization_job", jobIdentifier=job_arn(job))
    assert (shown["status"], shown["statusDetails"]["validationDetails"]["status"]) == ("Failed", "Failed")
    assert "Invalid file format" in shown["failureMessage"]


def test_some_jobs_in_progress_have_an_end_and_a_failure_already(clock: HandClock) -> None:
    [org] = organisations(1, seed=1, providers=("bedrock",))
    simulation = Simulation((org,), clock=clock, pace=STEADY)
    jobs = [simulation.start_job(org) for _ in range(30)]
    clock.move(20)
    early = [shown for job in jobs if "endTime" in (shown := details(job, clock.now))]
    assert 3 < len(early) < 20
    assert {shown["status"] for shown in early} == {"InProgress"}
    assert {shown["failureMessage"] for shown in early} == {"Failure Message"}


@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [
        pytest.param({}, 200, None, id="the API key as bearer"),
        pytest.param({"Authorization": "Bearer ABSKwrong"}, 403, "AccessDeniedException", id="a wrong key"),
        pytest.param({"Authorization": ""}, 403, "MissingAuthenticationTokenException", id="nothing"),
        pytest.param(
            {"Authorization": "AWS4-HMAC-SHA256 x"}, 403, "IncompleteSignatureException", id="half a signature"
        ),
    ],
)
async def test_authentication(api: Api, headers: dict[str, str], status: int, error: str | None) -> None:
    url, sent = f"{api.base_url}/model-customization-jobs", {**api.headers, **headers}
    async with api.session.get(url, headers=sent) as answer:
        assert (answer.status, answer.headers.get("x-amzn-ErrorType")) == (status, error)


async def test_a_signature_by_another_secret_is_refused(api: Api) -> None:
    with pytest.raises(ClientError, match="InvalidSignatureException"):
        await boto(api, "guessed")("list_model_customization_jobs")


async def test_unknown_jobs_and_odd_pages_are_refused(api: Api) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        await boto(api)("get_model_customization_job", jobIdentifier="none")
    assert (await api.call("/model-customization-jobs?maxResults=1001"))[0] == 400
    assert (await api.call("/model-customization-jobs?maxResults=many"))[0] == 400
    assert (await api.call("/model-customization-jobs?creationTimeAfter=soon"))[0] == 400


def test_every_value_is_in_the_service_model(clock: HandClock) -> None:
    [org] = organisations(1, seed=2, providers=("bedrock",))
    simulation = Simulation((org,), clock=clock, pace=STEADY, traffic=Traffic(history=60, under_way=3))
    found = [summary(job, clock.now) for job in simulation.jobs(org)]
    model: Any = get_session().get_service_model("bedrock")
    listed = model.operation_model("ListModelCustomizationJobs").output_shape.members
    known = listed["modelCustomizationJobSummaries"].member.members
    assert {job["status"] for job in found} <= set(known["status"].enum)
    assert {job["customizationType"] for job in found} <= set(known["customizationType"].enum)
    phase = known["statusDetails"].members["trainingDetails"].members["status"].enum
    assert {each["status"] for job in found for each in job["statusDetails"].values()} <= set(phase)
    assert all(job.keys() <= known.keys() for job in found)


def test_odd_organisations_sign(tmp_path: Any) -> None:
    first, second = organisations(2, seed=1, providers=("bedrock",))
    bearer, signing = (configuration(org, "http://h:1/v1", tmp_path) for org in (first, second))
    assert (bearer["api_key"], bearer["region"]) == (first.key, "us-east-1")
    assert (signing["access_key_id"], signing["secret_access_key"]) == access_key(second)
    assert "api_key" not in signing
