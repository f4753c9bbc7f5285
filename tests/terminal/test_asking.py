"""The commands against the real API, and against servers with invalid answers."""

from __future__ import annotations

import gzip
import json
import socket
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from monitor.domain.model import Basis, Cost, EventKind, FineTuning, JobError, Metrics, Status
from monitor.terminal.access import Access
from monitor.terminal.answers import JobDetails
from monitor.terminal.client import NOBODY_LISTENS, AskError, connect
from tests.builders import MINUTE, NOON, event, job, measured, tracked, trained
from tests.faults.hostile_words import NASTY
from tests.terminal.asked import answer, answering, asked
from tests.web.site import org, site

FAILED = job(
    id="ftjob-f",
    status=Status.FAILED,
    name="support-bot",
    finished_at=NOON,
    error=JobError(code="server_error", message="out of memory"),
)
RUNNING: dict[str, Any] = {"id": "ftjob-1", "org": "research", "status": "running"}


async def test_jobs_are_a_table_newest_first_with_cost_and_failure(tmp_path: Path) -> None:
    runs = trained(job(id="ftjob-r", created_at=NOON - MINUTE), latest=Metrics(step=42, steps=100))
    estimate = Cost(basis=Basis.ESTIMATED, usd=Decimal("2.4"))
    async with site(tmp_path) as here:
        await here.keep(tracked(FAILED), tracked(runs, cost=estimate, stalled=True))
        said = await asked(here.port, "jobs")
    head, first, second = (line.split() for line in said.stdout.splitlines())
    assert (said.exit_code, said.stderr) == (0, "")
    assert head == ["ORG", "JOB", "STATUS", "DONE", "AGE", "COST", "MODEL", "NAME", "FAILURE"]
    assert first[:5] == ["research", "ftjob-r", "running,", "stalled", "42%"]
    assert "~$2.40" in first
    assert (second[1], second[2], second[-2:]) == ("ftjob-f", "failed", ["support-bot", "provider"])


