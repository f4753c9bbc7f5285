"""The lives of jobs as the API shows them."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from monitor.simulator import Simulation, training_file
from tests.simulator.conftest import NOON, Client, HandClock

CREATED = int(NOON)


def chat(count: int, role: str = "assistant") -> bytes:
    line = {"messages": [{"role": "user", "content": "hello there"}, {"role": role, "content": "hi"}]}
    return b"".join(json.dumps(line).encode() + b"\n" for _ in range(count))


@pytest.mark.parametrize(
    ("ending", "after", "expected"),
    [
        pytest.param("success", 64, ("running", None, None), id="succeeding: not yet"),
        pytest.param("success", 65, ("succeeded", CREATED + 65, None), id="succeeded"),
        pytest.param("server_error", 1000, ("failed", CREATED + 34, "server_error"), id="a server error, in training"),
        pytest.param("moderation", 1000, ("failed", None, "unsafe_file"), id="moderation, in validation"),
        pytest.param("validation", 1000, ("failed", None, "invalid_file_format"), id="a bad file, in validation"),
        pytest.param("stall", 10**7, ("running", None, None), id="stalled for good"),
        pytest.param("hiccup", 5000, ("running", None, None), id="silent for a while"),
        pytest.param("hiccup", 10000, ("succeeded", CREATED + 65 + 6000, None), id="silent, and then on to the end"),
        pytest.param("stuck_queue", 10**7, ("queued", None, None), id="queued for good"),
    ],
)
async def test_metadata_decides_how_a_job_ends(
    client: Client, clock: HandClock, ending: str, after: float, expected: tuple[str, int | None, str | None]
) -> None:
    job = await client.create(metadata={"simulate": ending})
    clock.move(after)
    seen = await client.job(job["id"])
    assert (seen["status"], seen["finished_at"], seen["error"].get("code")) == expected
    assert (seen["trained_tokens"] is None) == (seen["status"] != "succeeded")


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        pytest.param(chat(7), "invalid_n_examples", "Training file has 7 example(s)", id="too few examples"),
        pytest.param(
            chat(12, "robot"), "invalid_file_format", 'message 2: missing or unknown "role"', id="an odd role"
        ),
        pytest.param(chat(12, "user"), "invalid_file_format", "must be from the assistant", id="no assistant"),
        pytest.param(
            b'{"prompt": "a", "completion": "b"}\n' * 12, "invalid_file_format", "prompt-completion", id="pairs"
        ),
        pytest.param(b'{"messages": "hello"}\n' * 12, "invalid_file_format", "non-empty list", id="no messages"),
    ],
)
async def test_validation_reports_the_faults_of_a_file(
    client: Client, clock: HandClock, content: bytes, code: str, words: str
) -> None:
    _, file = await client.upload(content)
    job = await client.create(training_file=file["id"])
    assert job["status"] == "validating_files"
    clock.move(10)
    failed = await client.job(job["id"])
    assert (failed["status"], failed["finished_at"]) == ("failed", None)
    assert (failed["error"]["code"], failed["error"]["param"]) == (code, "training_file")
    assert words in failed["error"]["message"]
    assert failed["hyperparameters"]["n_epochs"] == "auto"
    newest = (await client.events(job["id"]))[0]
    assert (newest["level"], newest["message"]) == ("error", failed["error"]["message"])


async def test_a_bad_validation_file_is_named(client: Client, clock: HandClock) -> None:
    _, file = await client.upload(chat(3, "robot"))
    job = await client.create(validation_file=file["id"])
    clock.move(10)
    assert (await client.job(job["id"]))["error"]["param"] == "validation_file"


@pytest.mark.parametrize(
    ("model", "given"),
    [
        pytest.param("davinci-002", b'{"prompt": "a", "completion": "b"}\n' * 12, id="pairs for a completion model"),
        pytest.param("gpt-3.5-turbo-0613", chat(12), id="chat for a chat model"),
    ],
)
async def test_a_fitting_file_trains(client: Client, clock: HandClock, model: str, given: bytes) -> None:
    _, file = await client.upload(given)
    job = await client.create(training_file=file["id"], model=model)
    clock.move(100)
    done = await client.job(job["id"])
    assert (done["status"], done["model"]) == ("succeeded", model)


async def test_auto_becomes_numbers_after_validation(client: Client, clock: HandClock) -> None:
    job = await client.create(hyperparameters={"batch_size": 4})
    assert job["hyperparameters"] == {"n_epochs": "auto", "batch_size": 4, "learning_rate_multiplier": "auto"}
    clock.move(6)
    seen = await client.job(job["id"])
    settled = {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.8}
    assert (seen["status"], seen["hyperparameters"]) == ("queued", settled)
    assert seen["method"] == {"type": "supervised", "supervised": {"hyperparameters": settled}}


async def test_a_healthy_job_has_an_empty_error(client: Client) -> None:
    seen = [(await client.create())["error"] for _ in range(30)]
    assert {} in seen
    assert {"code": None, "message": None, "param": None} in seen


async def test_final_events_follow_the_end_and_share_a_second(client: Client, clock: HandClock) -> None:
    job = await client.create()
    clock.move(65)
    assert (await client.job(job["id"]))["status"] == "succeeded"
    early = await client.events(job["id"])
    assert early[0]["message"].startswith("Usage policy evaluations completed")
    clock.move(8)
    late = await client.events(job["id"])
    assert [event["created_at"] - CREATED for event in late[:4]] == [73, 67, 67, 67]
    assert late[1]["message"].startswith("New fine-tuned model created: ft:gpt-4o-mini-2024-07-18:research::")
    assert late[4:] == early
    assert any(event["type"] == "moderation_checks" for event in late)


async def test_events_never_change_or_reorder(client: Client, clock: HandClock) -> None:
    job = await client.create()
    told: list[Any] = []
    for second in range(80):
        clock.move(1)
        seen = (await client.events(job["id"]))[::-1]
        assert seen[: len(told)] == told
        told = seen
        if second == 28:
            await client.call("POST", f"/fine_tuning/jobs/{job['id']}/pause")
            await client.call("POST", f"/fine_tuning/jobs/{job['id']}/resume")
    assert all(before["created_at"] <= after["created_at"] for before, after in pairwise(told))
    assert len({event["id"] for event in told}) == len(told)
    steps = [event["data"]["step"] for event in told if event["type"] == "metrics"]
    assert steps == list(range(1, 31))


async def test_metrics_name_validation_losses_where_there_is_a_validation_file(
    client: Client, clock: HandClock
) -> None:
    _, file = await client.upload(training_file(examples=10, tokens=200))
    job = await client.create(validation_file=file["id"])
    clock.move(100)
    last = next(event for event in await client.events(job["id"]) if event["type"] == "metrics")
    assert last["message"].startswith("Step 30/30: training loss=")
    assert ", validation loss=" in last["message"]
    assert ", full validation loss=" in last["message"]
    assert {"step", "total_steps", "train_loss", "valid_loss", "full_valid_loss"} <= last["data"].keys()


async def test_preference_tuning_has_no_hyperparameters_at_the_top(client: Client, clock: HandClock) -> None:
    messages = [{"role": "user", "content": "hello"}]
    reply = [{"role": "assistant", "content": "hi"}]
    line = {"input": {"messages": messages}, "preferred_output": reply, "non_preferred_output": reply}
    _, file = await client.upload((json.dumps(line) + "\n").encode() * 12)
    job = await client.create(
        training_file=file["id"], method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2}}}
    )
    assert job["hyperparameters"] is None
    assert job["method"]["dpo"]["hyperparameters"]["beta"] == 0.2
    clock.move(100)
    assert (await client.job(job["id"]))["status"] == "succeeded"


@pytest.mark.parametrize("moment", [1, 7, 20, 50])
async def test_a_job_is_cancelled_at_any_moment_of_its_life(client: Client, clock: HandClock, moment: float) -> None:
    job = await client.create()
    clock.move(moment)
    before = await client.events(job["id"])
    _, cancelled = await client.call("POST", f"/fine_tuning/jobs/{job['id']}/cancel")
    assert (cancelled["status"], cancelled["finished_at"]) == ("cancelled", CREATED + moment)
    assert cancelled["trained_tokens"] is None
    clock.move(1000)
    assert (await client.events(job["id"]))[1:] == before


async def test_the_ground_truth_equals_the_final_state_of_the_api(
    client: Client, simulation: Simulation, clock: HandClock
) -> None:
    for ending in ("success", "server_error", "moderation"):
        await client.create(metadata={"simulate": ending})
    clock.move(1000)
    for job in simulation.jobs(client.org):
        seen, truth = await client.job(job.id), job.truth
        told = (seen["status"], seen["created_at"], seen["finished_at"], seen["trained_tokens"])
        assert told == (truth.status, truth.created_at, truth.finished_at, truth.trained_tokens)
        started = [event["created_at"] for event in await client.events(job.id) if "job started" in event["message"]]
        assert started == ([truth.started_at] if truth.started_at else [])
