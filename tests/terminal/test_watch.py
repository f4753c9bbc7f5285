"""The command `watch`: what is printed, once and in order, whatever the daemon does."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any

import pytest
from anyio import to_thread
from rich.console import Console
from rich.live import Live

from monitor.terminal.access import Access
from monitor.terminal.client import AskError, Refused, connect
from monitor.terminal.watch import JsonLines, Lines, follow
from tests.builders import NOON
from tests.terminal.asked import answer, answering

MOVES = [
    ("appeared", None, "queued"), ("moved", "queued", "running"), ("stalled", "running", "running"),
    ("gone", "running", "running"), ("back", "running", "running"), ("moved", "running", "succeeded"),
]  # fmt: skip
DOWN = answer(b"<html>", status="502 Bad Gateway")
GONE = answer({"error": {"message": "there is no such job"}}, status="404 Not Found")


def seen(status: str, moves: int, **over: Any) -> bytes:
    """A job after this many of the moves."""
    moved = [
        {"seq": n, "kind": kind, "from": before, "to": after, "observed_at": f"2026-11-22T10:00:0{n}Z"}
        for n, (kind, before, after) in enumerate(MOVES[:moves], start=1)
    ]
    return answer({"data": {"id": "ftjob-1", "org": "research", "status": status, "transitions": moved, **over}})


async def followed(
    script: list[bytes], measured: list[dict[str, Any]] | None = None, *, as_json: bool = False, **terminal: Any
) -> tuple[int, str]:
    """Run `watch` with a script of answers, at noon. Returns the exit code and the output."""
    answers: Iterator[bytes] = iter(script)
    events = answer({"data": [{"message": "", "metrics": one} for one in measured or ()], "next": None})

    def give(request: str) -> bytes:
        return events if "/events" in request else next(answers)

    out = io.StringIO()
    shown = Console(file=out, markup=False, highlight=False, **{"width": 200, **terminal})

    def run() -> int:
        daemon = connect(Access(url=f"http://127.0.0.1:{port}"), {})
        with redirect_stdout(out), Live(console=shown, auto_refresh=False, transient=True) as live:
            reporter = JsonLines() if as_json else Lines(shown, live)
            return follow(daemon, "research", "ftjob-1", reporter, now=lambda: NOON, sleep=lambda seconds: None)

    async with answering(give) as port:
        code = await to_thread.run_sync(run)
    assert next(answers, None) is None
    return code, out.getvalue()


async def test_every_change_is_printed_once_and_in_order() -> None:
    script = [seen("running", 2, model="gpt-4o", method="dpo"), seen("running", 4), seen("running", 4)]
    script += [seen("succeeded", 6, run_seconds=60, fine_tuned_model="ft:a")]
    code, out = await followed(script)
    assert code == 0
    assert out.splitlines() == [
        "● running  ftjob-1  (research; gpt-4o, dpo)",
        "2026-11-22 10:00:01Z  ● appeared: queued",
        "2026-11-22 10:00:02Z  ● queued → running",
        "2026-11-22 10:00:03Z  ▲ running, stalled",
        "2026-11-22 10:00:04Z  ▲ the provider no longer knows the job",
        "2026-11-22 10:00:05Z  ● the provider knows the job again: running",
        "2026-11-22 10:00:06Z  ✔ running → succeeded",
        "✔ succeeded after 1m, cost unknown",
        "  ft:a",
    ]


@pytest.mark.parametrize(
    ("status", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 1)], ids=["succeeded", "failed", "cancelled"]
)
async def test_the_exit_code_says_how_it_ended(status: str, code: int) -> None:
    assert (await followed([seen(status, 1)]))[0] == code


async def test_a_failure_is_explained() -> None:
    error = {"code": "invalid_file", "message": "line 7\nand 8", "class": "data", "hint": "Fix it.", "retryable": False}
    _, out = await followed([seen("failed", 1, error=error, cost={"usd": "2.4", "basis": "computed"})])
    assert [line.rstrip() for line in out.splitlines()[-5:]] == [
        "✖ failed, $2.40",
        "  invalid_file (data: retrying it unchanged will fail again)",
        "  line 7",
        "  and 8",
        "  Fix it.",
    ]


async def test_without_a_terminal_a_run_is_reported_in_tenths() -> None:
    script = [seen("running", 2, progress=share) for share in (0.05, 0.11, 0.15, 0.19, 0.55)] + [seen("cancelled", 2)]
    _, out = await followed(script, [{"step": 5, "steps": 100}])
    assert [line.partition("Z  ")[2] for line in out.splitlines()[3:-1]] == ["11%, step 5 of 100", "55%, step 5 of 100"]


async def test_a_lost_daemon_is_reported_once_and_so_is_its_return() -> None:
    script = [seen("running", 1), DOWN, b"", DOWN, seen("running", 1), DOWN, seen("succeeded", 6)]
    _, out = await followed(script)
    told = [line.partition("Z  ")[2] for line in out.splitlines() if "connect" in line]
    lost, again, *rest = told
    assert re.fullmatch(r"connection lost: http://127\.0\.0\.1:\d+: HTTP 502; retrying", lost)
    assert (again, rest) == ("reconnected", [lost, again])


async def test_on_a_terminal_the_progress_line_stays_last() -> None:
    script = [seen("running", 1, progress=0.5), DOWN, seen("running", 2, progress=0.6), seen("succeeded", 6)]
    _, out = await followed(script, force_terminal=True, color_system=None, width=60)
    states = re.split(r"(?:[\r\n]|\x1b\[[0-9;?]*[A-Za-z])+", out)
    assert any(re.fullmatch(r"● running  ━+╸? +50%", line) for line in states)
    assert any("connection lost: " in line for line in states)
    assert any(line.endswith("▲ no answer for 0s") for line in states)
    assert "✔ succeeded, cost unknown" in states
    assert states.index("✔ succeeded, cost unknown") > max(n for n, line in enumerate(states) if "60%" in line)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param([DOWN], AskError, id="a daemon that was never there"),
        pytest.param([GONE], Refused, id="a job that was never there"),
        pytest.param([seen("running", 1), GONE], Refused, id="a job that is there no more"),
    ],
)
async def test_an_unwatchable_job_ends_the_command(script: list[bytes], expected: type[AskError]) -> None:
    with pytest.raises(expected):
        await followed(script)


async def test_programs_get_one_line_for_each_change() -> None:
    script = [seen("running", 1), seen("running", 1), DOWN, seen("running", 2), seen("succeeded", 6)]
    code, out = await followed(script, [{"step": 5, "train_loss": 0.5}], as_json=True)
    said = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(one["status"], len(one["transitions"])) for one in said] == [
        ("running", 1), ("running", 2), ("succeeded", 6),
    ]  # fmt: skip
    assert (said[0]["metrics"]["step"], said[0]["metrics"]["train_loss"], said[0]["metrics"]["valid_loss"]) == (
        5, 0.5, None,
    )  # fmt: skip
