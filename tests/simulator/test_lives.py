"""How jobs live and end, as the API tells it."""

from __future__ import annotations

import base64
import csv
import io
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
async def test_validation_finds_what_is_wrong_with_a_file(
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


async def test_the_last_words_come_after_the_end_and_several_in_one_second(client: Client, clock: HandClock) -> None:
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


async def test_what_was_told_stays_told_in_the_same_order(client: Client, clock: HandClock) -> None:
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


async def test_the_file_of_results_is_a_csv_in_base64(client: Client, clock: HandClock) -> None:
    job = await client.create()
    clock.move(100)
    done = await client.job(job["id"])
    headers = {"Authorization": f"Bearer {client.org.key}"}
    url = f"{client.base_url}/files/{done['result_files'][0]}"
    async with client.session.get(f"{url}/content", headers=headers) as response:
        content = await response.read()
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(content).decode())))
    assert [row["step"] for row in rows] == [str(step) for step in range(1, 31)]
    assert (await client.call("GET", f"/files/{done['result_files'][0]}"))[1]["purpose"] == "fine-tune-results"


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


async def test_reinforcement_tells_rewards_and_keeps_the_best_checkpoints(client: Client, clock: HandClock) -> None:
    line = {"messages": [{"role": "user", "content": "2 + 2?"}], "answer": "4"}
    _, file = await client.upload((json.dumps(line) + "\n").encode() * 12)
    grader = {"type": "string_check", "name": "g", "input": "i", "reference": "r", "operation": "eq"}
    method = {"type": "reinforcement", "reinforcement": {"grader": grader}}
    job = await client.create(training_file=file["id"], model="o4-mini", method=method)
    assert "hyperparameters" not in job
    assert job["method"]["reinforcement"]["grader"] == grader
    clock.move(30 * 60 + 100)
    metrics = [event for event in await client.events(job["id"]) if event["type"] == "metrics"]
    assert metrics[0]["message"].startswith("Step 30/30 , train mean reward=0.")
    assert metrics[0]["data"]["timing"]["step"]["full_iteration"] == 60
    _, kept = await client.call("GET", f"/fine_tuning/jobs/{job['id']}/checkpoints")
    assert len(kept["data"]) == 3
    assert kept["first_id"] == kept["data"][0]["id"]


async def test_checkpoints_are_paged_and_older_than_their_announcement(client: Client, clock: HandClock) -> None:
    job = await client.create()
    path = f"/fine_tuning/jobs/{job['id']}/checkpoints"
    clock.move(40)
    nothing = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    assert (await client.call("GET", path))[1] == nothing
    clock.move(60)
    _, first = await client.call("GET", f"{path}?limit=2")
    assert ([each["step_number"] for each in first["data"]], first["has_more"]) == ([30, 20], True)
    _, rest = await client.call("GET", f"{path}?limit=2&after={first['last_id']}")
    assert ([each["step_number"] for each in rest["data"]], rest["has_more"]) == ([10], False)
    assert rest["data"][0]["created_at"] == CREATED + 25
    assert rest["data"][0]["fine_tuned_model_checkpoint"].endswith(":ckpt-step-10")


async def test_a_tuned_model_can_be_tuned_further(client: Client, clock: HandClock) -> None:
    first = await client.create(suffix="Tone of Voice")
    clock.move(100)
    model = (await client.job(first["id"]))["fine_tuned_model"]
    assert model.startswith("ft:gpt-4o-mini-2024-07-18:research:tone-of-voice:")
    second = await client.create(model=model)
    assert second["model"] == model
    clock.move(100)
    assert (await client.job(second["id"]))["fine_tuned_model"].startswith("ft:gpt-4o-mini-2024-07-18:research::")


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


async def test_the_truth_is_what_the_api_ends_up_saying(
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
