"""Batches of requests, as the official packages read them at OpenAI, Azure and Bedrock."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, get_args

import openai
import pytest
from botocore.session import get_session
from openai import AsyncOpenAI
from openai.types import Batch

from monitor.simulator import Ending, Simulation, Traffic, organisations
from monitor.simulator.batch import BatchStatus
from monitor.simulator.bedrock import invocation
from tests.simulator.conftest import NOON, STEADY, Api, HandClock, provided

DAY = 86400
REQUEST = b'{"custom_id": "r", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-4o-mini"}}\n'


@pytest.fixture(params=[("openai", "/v1"), ("azure", "/azure/openai/v1")], ids=["openai", "azure"])
async def api(request: pytest.FixtureRequest, clock: HandClock) -> AsyncIterator[Api]:
    provider, prefix = request.param
    async with provided(provider, clock, prefix) as opened:
        yield opened


@pytest.fixture
async def client(api: Api) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key=api.org.key, base_url=api.base_url, max_retries=0) as opened:
        yield opened


async def ask(client: AsyncOpenAI, count: int, **metadata: str) -> Batch:
    file = await client.files.create(file=("in.jsonl", REQUEST * count), purpose="batch")
    return await client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata=metadata
    )


async def test_a_batch_is_followed_from_its_creation_to_its_files(client: AsyncOpenAI, clock: HandClock) -> None:
    batch, seen = await ask(client, 200), list[tuple[str, int]]()
    while not seen or seen[-1][0] != "completed":
        batch = await client.batches.retrieve(batch.id)
        assert batch.request_counts is not None
        assert (batch.output_file_id is None) == (batch.status != "completed")
        seen.append((batch.status, batch.request_counts.completed + batch.request_counts.failed))
        clock.move(5)
    assert list(dict.fromkeys(word for word, _ in seen)) == ["validating", "in_progress", "finalizing", "completed"]
    done = [count for _, count in seen]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 200)
    moments = (batch.in_progress_at, batch.finalizing_at, batch.completed_at, batch.expires_at)
    assert moments == tuple(int(NOON) + seconds for seconds in (5, 205, 215, DAY))
    counts: Any = batch.request_counts
    for name, count in ((batch.output_file_id, counts.completed), (batch.error_file_id, counts.failed)):
        lines = (await client.files.content(name or "")).text.splitlines()
        assert len(lines) == count > 0
        assert {"id", "custom_id", "response", "error"} == json.loads(lines[0]).keys()


@pytest.mark.parametrize(
    ("ending", "after", "status"),
    [
        pytest.param("validation", 6, "failed", id="refused in validation"),
        pytest.param("stall", DAY - 1, "in_progress", id="slow, on its last second"),
        pytest.param("stall", DAY, "expired", id="expired"),
    ],
)
async def test_metadata_decide_how_a_batch_ends(
    client: AsyncOpenAI, clock: HandClock, ending: str, after: float, status: str
) -> None:
    batch = await ask(client, 40, simulate=ending)
    clock.move(after)
    seen = await client.batches.retrieve(batch.id)
    assert seen.status == status
    assert (seen.errors is not None) == (status == "failed")
    assert (seen.output_file_id is not None) == (status == "expired")
    assert getattr(seen, f"{status}_at") is not None


async def test_a_batch_is_cancelled_and_keeps_what_was_done(client: AsyncOpenAI, clock: HandClock) -> None:
    batch = await ask(client, 40)
    clock.move(25)
    assert (await client.batches.cancel(batch.id)).status == "cancelling"
    clock.move(25)
    seen = await client.batches.retrieve(batch.id)
    counts: Any = seen.request_counts
    assert (seen.status, counts.total, counts.completed + counts.failed) == ("cancelled", 40, 20)
    assert seen.output_file_id is not None
    with pytest.raises(openai.ConflictError):
        await client.batches.cancel(batch.id)


async def test_batches_are_paged(client: AsyncOpenAI) -> None:
    made = [(await ask(client, 1)).id for _ in range(7)]
    assert [batch.id async for batch in client.batches.list(limit=3)] == made[::-1]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        pytest.param({"endpoint": "/v1/none"}, "endpoint", id="an unknown endpoint"),
        pytest.param({"completion_window": "1h"}, "completion_window", id="another window"),
        pytest.param({"metadata": {"simulate": "fire"}}, "metadata.simulate", id="an unknown ending"),
        pytest.param({"input_file_id": None}, "input_file_id", id="no file"),
    ],
)
async def test_an_invalid_batch_is_refused(client: AsyncOpenAI, change: dict[str, Any], param: str) -> None:
    asked = {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h", **change}
    with pytest.raises(openai.BadRequestError) as refused:
        await client.batches.create(**asked)
    body: Any = refused.value.body
    assert body["param"] == param


async def test_a_file_for_batches_is_not_trained_on(client: AsyncOpenAI) -> None:
    file = await client.files.create(file=("in.jsonl", REQUEST), purpose="batch")
    with pytest.raises(openai.BadRequestError, match="has purpose 'batch'"):
        await client.fine_tuning.jobs.create(training_file=file.id, model="gpt-4o-mini")


def test_every_status_is_one_of_the_package() -> None:
    assert {each.value for each in BatchStatus} == set(get_args(Batch.model_fields["status"].annotation))


async def test_only_openai_reports_model_and_usage(api: Api, client: AsyncOpenAI, clock: HandClock) -> None:
    batch = await ask(client, 40)
    clock.move(100)
    seen = await client.batches.retrieve(batch.id)
    counts: Any = seen.request_counts
    told = (seen.model, seen.usage.total_tokens if seen.usage else None)
    expected = ("gpt-4o-mini-2024-07-18", counts.completed * 600) if api.org.provider == "openai" else (None, None)
    assert told == expected


def test_traffic_brings_batches_that_end_in_every_way(clock: HandClock) -> None:
    traffic = Traffic(batches=60, batch_gap=(600, 1200))
    for provider, ends in (("openai", {"completed", "failed", "expired"}), ("together", set[str]())):
        [org] = organisations(1, seed=5, providers=(provider,))
        simulation = Simulation((org,), clock=clock, pace=STEADY, traffic=traffic)
        batches = simulation.batches(org.caller)
        assert {batch.status(clock.now).value for batch in batches} == ends
        assert all(batch.created_at < batch.ended_at < clock.now for batch in batches)
    clock.move(7200)
    [org] = organisations(1, seed=5)
    simulation = Simulation((org,), clock=clock, pace=STEADY, traffic=traffic)
    clock.move(7200)
    assert 66 <= len(simulation.batches(org.caller)) <= 72


async def test_bedrock_has_its_own_record_counts(clock: HandClock) -> None:
    async with provided("bedrock", clock, "/bedrock") as api:
        whole = api.simulation.start_batch(api.org, total=200)
        api.simulation.start_batch(api.org, ending=Ending.STALL)
        seen = []
        for moment in (0.5, 2, 4, 105, 300):
            clock.now = NOON + moment
            shown = await api.get(f"/model-invocation-job/{whole.id}")
            seen.append((shown["status"], shown.get("processedRecordCount")))
        assert seen == [
            ("Submitted", None),
            ("Validating", None),
            ("Scheduled", None),
            ("InProgress", 100),
            ("PartiallyCompleted", 200),
        ]
        clock.move(DAY)
        listed = (await api.get("/model-invocation-jobs?sortBy=CreationTime&sortOrder=Ascending"))[
            "invocationJobSummaries"
        ]
        assert [each["status"] for each in listed] == ["PartiallyCompleted", "Expired"]
        assert (await api.call(f"/model-invocation-job/{whole.id}/stop", "POST"))[0] == 409


def test_every_status_of_bedrock_is_in_its_service_model(clock: HandClock) -> None:
    [org] = organisations(1, seed=2, providers=("bedrock",))
    simulation = Simulation((org,), clock=clock, pace=STEADY, traffic=Traffic(batches=60))
    found = [invocation(batch, clock.now) for batch in simulation.batches(org.caller)]
    model: Any = get_session().get_service_model("bedrock")
    known = model.operation_model("GetModelInvocationJob").output_shape.members
    assert {each["status"] for each in found} <= set(known["status"].enum)
    assert {"PartiallyCompleted", "Failed", "Expired"} <= {each["status"] for each in found}
    assert all(each.keys() <= known.keys() for each in found)
