"""Following a job: what is told, once and in order, through whatever the daemon does."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from datetime import datetime
from typing import Any

import pytest

from monitor.clock import SystemClock
from monitor.terminal.asking import AskError, Refused, daemon
from monitor.terminal.look import Look
from monitor.terminal.screen import Screen
from monitor.terminal.server import Server
from monitor.terminal.watching import JsonLines, Lines, Teller, follow
from tests.builders import NOON
from tests.terminal.asked import answer, answering

MOVES = [
    ("appeared", None, "queued"), ("moved", "queued", "running"), ("stalled", "running", "running"),
    ("gone", "running", "running"), ("back", "running", "running"), ("moved", "running", "succeeded"),
]  # fmt: skip
DOWN = answer(b"<html>", status="502 Bad Gateway")
GONE = answer({"error": {"message": "there is no such job"}}, status="404 Not Found")


class Hurried(SystemClock):
    """It is always noon, and nobody waits."""

    def now(self) -> datetime:
        """Noon."""
        return NOON

    async def sleep(self, seconds: float) -> None:
        """Not at all."""


def seen(status: str, moves: int, **over: Any) -> bytes:
    """A job after so many of the moves."""
    moved = [
        {"seq": n, "kind": kind, "from": before, "to": after, "observed_at": f"2026-11-22T10:00:0{n}Z"}
        for n, (kind, before, after) in enumerate(MOVES[:moves], start=1)
    ]
    return answer({"data": {"id": "ftjob-1", "org": "research", "status": status, "transitions": moved, **over}})


async def followed(
    script: list[bytes], teller: Callable[[], Teller], measured: list[dict[str, Any]] | None = None
) -> tuple[int, str]:
    """The exit code and the output, where each look gets the next answer of a script."""
    answers: Iterator[bytes] = iter(script)
    events = answer({"data": [{"message": "", "metrics": one} for one in measured or ()], "next": None})

    def give(request: str) -> bytes:
        return events if "/events" in request else next(answers)

    out = io.StringIO()
    async with answering(give) as port:
        asked = daemon(Server(host="127.0.0.1", port=port, secure=False))
        with redirect_stdout(out):
            code = await follow(asked, "research", "ftjob-1", teller=teller(), clock=Hurried())
    assert next(answers, None) is None
    return code, out.getvalue()


def lines(**look: Any) -> Callable[[], Teller]:
    return lambda: Lines(Screen(lambda: Look(**look)))


async def test_every_change_is_told_once_and_in_order() -> None:
    script = [seen("running", 2, model="gpt-4o", method="dpo"), seen("running", 4), seen("running", 4)]
    script += [seen("succeeded", 6, run_seconds=60, fine_tuned_model="ft:a")]
    code, out = await followed(script, lines())
    assert code == 0
    assert out.splitlines() == [
        "● running  ftjob-1  (research; gpt-4o, dpo)",
        "2026-11-22 10:00:01Z  ● appeared: queued",
        "2026-11-22 10:00:02Z  ● queued → running",
        "2026-11-22 10:00:03Z  ▲ running, without a sign of life",
        "2026-11-22 10:00:04Z  ▲ the provider does not know it any more",
        "2026-11-22 10:00:05Z  ● the provider knows it again: running",
        "2026-11-22 10:00:06Z  ✔ running → succeeded",
        "✔ succeeded after 1m, cost unknown",
        "  ft:a",
    ]


@pytest.mark.parametrize(
    ("status", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 1)], ids=["succeeded", "failed", "cancelled"]
)
async def test_the_exit_code_says_how_it_ended(status: str, code: int) -> None:
    assert (await followed([seen(status, 1)], lines()))[0] == code


async def test_a_failure_is_explained() -> None:
    error = {"code": "invalid_file", "message": "line 7\nand 8", "class": "data", "hint": "Fix it.", "retryable": False}
    _, out = await followed([seen("failed", 1, error=error, cost={"usd": "2.4", "basis": "computed"})], lines())
    assert out.splitlines()[-5:] == [
        "✖ failed, $2.40",
        "  invalid_file (data: will fail again unchanged)",
        "  line 7",
        "  and 8",
        "  Fix it.",
    ]


async def test_without_a_terminal_a_run_is_told_in_tenths() -> None:
    script = [seen("running", 2, progress=share) for share in (0.05, 0.11, 0.15, 0.19, 0.55)] + [seen("cancelled", 2)]
    _, out = await followed(script, lines(), [{"step": 5, "steps": 100}])
    assert [line.partition("Z  ")[2] for line in out.splitlines()[3:-1]] == ["11%, step 5 of 100", "55%, step 5 of 100"]


async def test_a_lost_daemon_is_told_once_and_so_is_its_return() -> None:
    script = [seen("running", 1), DOWN, b"", DOWN, seen("running", 1), DOWN, seen("succeeded", 6)]
    _, out = await followed(script, lines())
    told = [line.partition("Z  ")[2] for line in out.splitlines() if "connect" in line]
    assert told == ["connection lost: it answers with HTTP 502; trying again", "connected again"] * 2


async def test_on_a_terminal_the_last_line_is_written_anew_and_lines_go_above_it() -> None:
    script = [seen("running", 1, progress=0.5), DOWN, seen("running", 2, progress=0.6), seen("succeeded", 6)]
    _, out = await followed(script, lines(live=True, width=60))
    assert "\r● running  ████████████████████░░░░░░░░░░░░░░░░░░░░   50%\x1b[K" in out
    assert "\r\x1b[K2026-11-22 12:00:00Z  connection lost" in out
    assert "\r▲ no answer for 0s\x1b[K" in out
    assert out.rstrip("\n").splitlines()[-1] == "✔ succeeded, cost unknown"


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param([DOWN], AskError, id="a daemon that was never there"),
        pytest.param([GONE], Refused, id="a job that was never there"),
        pytest.param([seen("running", 1), GONE], Refused, id="a job that is there no more"),
    ],
)
async def test_what_cannot_be_waited_for_ends_it(script: list[bytes], expected: type[AskError]) -> None:
    with pytest.raises(expected):
        await followed(script, lines())


async def test_programs_get_one_line_for_each_change() -> None:
    script = [seen("running", 1), seen("running", 1), DOWN, seen("running", 2), seen("succeeded", 6)]
    code, out = await followed(script, JsonLines, [{"step": 5, "train_loss": 0.5}])
    said = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(one["status"], len(one["transitions"])) for one in said] == [
        ("running", 1), ("running", 2), ("succeeded", 6),
    ]  # fmt: skip
    assert (said[0]["metrics"]["step"], said[0]["metrics"]["train_loss"], said[0]["metrics"]["valid_loss"]) == (
        5, 0.5, None,
    )  # fmt: skip
