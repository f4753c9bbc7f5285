"""The results of a training: checkpoints, the result file, models."""

from __future__ import annotations

import base64
import csv
import io
import json
from typing import Any

from tests.simulator.conftest import NOON, Client, HandClock

CREATED = int(NOON)


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


async def test_reinforcement_reports_rewards_and_keeps_the_best_checkpoints(client: Client, clock: HandClock) -> None:
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
    nothing: dict[str, Any] = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
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
