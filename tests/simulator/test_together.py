"""Together's dialect: statuses, stages, prices, and that its own package reads it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, get_args

import pytest

from monitor.simulator import Ending, Simulation, Traffic, organisations
from monitor.simulator.together import events, job_json, stages
from tests.simulator.conftest import NOON, STEADY, Api, HandClock, provided

STATUSES = {
    "pending", "queued", "running", "compressing", "uploading", "cancel_requested", "cancelled", "error",
    "user_error", "completed",
}  # fmt: skip
TYPES = {
    "job_pending", "job_start", "job_stopped", "model_downloading", "model_download_complete",
    "training_data_downloading", "training_data_download_complete", "validation_data_downloading",
    "validation_data_download_complete", "wandb_init", "training_start", "checkpoint_save", "billing_limit",
    "epoch_complete", "training_complete", "model_compressing", "model_compression_complete", "model_uploading",
    "model_upload_complete", "job_complete", "job_error", "cancel_requested", "job_restarted", "refund",
    "warning", "early_stopped", "tokenized_dataset_upload_complete",
}  # fmt: skip
CAPITALS = {
    "JOB_PENDING", "JOB_START", "JOB_STOPPED", "MODEL_DOWNLOADING", "MODEL_DOWNLOAD_COMPLETE",
    "TRAINING_DATA_DOWNLOADING", "TRAINING_DATA_DOWNLOAD_COMPLETE", "VALIDATION_DATA_DOWNLOADING",
    "VALIDATION_DATA_DOWNLOAD_COMPLETE", "WANDB_INIT", "TRAINING_START", "CHECKPOINT_SAVE", "BILLING_LIMIT",
    "EPOCH_COMPLETE", "EVAL_COMPLETE", "TRAINING_COMPLETE", "COMPRESSING_MODEL", "MODEL_COMPRESSION_COMPLETE",
    "MODEL_UPLOADING", "MODEL_UPLOAD_COMPLETE", "MODEL_UPLOADING_TO_HF", "MODEL_UPLOAD_TO_HF_COMPLETE",
    "JOB_COMPLETE", "JOB_ERROR", "JOB_USER_ERROR", "CANCEL_REQUESTED", "JOB_RESTARTED", "REFUND", "WARNING",
    "EARLY_STOPPED",
}  # fmt: skip
"""The enums of together 3.1.1: event types by its specification and by the enum of its own functions."""


@pytest.fixture
async def api(clock: HandClock) -> AsyncIterator[Api]:
    async with provided("together", clock, "/together/v1") as opened:
        yield opened


async def test_a_job_is_followed_from_its_request_to_its_model(api: Api, clock: HandClock) -> None:
    job_id, seen = api.start(suffix="tone"), dict[str, str | None]()
    while "completed" not in seen:
        job = await api.get(f"/fine-tunes/{job_id}")
        seen.setdefault(job["status"], job["started_at"])
        clock.move(1)
    assert list(seen) == ["pending", "queued", "running", "compressing", "uploading", "completed"]
    starts = [at for at in seen.values() if at is not None]
    assert len(set(starts)) == 4, "started_at is when the stage began"
    assert job["model_output_name"].startswith("research/Meta-Llama-3.1-8B-Instruct-Reference-tone-")
    assert (job["total_price"], job["token_count"]) == (12000 * 480, 12000)

    heard = (await api.get(f"/fine-tunes/{job_id}/events"))["data"]
    assert heard == job["events"]
    assert [each["created_at"] for each in heard] == sorted(each["created_at"] for each in heard)
    assert heard[-1]["type"].lower() == "job_complete"
    assert datetime.fromisoformat(heard[-1]["created_at"]) == datetime.fromtimestamp(NOON + 65, UTC)
    assert len({each["hash"] for each in heard}) == len(heard)
    assert all("id" not in each for each in heard)


async def test_the_list_is_everything_in_one_answer_without_events(api: Api, clock: HandClock) -> None:
    made = {api.start() for _ in range(47)}
    clock.move(100)
    listed = (await api.get("/fine-tunes"))["data"]
    assert {job["id"] for job in listed} == made
    assert all(job["events"] == [] for job in listed)
    assert {"total_price" in job for job in listed} == {True, False}, "some jobs have no price"


@pytest.mark.parametrize(
    ("ending", "status", "last"),
    [
        (Ending.SERVER_ERROR, "error", "refund"),
        (Ending.VALIDATION, "user_error", "job_user_error"),
        (Ending.MODERATION, "user_error", "job_user_error"),
        (Ending.SUCCESS, "completed", "job_complete"),
    ],
)
async def test_a_job_ends_as_its_metadata_says(
    api: Api, clock: HandClock, ending: Ending, status: str, last: str
) -> None:
    job_id = api.start(ending=ending)
    clock.move(1000)
    job = await api.get(f"/fine-tunes/{job_id}")
    assert (job["status"], job["events"][-1]["type"].lower()) == (status, last)


async def test_a_cancelled_job_was_first_asked_to_stop_and_costs_what_was_done(api: Api, clock: HandClock) -> None:
    job_id = api.start()
    clock.move(30)
    assert (await api.call(f"/fine-tunes/{job_id}/cancel", "POST"))[1]["status"] == "cancel_requested"
    clock.move(60)
    job = await api.get(f"/fine-tunes/{job_id}")
    assert (job["status"], job["total_price"]) == ("cancelled", 6000 * 480)
    assert "balance" in job["events"][-1]["message"]


async def test_what_remains_is_counted_from_the_start_of_the_stage(api: Api, clock: HandClock) -> None:
    job_id, told = api.start(), set[tuple[bool, int]]()
    for _ in range(3):
        clock.move(9)
        progress = (await api.get(f"/fine-tunes/{job_id}"))["progress"]
        told.add((progress["estimate_available"], progress["seconds_remaining"]))
    assert told == {(False, 0), (True, 30)}


async def test_checkpoints_and_curves_are_there(api: Api, clock: HandClock) -> None:
    job_id = api.start()
    clock.move(100)
    kept = (await api.get(f"/fine-tunes/{job_id}/checkpoints"))["data"]
    assert [each["step"] for each in kept] == [10, 20, 30]
    found = (await api.get(f"/fine-tunes/{job_id}/metrics?global_step_from=28"))["metrics"]
    assert [each["global_step"] for each in found] == [28, 29, 30]


async def test_strangers_and_unknown_jobs_are_refused(api: Api) -> None:
    assert (await api.call("/fine-tunes/ft-none"))[0] == 404
    status, body = await api.call("/fine-tunes", Authorization="Bearer wrong")
    assert (status, body["error"]["message"]) == (401, "Invalid API key provided")


def test_every_value_is_in_the_package(clock: HandClock) -> None:
    """The specification lacks `job_user_error`, which the package's own functions know."""
    made = organisations(1, seed=2, providers=("together",))
    jobs = Simulation(made, clock=clock, pace=STEADY, traffic=Traffic(history=60))
    found = jobs.jobs(made[0])
    types = {event["type"] for job in found for event in events(job, clock.now)}
    assert {each for each in types if each.isupper()} <= CAPITALS
    assert {each for each in types if each.islower()} <= {*TYPES, "job_user_error"}
    assert {"JOB_COMPLETE", "job_complete", "COMPRESSING_MODEL", "model_compressing"} <= types
    assert {word for job in found for _, word in stages(job.plan)} <= STATUSES
    levels = {event["level"] for job in found for event in events(job, clock.now)}
    assert {"info", "Info", "legacy_info", "legacy_iwarning"} <= levels
    assert any("early_stopped" in job_json(job, clock.now, whole=False) for job in found)