async def test_jobs_are_read_through_all_pages_up_to_the_limit(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        for start in range(0, 1200, 400):
            many = (job(id=f"ftjob-{n}", created_at=NOON - n * MINUTE) for n in range(start, start + 400))
            await here.keep(*map(tracked, many))
        every = await asked(here.port, "jobs", "--limit", "0", "--json")
        some = await asked(here.port, "jobs", "--limit", "3", "--json")
    assert [json.loads(line)["id"] for line in every.stdout.splitlines()] == [f"ftjob-{n}" for n in range(1200)]
    assert every.stderr == ""
    assert [json.loads(line)["id"] for line in some.stdout.splitlines()] == ["ftjob-0", "ftjob-1", "ftjob-2"]
    assert some.stderr == "There are older jobs: --limit 0 shows all, --limit 6 twice as many.\n"


async def test_jobs_can_be_filtered_and_an_invalid_filter_is_explained_by_the_daemon(tmp_path: Path) -> None:
    async with site(tmp_path, org(), org("search")) as here:
        await here.keep(tracked(FAILED), tracked(job(id="ftjob-r")))
        failed = await asked(here.port, "jobs", "--status", "failed", "--json")
        nobody = await asked(here.port, "jobs", "--org", "search")
        stranger = await asked(here.port, "jobs", "--org", "stranger")
    assert [json.loads(line)["id"] for line in failed.stdout.splitlines()] == ["ftjob-f"]
    assert (nobody.exit_code, nobody.stdout) == (0, "No job matches.\n")
    assert (stranger.exit_code, stranger.stdout) == (2, "")
    assert stranger.stderr.endswith(": org must be one of: research, search\n")


async def test_a_job_is_shown_with_its_error_curves_transitions_and_deliveries(tmp_path: Path) -> None:
    losses = tuple(
        measured(step, train_loss=2.0 / step, valid_loss=2.5 / step, train_accuracy=step / 100) for step in range(1, 9)
    )
    async with site(tmp_path) as here:
        of_it = tuple(event(one.id, kind=EventKind.METRICS, job="ftjob-f", metrics=one.metrics) for one in losses)
        settings = FineTuning(hyperparameters={"beta": "0.1"}, seed=7)
        await here.keep(tracked(replace(FAILED, tuning=settings)), events=of_it, told=("chat",))
        said = await asked(here.port, "job", "research", "ftjob-f")
        whole = json.loads((await asked(here.port, "job", "research", "ftjob-f", "--json")).stdout)
    assert said.exit_code == 0
    lines = [line.rstrip() for line in said.stdout.splitlines()]
    assert lines[0] == "✖ failed  support-bot  ftjob-f"
    assert any(line.split() == ["Organisation", "research", "(openai)"] for line in lines)
    assert any(line.split()[:2] == ["Created", "2026-11-22"] for line in lines)
    assert any(line.split() == ["Hyperparameters", "beta:", "0.1"] for line in lines)
    assert any(line.split() == ["Seed", "7"] for line in lines)
    assert "  Reason   server_error (provider: retrying may help)" in lines
    assert "  Message  out of memory" in lines
    assert any(line.startswith("  Hint ") for line in lines)
    assert "Loss  training ⠶ 2 → 0.25, validation × 2.5 → 0.3125" in lines
    assert "Accuracy  training ⠶ 0.01 → 0.08" in lines
    assert lines[lines.index("Transitions") + 2].split()[-1] == "failed"
    assert lines[lines.index("Notifications") + 2].split()[:3] == ["chat", "1", "pending"]
    assert (whole["id"], whole["error"]["class"], len(whole["events"])) == ("ftjob-f", "provider", 8)


async def test_control_characters_never_reach_the_terminal(tmp_path: Path) -> None:
    hostile = [
        job(id=f"{n}{nasty}", name=nasty, model=nasty, status=Status.FAILED, fine_tuned_model=nasty, url=nasty,
            metadata={nasty: nasty}, error=JobError(code=nasty, message=nasty, param=nasty))
        for n, nasty in enumerate(NASTY) if nasty.isprintable() or nasty.isascii()
    ]  # fmt: skip
    raw = {
        **RUNNING,
        **dict.fromkeys(("id", "name", "model", "provider", "method", "fine_tuned_model"), "\x9b2J\u202ea"),
    }
    raw |= {
        "status": "failed",
        "error": dict.fromkeys(("code", "message", "class", "hint"), "\x1b]0;x\x07\u2066b\x85c"),
    }
    raw |= {
        "transitions": [
            {"seq": 1, "kind": "moved", "from": "\x1b[2J", "to": "\x07", "observed_at": "2026-11-22T10:00:00Z"}
        ]
    }
    async with site(tmp_path) as here, answering(answer({"data": raw})) as port:
        await here.keep(*map(tracked, hostile))
        said = [await asked(here.port, "jobs"), await asked(here.port, "jobs", "--json")]
        said += [await asked(here.port, "job", "research", one.id) for one in hostile[::7]]
        said += [await asked(here.port, "job", "research", one.id, "--json") for one in hostile[::7]]
        said.append(await asked(port, "watch", "research", "x"))
    assert said[-1].exit_code == 2  # its events are no list
    for one in said:
        text = one.stdout + one.stderr
        assert [char for char in text if not (char.isprintable() or char in "\n\u200d")] == []


async def test_an_odd_id_is_passed_unchanged(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        for odd in ("a/b", "..", ".", "%2e%2e", "ä 🦊", "-x", "a?b#c", "\\"):
            await here.keep(tracked(job(id=odd)))
            said = await asked(here.port, "job", "--json", "--", "research", odd)
            assert json.loads(said.stdout)["id"] == odd, said.stderr


@pytest.mark.parametrize("command", ["job", "watch"])
async def test_no_such_job_is_exit_code_2(tmp_path: Path, command: str) -> None:
    async with site(tmp_path) as here:
        said = await asked(here.port, command, "research", "nobody")
    assert (said.exit_code, said.stdout) == (2, "")
    assert said.stderr == f"Error: http://127.0.0.1:{here.port}: there is no such job\n"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param(b"", "the connection was closed without an answer (http:// instead of https://?)", id="nothing"),
        pytest.param(b"220 mail ready\r\n", "the answer is not HTTP", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500, "the answer is not HTTP", id="headers for ever"),
        pytest.param(answer(b"<html>"), "the answer does not come from a finetune-monitor", id="a page"),
        pytest.param(answer(b"[" * 100_000), "the answer does not come", id="brackets for ever"),
        pytest.param(answer(b'"\xff"'), "the answer does not come", id="no UTF-8"),
        pytest.param(answer({"data": {}}), "the answer does not come", id="no list"),
        pytest.param(answer({"data": [7]}), "the answer does not come", id="no jobs in it"),
        pytest.param(answer({"data": [{**RUNNING, "progress": 7}]}), "the answer does not come", id="700 %"),
        pytest.param(
            answer({"data": [{**RUNNING, "cost": {"usd": "1e999999", "basis": "computed"}}]}),
            "the answer does not come", id="more money than there is"),
        pytest.param(
            answer({"data": [{**RUNNING, "created_at": "0001-01-01T00:00:00+12:00"}]}),
            "the answer does not come", id="a time before all times"),
        pytest.param(answer({"data": [{**RUNNING, "created_at": "2026-11-22T10:00:00"}]}), "the answer does not come",
            id="a time of no zone"),
        pytest.param(answer({"data": [RUNNING], "next": "x"}), "the daemon's list has no", id="pages in a circle"),
        pytest.param(answer({"data": [], "next": "x"}), "the daemon's list has no", id="an empty page before others"),
        pytest.param(
            answer(b"", status="302 Found", headers="Location: http://127.0.0.1:1/\r\n"), "the answer is a redirect",
            id="a redirect"),
        pytest.param(answer(b"down for \x1b[2J", status="503 Busy"), "HTTP 503", id="a proxy's error"),
        pytest.param(
            answer({"error": {"message": "no\x1b[2J\u202eway"}}, status="403 No"), "no[2Jway",
            id="a refusal with its reason"),
        pytest.param(answer(b"", status="401 Who"), "a user name and a password are required", id="an unfriendly door"),
        pytest.param(
            answer(gzip.compress(b'{"data":[]}'), headers="Content-Encoding: gzip\r\n"), "the answer does not come",
            id="compressed, which was not asked for"),
    ],
)  # fmt: skip
async def test_an_invalid_response_is_one_line_and_exit_code_2(given: bytes, told: str) -> None:
    async with answering(given) as port:
        said = await asked(port, "jobs", "--limit", "0")
    assert (said.exit_code, said.stdout) == (2, "")
    assert said.stderr.startswith(f"Error: http://127.0.0.1:{port}: {told}")
    assert said.stderr.count("\n") == 1


