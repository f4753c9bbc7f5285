"""The curl calls of OpenAI's announcement, unchanged but for host and key."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from monitor.simulator import Simulation, training_file
from tests.simulator.conftest import HandClock

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

UPLOAD = """curl -sS $BASE/files \\
-H "Authorization: Bearer $OPENAI_API_KEY" \\
-F "purpose=fine-tune" \\
-F "file=@path_to_your_file"
"""
CREATE = """curl -sS $BASE/fine_tuning/jobs \\
-H "Content-Type: application/json" \\
-H "Authorization: Bearer $OPENAI_API_KEY" \\
-d '{
"training_file": "TRAINING_FILE_ID",
"model": "gpt-3.5-turbo-0613"
}'
"""
COMPLETE = """curl -sS $BASE/chat/completions \\
-H "Content-Type: application/json" \\
-H "Authorization: Bearer $OPENAI_API_KEY" \\
-d '{
"model": "ft:gpt-3.5-turbo:org_id",
"messages": [
{
"role": "system",
"content": "You are an assistant that occasionally misspells words"
},
{
"role": "user",
"content": "Hello! What is fine-tuning?"
}
]
}'
"""


async def shell(command: str, base_url: str, key: str, directory: Path) -> dict[str, Any]:
    environment = {"BASE": base_url, "OPENAI_API_KEY": key, "PATH": "/usr/bin:/bin:/usr/local/bin", "NO_PROXY": "*"}
    pipe = asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_shell(command, stdout=pipe, stderr=pipe, env=environment, cwd=directory)
    out, err = await running.communicate()
    assert running.returncode == 0, err.decode()
    found: dict[str, Any] = json.loads(out)
    return found


async def test_the_announcements_calls_work_and_its_example_counts_300000_tokens(
    simulation: Simulation, base_url: str, clock: HandClock, tmp_path: Path
) -> None:
    key = simulation.orgs[0].key
    content = training_file(examples=100, tokens=100_000)
    (tmp_path / "path_to_your_file").write_bytes(content)

    file = await shell(UPLOAD, base_url, key, tmp_path)
    assert (file["object"], file["purpose"], file["bytes"]) == ("file", "fine-tune", len(content))

    job = await shell(CREATE.replace("TRAINING_FILE_ID", file["id"]), base_url, key, tmp_path)
    assert (job["status"], job["model"]) == ("validating_files", "gpt-3.5-turbo-0613")
    assert job["hyperparameters"]["n_epochs"] == "auto"
    refused = await shell(COMPLETE, base_url, key, tmp_path)
    assert refused["error"]["code"] == "model_not_found"

    clock.move(100)
    done = simulation.job(simulation.orgs[0], job["id"]).truth
    assert (done.status, done.trained_tokens) == ("succeeded", 300_000)
    said = await shell(COMPLETE, base_url, key, tmp_path)
    assert said["model"].startswith("ft:gpt-3.5-turbo-0613:research::")
    assert "proccess" in said["choices"][0]["message"]["content"]
    assert said["usage"]["total_tokens"] == said["usage"]["prompt_tokens"] + said["usage"]["completion_tokens"]
    assert sum(tokens.requests for tokens in simulation.usage.values()) == 1