async def test_the_official_package_reads_it(api: Api, clock: HandClock) -> None:
    """Skipped unless the package is installed: it requires another version of rich than ours (see pyproject.toml)."""
    together: Any = pytest.importorskip("together")
    own: Any = pytest.importorskip("together.lib.types.fine_tuning")
    specified: Any = pytest.importorskip("together.types.finetune_event_type")
    assert {each.value for each in own.FinetuneJobStatus} == STATUSES
    assert {each.value for each in own.FinetuneEventType} == CAPITALS
    assert set(get_args(specified.FinetuneEventType)) == TYPES
    made = [api.start(), api.start(ending=Ending.SERVER_ERROR), api.start(method="dpo")]
    clock.move(100)
    key, base_url = api.org.key, api.base_url.removesuffix("/v1")
    async with together.AsyncTogether(api_key=key, base_url=base_url, max_retries=0) as client:
        listed = (await client.fine_tuning.list()).data
        assert {job.id: own.FinetuneJobStatus(job.status).value for job in listed} == dict(
            zip(made, ["completed", "error", "completed"], strict=True)
        )
        job = await client.fine_tuning.retrieve(made[0])
        assert job.started_at == datetime.fromtimestamp(NOON + 65, UTC)
        heard = (await client.fine_tuning.list_events(made[0])).data
        assert [each.to_dict() for each in heard] == [each.to_dict() for each in job.events]
        with pytest.raises(together.AuthenticationError):
            await client.with_options(api_key="wrong").fine_tuning.list()
