"""Excessive answers: decompression bombs, floods and tiny chunks.

Memory, time and the event loop stay within bounds.
"""

from __future__ import annotations

import asyncio
import gzip
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.daemon import until
from tests.faults.daemon import SLACK, WatchedDaemon, memory, watched
from tests.faults.hostile import Call, Fault, Hostile, http, job, listing

pytestmark = pytest.mark.fault("X04")

GROWTH = 150  # MB
INTERVAL = 1.0
SICK = 12.0
HEAD = b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def flood(head: bytes, piece: bytes, times: int) -> Fault:
    """Sends a head, then a piece repeatedly."""

    async def fault(api: Hostile, call: Call) -> None:
        await call.say(head)
        for _ in range(times):
            await call.say(piece)

    return fault


def bomb() -> bytes:
    """A gigabyte of zeros, compressed to a megabyte."""
    return gzip.compress(bytes(1 << 30), 1)


def _large() -> bytes:
    """7.9 MB of valid jobs."""
    jobs, one = [], len(listing(job("ftjob-0000", "running", metadata={"x": "y" * 500}))) + 2
    jobs = [job(f"ftjob-{n:04}", "running", metadata={"x": "y" * 500}) for n in range(7_900_000 // one)]
    return listing(*jobs)


def _nested() -> bytes:
    """Eight megabytes with as many objects as possible."""
    return b'{"data":[' + b"[]," * 2_700_000 + b"[]]}"


CRUMBS = b"1\r\n \r\n" * 20_000
CASES: dict[str, Callable[[], Fault]] = {
    "U25 gzip bomb of 1 GB": lambda: _whole(bomb(), "Content-Encoding: gzip"),
    "U25 512 MB declared": lambda: flood(HEAD + b"Content-Length: 536870912\r\n\r\n", b" " * (1 << 20), 512),
    "U25 512 MB in chunks": lambda: flood(CHUNKED, b"100000\r\n" + b" " * (1 << 20) + b"\r\n", 512),
    "U25 512 MB without a length": lambda: flood(HEAD + b"Connection: close\r\n\r\n", b" " * (1 << 20), 512),
    "U25 2 M chunks of one byte": lambda: flood(CHUNKED, CRUMBS, 100),
    "U25 200 000 empty gzip members": lambda: _whole(gzip.compress(b"") * 200_000, "Content-Encoding: gzip"),
    "U25 deflate bomb": lambda: _whole(_deflated(), "Content-Encoding: deflate"),
    "U26 1xx without a pause": lambda: flood(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 20_000, 100_000),
    "U26 chunk extensions": lambda: flood(CHUNKED, b"1;" + b"x" * 1_000_000, 400),
    "U26 trailers": lambda: flood(CHUNKED + b"0\r\n", b"X: y\r\n" * 100_000, 400),
    "G13 8 MB of lists": lambda: _whole(_nested()),
    "G13 7.9 MB of jobs": lambda: _whole(_large()),
    "U29 answers for ever": lambda: flood(b"", http(listing()) * 10_000, 1_000),
    "N03 crumbs": lambda: _crumbs,
}


def _deflated() -> bytes:
    return zlib.compress(bytes(1 << 29), 1)


def _whole(content: bytes, *headers: str) -> Fault:
    async def fault(api: Hostile, call: Call) -> bool:
        await call.answer(200, content, *headers)
        return False

    return fault


async def _crumbs(api: Hostile, call: Call) -> None:
    """Sends single bytes as fast as possible."""
    await call.say(HEAD + b"Content-Length: 8000000\r\n\r\n")
    for _ in range(200_000):
        await call.say(b" ")
        await asyncio.sleep(0)


@pytest.mark.fault("U25", "U26")
@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("case", CASES)
async def test_one_organisation_without_measure(tmp_path: Path, case: str) -> None:
    good, bad = Hostile("good"), Hostile("bad")
    for api in (good, bad):
        api.begin("ftjob-1")
    fault = CASES[case]()
    async with watched(tmp_path, good, bad, poll={"interval": "1s", "idle_interval": "1s", "timeout": "5s"}) as seen:
        await until(seen.up, 30)
        await seen.polled("good", 2)
        before, seen.rss, seen.answers[:], began = memory(seen.daemon), 0, [], time.monotonic()
        bad.fault = fault
        await asyncio.sleep(SICK)
        delay, gap = await seen.ends("good", "ftjob-1"), seen.gap("good", began)
        trouble = (await seen.troubles())["bad"]
        _print(case, seen, before, gap)
        bad.fault = None
        if case.startswith("G13 7.9"):
            return
        assert trouble in ("malformed", "timeout", "unavailable")
        await seen.ends("bad", "ftjob-1", within=40)
        assert [told.org for told in seen.told] == ["good", "bad"]
    assert seen.rss - before <= GROWTH
    assert delay < INTERVAL + SLACK
    assert gap < INTERVAL + SLACK


@pytest.mark.fault("G13", "U25")
@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_many_without_measure_at_once(tmp_path: Path) -> None:
    good, bad = Hostile("good"), [Hostile(f"bad{number:02}") for number in range(24)]
    for api in (good, *bad):
        api.begin("ftjob-1")
    exploding = _whole(bomb(), "Content-Encoding: gzip")
    almost = flood(HEAD + b"Content-Length: 8000000\r\n\r\n", b" " * 100_000, 79)
    faults = [exploding, almost, CASES["U25 512 MB in chunks"](), CASES["U26 1xx without a pause"]()]
    async with watched(tmp_path, good, *bad, poll={"interval": "1s", "idle_interval": "1s", "timeout": "5s"}) as seen:
        await until(seen.up, 30)
        await seen.polled("good", 2)
        before, seen.rss, seen.answers[:], began = memory(seen.daemon), 0, [], time.monotonic()
        for number, api in enumerate(bad):
            api.fault = faults[number % len(faults)]
        await asyncio.sleep(SICK)
        delay, gap = await seen.ends("good", "ftjob-1"), seen.gap("good", began)
        _print("24 at once", seen, before, gap)
        for api in bad:
            api.fault = None
        await until(seen.up, 40)
        assert [told.org for told in seen.told] == ["good"]
    assert seen.rss - before <= GROWTH
    assert delay < INTERVAL + SLACK
    assert gap < INTERVAL + SLACK


def _print(case: str, seen: WatchedDaemon, before: int, gap: float) -> None:
    print(
        f"\n{case}: memory {before} + {seen.rss - before} MB, poll gap of the good one {gap:.2f} s,",
        f"/-/healthy at most {max(seen.answers):.3f} s",
    )
