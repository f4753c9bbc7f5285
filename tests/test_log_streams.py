"""A log that nobody reads, or that cannot be written, does not hold the program up."""

from __future__ import annotations

import json
import os
import subprocess
import sys

PROGRAM = """
import sys
from monitor import log
log.configure(level="info", format="json", redactor=str, stream=sys.stderr)
for number in range(int(sys.argv[1])):
    log.get_logger().info("poll.failed", number=number, filler="x" * 1000)
print("done", flush=True)
"""


def start(lines: int, stderr: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(lines)], stdout=subprocess.PIPE, stderr=stderr)


def test_every_line_arrives_in_order_also_those_from_just_before_the_end() -> None:
    with start(500, subprocess.PIPE) as program:
        out, err = program.communicate(timeout=30)
    assert [json.loads(line)["number"] for line in err.splitlines()] == list(range(500))
    assert (out, program.returncode) == (b"done\n", 0)


def test_a_pipe_that_nobody_reads_does_not_hold_the_program_up() -> None:
    read, write = os.pipe()
    try:
        with start(12_000, write) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == b"done\n"
            assert program.wait(timeout=20) == 0
    finally:
        os.close(read)
        os.close(write)


def test_a_pipe_that_was_closed_does_not_hold_the_program_up() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        with start(50, write) as program:
            out, _ = program.communicate(timeout=20)
        assert (out, program.returncode) == (b"done\n", 0)
    finally:
        os.close(write)


def test_a_full_disk_does_not_hold_the_program_up() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with start(50, full) as program:
            out, _ = program.communicate(timeout=20)
        assert (out, program.returncode) == (b"done\n", 0)
    finally:
        os.close(full)
