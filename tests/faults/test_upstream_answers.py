"""Answers that are not pages, and connections without an answer, each in an organisation next to a good one."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import struct
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.e2e.daemon import until
from tests.faults.daemon import INTERVAL, SLACK, watched
from tests.faults.hostile import Call, Fault, Hostile, http, listing

PAGE = listing()
SICK = 6.0  # seconds for which all faults last
TIMEOUT: set[str | None] = {"timeout"}
MALFORMED: set[str | None] = {"malformed"}
UNAVAILABLE: set[str | None] = {"unavailable"}
LIMITED: set[str | None] = {"rate_limited"}
AUTH: set[str | None] = {"auth"}
SPENT: set[str | None] = {"not_eligible"}
dice = random.Random(77)


def saying(content: bytes, *headers: str, status: int = 200) -> Fault:
    """Answers everything with this."""

    async def fault(api: Hostile, call: Call) -> bool:
        await call.answer(status, content, *headers)
        return False

    return fault


def raw(*pieces: bytes, pause: float = 0.0, then: Callable[[Call], Awaitable[None]] | None = None) -> Fault:
    """Sends exactly this and closes, or calls `then`."""

    async def fault(api: Hostile, call: Call) -> None:
        await call.say(*pieces, pause=pause)
        if then is not None:
            await then(call)

    return fault


async def silence(api: Hostile, call: Call) -> None:
    await call.silence()


async def reset(api: Hostile, call: Call) -> None:
    call.reset()


async def half_then_reset(api: Hostile, call: Call) -> None:
    await call.say(http(PAGE)[:-4])
    call.reset()


async def mixed(api: Hostile, call: Call) -> bool:
    if dice.random() < 0.5:
        return True
    status = dice.choice([500, 502, 503])
    await call.answer(status, b"<html>Bad gateway</html>" if status == 502 else b"{}", "Content-Type: text/html")
    return False


async def echo(api: Hostile, call: Call) -> bool:
    words = f"Incorrect API key provided: {api.key}. Again: {api.key[10:40]}"
    await call.refuse(401, words, f"X-Key: {api.key}", f"WWW-Authenticate: Bearer {api.key}", code=api.key)
    return False


async def sets_cookie(api: Hostile, call: Call) -> bool:
    await call.answer(500, b"{}", f"Set-Cookie: session={api.name}; Path=/; Domain=127.0.0.1")
    return False


async def one_of_three(api: Hostile, call: Call) -> bool:
    """Every third connection is cut after a random number of bytes."""
    if dice.random() < 0.7:
        return True
    await call.say(http(json.dumps(api.page(api.jobs, call)).encode())[: dice.randrange(200)])
    call.reset()
    return False


async def poison(api: Hostile, call: Call) -> bool:
    """A second answer after the first, which would be a false answer to the next request."""
    truth = http(json.dumps(api.page(api.jobs, call)).encode()) if call.path == "jobs" else http(PAGE)
    lie = http(listing(*({**each, "status": "failed"} for each in api.jobs)))
    call.writer.write(truth + lie)
    await call.writer.drain()
    await asyncio.sleep(0)
    await call.say(lie)
    await call.silence()
    return False


async def same_cursor(api: Hostile, call: Call) -> bool:
    await call.answer(200, listing(*api.jobs, has_more=True))
    return False


async def project_barred(api: Hostile, call: Call) -> bool:
    await call.refuse(403, "You have insufficient permissions for this operation.", code="project_forbidden")
    return False


def limited(*headers: str, status: int = 429) -> Fault:
    async def fault(api: Hostile, call: Call) -> bool:
        await call.refuse(status, "slow down", *headers)
        return False

    return fault


DEEP = b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
ZERO = b'{"object":"list","data":[{"id":"x","status":"failed","created_at":'
CASES: dict[str, tuple[Fault, set[str | None]]] = {
    "U01 500": (saying(b"{}", status=500), UNAVAILABLE),
    "U02 half of it 500, 502, 503": (mixed, {*UNAVAILABLE, *MALFORMED, None}),
    "U03 429 with seconds": (limited("Retry-After: 2"), LIMITED),
    "U03 503 with seconds": (limited("Retry-After: 2", status=503), UNAVAILABLE),
    "U05 429 with nothing": (limited(), LIMITED),
    "U05 429 with garbage": (limited("Retry-After: soon"), LIMITED),
    "U05 429 with a negative number": (limited("Retry-After: -5"), LIMITED),
    "U05 429 with NaN": (limited("Retry-After: NaN"), LIMITED),
    "U05 429 with two": (limited("Retry-After: 1", "Retry-After: 7200"), LIMITED),
    "U07 quota spent": (
        saying(b'{"error":{"message":"You exceeded","code":"insufficient_quota"}}', status=429),
        SPENT,
    ),
    "U08 key revoked": (saying(b'{"error":{"code":"invalid_api_key"}}', status=401), AUTH),
    "U09 one project is barred": (project_barred, AUTH),
    "U10 the key is repeated": (echo, AUTH),
    "U11 404 on the list": (saying(b'{"error":{"message":"Invalid URL"}}', status=404), MALFORMED),
    "U12 a portal": (saying(b"<html>log in</html>", "Content-Type: text/html"), MALFORMED),
    "U12 a portal labelled JSON": (saying(b"<html>log in</html>", "Content-Type: application/json"), MALFORMED),
    "U13 nothing": (saying(b""), MALFORMED),
    "U13 204": (raw(b"HTTP/1.1 204 No Content\r\n\r\n"), MALFORMED),
    "U13 null": (saying(b"null"), MALFORMED),
    "U13 a bare list": (saying(b"[]"), MALFORMED),
    "U13 a text": (saying(b'"x"'), MALFORMED),
    "U13 an empty object": (saying(b"{}"), MALFORMED),
    "U14 truncated JSON": (saying(PAGE[:-3]), MALFORMED),
    "U14 half a body, FIN": (raw(http(PAGE)[:-4]), UNAVAILABLE),
    "U14 half a body, RST": (half_then_reset, UNAVAILABLE),
    "U14 chunks break off": (raw(b'HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"da'), UNAVAILABLE),
    "U15 100 000 levels": (saying(DEEP), MALFORMED),
    "U15 bad UTF-8": (saying(ZERO + b'1,"suffix":"\xff\xfe"}]}'), MALFORMED),
    "U26 a header of 2 MB": (raw(b"HTTP/1.1 200 X\r\nX: " + b"x" * 2_000_000 + b"\r\n\r\n"), MALFORMED),
    "U26 100 000 headers": (
        raw(b"HTTP/1.1 200 X\r\n" + b"".join(b"X%d: x\r\n" % n for n in range(100_000)) + b"\r\n"),
        MALFORMED,
    ),
    "U26 1xx for ever": (raw(*[b"HTTP/1.1 102 Processing\r\n\r\n"] * 5_000, pause=0.002), {*MALFORMED, *TIMEOUT}),
    "U28 a cookie": (sets_cookie, UNAVAILABLE),
    "U29 a second answer": (poison, {None}),
    "U29 a length and chunks": (
        raw(b"HTTP/1.1 200 X\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + http(PAGE)),
        MALFORMED,
    ),
    "U29 a length that is too small": (raw(b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n" + PAGE), MALFORMED),
    "U29 a length that is too large": (raw(b"HTTP/1.1 200 X\r\nContent-Length: 999\r\n\r\n" + PAGE), UNAVAILABLE),
    "N01 RST": (reset, UNAVAILABLE),
    "N02 silence": (silence, TIMEOUT),
    "N03 headers in drips": (raw(b"HTTP/1.1 200 X\r\n", *[b"X: y\r\n"] * 100, pause=0.1), TIMEOUT),
    "N03 a body in drips": (raw(http(PAGE + b" " * 99)[:-99], *[b" "] * 99, pause=0.1), TIMEOUT),
    "N04 a stall in mid-body": (raw(http(PAGE)[:-4], then=Call.silence), TIMEOUT),
    "N06 every third is cut": (one_of_three, {*UNAVAILABLE, *TIMEOUT, *MALFORMED, None}),
    "C01 the same cursor for ever": (same_cursor, {*MALFORMED, None}),
    "gzip that breaks off": (saying(gzip.compress(PAGE)[:-9], "Content-Encoding: gzip"), MALFORMED),
    "gzip with a wrong sum": (
        saying(gzip.compress(PAGE)[:-8] + struct.pack("<II", 1, len(PAGE)), "Content-Encoding: gzip"),
        MALFORMED,
    ),
}


@pytest.mark.fault(
    "U01",
    "U02",
    "U03",
    "U04",
    "U05",
    "U06",
    "U07",
    "U08",
    "U09",
    "U10",
    "U11",
    "U12",
    "U13",
    "U14",
    "U15",
    "U26",
    "U28",
    "U29",
    "N01",
    "N02",
    "N03",
    "N04",
    "N05",
    "N06",
    "C01",
)
@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_hold_up_nobody_and_pass(tmp_path: Path) -> None:
    good = Hostile("good")
    names = {f"bad{number:02}": case for number, case in enumerate(CASES)}
    apis = {name: Hostile(name) for name in names}
    for api in (good, *apis.values()):
        api.begin("ftjob-old", "succeeded")
        api.begin("ftjob-1")
    good.begin("ftjob-2")
    async with watched(tmp_path, good, *apis.values()) as seen:
        await until(seen.up, 30)
        began = time.monotonic()
        for name, case in names.items():
            apis[name].fault = CASES[case][0]
        await asyncio.sleep(SICK / 2)
        delay = await seen.ends("good", "ftjob-1")
        await asyncio.sleep(SICK / 2)
        troubles, gap = await seen.troubles(), seen.gap("good", began)
        said = seen.daemon.log + "".join(
            [(await seen.daemon.get(page))[1] for page in ("/", "/metrics", "/api/v1/orgs")]
        )
        assert seen.told[1:] == []
        wrong = {case: troubles[name] for name, case in names.items() if troubles[name] not in CASES[case][1]}
        asked = {case: (api.asked, began) for case, api in zip(CASES, apis.values(), strict=True)}
        hot = {
            case: n
            for case, (calls, start) in asked.items()
            if (n := _rate(calls, start)) > 2.2 and case[:3] not in _AT_WORK
        }
        cookies = [name for name, api in apis.items() if any("cookie" in call.headers for call in api.asked)]
        for api in apis.values():
            api.fault = None
        recovered = time.monotonic()
        for api in apis.values():
            api.move("ftjob-1", "failed")
        await until(lambda: len(seen.told) == 1 + len(apis), 40)
        await until(seen.up, 40)
        well = time.monotonic() - recovered
        print(f"\ngood: poll gap {gap:.2f} s, told after {delay:.2f} s; all well again after {well:.1f} s")
        print(f"/-/healthy at most {max(seen.answers):.3f} s")
        await seen.polled("good", 3)
        assert sorted(seen.of("good")) == [("ftjob-1", "succeeded")]
        assert {name: seen.of(name) for name in apis} == {name: [("ftjob-1", "failed")] for name in apis}
    assert wrong == {}
    assert hot == {}
    assert cookies == []
    assert delay < INTERVAL + SLACK
    assert gap < INTERVAL + SLACK
    leaks = [part for api in apis.values() for n in range(len(api.key) - 11) if (part := api.key[n : n + 12]) in said]
    assert leaks == []


_AT_WORK = ("U02", "U29", "N06", "C01")  # faults that are not failures, or not always


def _rate(calls: list[Call], since: float) -> float:
    later = [call.at for call in calls if call.at > since + 1.0]
    return len(later) / max(time.monotonic() - since - 1.0, 1.0)