async def test_an_endless_response_is_cut_off() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b" " * (33 << 20)) as port:
        said = await asked(port, "jobs")
    assert "the answer is larger than 32 MiB" in said.stderr


def test_a_silent_server_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        of = connect(Access(url=f"http://127.0.0.1:{silent.getsockname()[1]}"), {}, timeout=0.1)
        with pytest.raises(AskError, match=r"no answer within 0\.1 s"):
            of.get("/api/v1/jobs/a/b", JobDetails)


async def test_a_refused_connection_is_explained() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    said = await asked(port, "jobs")
    assert (said.exit_code, said.stderr) == (
        2,
        f"Error: http://127.0.0.1:{port}: connection refused. {NOBODY_LISTENS}\n",
    )


async def test_unknown_values_of_a_newer_daemon_are_accepted() -> None:
    newer = {**RUNNING, "status": "dreaming", "colour": "blue", "cost": {"usd": "1.00", "basis": "divined"}}
    async with answering(answer({"data": [newer], "next": None, "more": True})) as port:
        said = await asked(port, "jobs")
    assert said.exit_code == 0
    assert {"dreaming", "~$1.00"} <= set(said.stdout.split())


async def test_ages_are_relative_to_now() -> None:
    async with answering(answer({"data": [{**RUNNING, "created_at": "2020-01-01T00:00:00Z"}]})) as port:
        (_, row) = (await asked(port, "jobs")).stdout.splitlines()
    assert int(row.split()[-1].removesuffix("d")) > 2000
