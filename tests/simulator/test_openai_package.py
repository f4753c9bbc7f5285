"""The official Python package against the simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest
from openai import AsyncOpenAI

from monitor.simulator import Simulation, training_file
from tests.simulator.conftest import HandClock

FILE = ("examples.jsonl", training_file(examples=40, tokens=4000))


@pytest.fixture
async def api(simulation: Simulation, base_url: str) -> AsyncIterator[AsyncOpenAI]:
    org = simulation.orgs[0]
    async with AsyncOpenAI(
        api_key=org.key, base_url=base_url, organization=org.id, project=org.projects[0].id
    ) as client:
        yield client


async def a_job(api: AsyncOpenAI, **metadata: str) -> str:
    file = await api.files.create(file=FILE, purpose="fine-tune")
    job = await api.fine_tuning.jobs.create(training_file=file.id, model="gpt-4o-mini", metadata=metadata)
    return job.id


async def test_a_job_is_followed_from_its_creation_to_its_tuned_model(api: AsyncOpenAI, clock: HandClock) -> None:
    job_id = await a_job(api)
    seen: list[str] = []
    while not seen or seen[-1] != "succeeded":
        job = await api.fine_tuning.jobs.retrieve(job_id)
        seen.append(job.status)
        clock.move(5)
    assert list(dict.fromkeys(seen)) == ["validating_files", "queued", "running", "succeeded"]
    clock.move(10)
    assert job.trained_tokens == 4000 * 3
    assert job.model == "gpt-4o-mini-2024-07-18"

    events = [event async for event in api.fine_tuning.jobs.list_events(job_id)]
    assert events[0].message == "The job has successfully completed"
    assert events[-1].message == f"Created fine-tuning job: {job_id}"
    assert len({event.id for event in events}) == len(events) > 30
    assert sum(event.type == "metrics" for event in events) == 30

    kept = [each async for each in api.fine_tuning.jobs.checkpoints.list(job_id)]
    assert [each.step_number for each in kept] == [30, 20, 10]
    assert kept[0].fine_tuned_model_checkpoint == job.fine_tuned_model
    content = await api.files.content((job.result_files or [""])[0])
    assert content.text

    assert job.fine_tuned_model in [model.id async for model in api.models.list()]
    said = await api.chat.completions.create(
        model=job.fine_tuned_model or "", messages=[{"role": "user", "content": "Hi"}]
    )
    assert said.usage is not None
    assert said.usage.total_tokens == said.usage.prompt_tokens + said.usage.completion_tokens


async def test_paging_covers_more_jobs_than_a_page(api: AsyncOpenAI) -> None:
    file = await api.files.create(file=FILE, purpose="fine-tune")
    made = [(await api.fine_tuning.jobs.create(training_file=file.id, model="gpt-4.1-mini")).id for _ in range(47)]
    first = await api.fine_tuning.jobs.list(limit=20)
    assert (len(first.data), first.has_more) == (20, True)
    walked = [job.id async for job in api.fine_tuning.jobs.list(limit=20)]
    assert walked == made[::-1]


async def test_jobs_are_filtered_by_metadata(api: AsyncOpenAI) -> None:
    await a_job(api, team="core")
    wanted = await a_job(api, team="labs", run="7")
    bare = await api.fine_tuning.jobs.create(
        training_file=(await api.files.create(file=FILE, purpose="fine-tune")).id, model="gpt-4o"
    )
    assert [job.id async for job in api.fine_tuning.jobs.list(metadata={"team": "labs"})] == [wanted]
    bare_only = api.fine_tuning.jobs.list(extra_query={"metadata": "null"})
    assert [job.id async for job in bare_only] == [bare.id]


async def test_a_job_is_paused_resumed_and_cancelled(api: AsyncOpenAI, clock: HandClock) -> None:
    job_id = await a_job(api)
    with pytest.raises(openai.BadRequestError):
        await api.fine_tuning.jobs.pause(job_id)
    clock.move(25.5)
    assert str((await api.fine_tuning.jobs.pause(job_id)).status) == "paused"
    clock.move(1000)
    assert str((await api.fine_tuning.jobs.retrieve(job_id)).status) == "paused"
    assert (await api.fine_tuning.jobs.resume(job_id)).status == "queued"
    clock.move(12)
    running = await api.fine_tuning.jobs.retrieve(job_id)
    assert running.status == "running"
    before = [event.id async for event in api.fine_tuning.jobs.list_events(job_id)]
    cancelled = await api.fine_tuning.jobs.cancel(job_id)
    assert cancelled.status == "cancelled"
    assert cancelled.finished_at == int(clock.now)
    clock.move(10)
    after = [event async for event in api.fine_tuning.jobs.list_events(job_id)]
    assert (after[0].level, after[0].message) == ("warn", "Fine tuning process stopping due to job cancellation")
    assert [event.id for event in after[1:]] == before
    with pytest.raises(openai.BadRequestError):
        await api.fine_tuning.jobs.cancel(job_id)


async def test_files_are_uploaded_listed_read_and_deleted(api: AsyncOpenAI) -> None:
    expires = {"anchor": "created_at", "seconds": 3600}
    kept = await api.files.create(file=FILE, purpose="fine-tune", expires_after=expires)  # type: ignore[arg-type]  # the package wants a TypedDict
    assert kept.expires_at == kept.created_at + 3600
    gone = await api.files.create(file=FILE, purpose="fine-tune")
    assert [file.id async for file in api.files.list()] == sorted([kept.id, gone.id], reverse=True)
    assert (await api.files.content(kept.id)).content == FILE[1]
    assert (await api.files.delete(gone.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await api.files.retrieve(gone.id)


async def test_completions_are_streamed(api: AsyncOpenAI) -> None:
    stream = await api.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "What is fine-tuning?"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    said = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert said.startswith("Fine-tuning is the process")
    assert chunks[-1].usage is not None


async def test_a_wrong_key_is_an_authentication_error(base_url: str) -> None:
    async with AsyncOpenAI(api_key="sk-proj-0123456789abcdef", base_url=base_url, max_retries=0) as api:
        with pytest.raises(openai.AuthenticationError, match=r"Incorrect API key provided: sk-proj-\*+cdef"):
            await api.fine_tuning.jobs.list()
