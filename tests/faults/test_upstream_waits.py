"""How long a server asks to wait, and how long we wait: neither less, nor forever."""

from __future__ import annotations

import asyncio
import itertools
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest

from tests.e2e.daemon import until
from tests.faults.daemon import INTERVAL, SLACK, watched
from tests.faults.hostile import Call, Fault, Hostile


def refusing(status: int, *, code: str | None = None, **headers: float | str) -> Fault:
    """Refuses with these headers; `Retry_At` becomes a Retry-After date this many seconds ahead."""

    async def fault(api: Hostile, call: Call) -> bool:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await call.refuse(status, "slow down", *lines, code=code)
        return False

    return fault


def dated(ahead: float, wrong: float) -> Fault:
    """429 until a date, by a clock that is this many seconds wrong."""

    async def fault(api: Hostile, call: Call) -> bool:
        now = time.time() + wrong
        date, until_then = (format_datetime(datetime.fromtimestamp(at, UTC), usegmt=True) for at in (now, now + ahead))
        await call.refuse(429, "slow down", f"Date: {date}", f"Retry-After: {until_then}")
        return False

    return fault


CASES: dict[str, tuple[Fault, float, float]] = {
    "U03 seconds": (refusing(429, Retry_After=2), 2.0, 2.2),
    "U03 a fraction": (refusing(429, Retry_After=2.5), 2.5, 2.75),
    "U03 milliseconds": (refusing(429, retry_after_ms=1700, Retry_After=1), 1.7, 1.9),
    "U03 503": (refusing(503, Retry_After=3), 3.0, 3.3),
    "U04 a date": (dated(3, 0), 2.0, 4.4),
    "U04 a date, an hour ahead": (dated(3, 3600), 2.0, 4.4),
    "U04 a date, an hour behind": (dated(3, -3600), 2.0, 4.4),
    "U05 nothing": (refusing(429), 0.5, 3.0),
    "U05 negative": (refusing(429, Retry_After="-3600"), 0.5, 3.0),
    "U05 a date long ago": (dated(-5000, 0), 0.5, 3.0),
    "U07 spent, with a wait": (refusing(429, code="insufficient_quota", Retry_After=4), 4.0, 4.5),
    "U07 spent": (refusing(429, code="insufficient_quota"), 1.5, 3.0),
}


@pytest.mark.fault("G15", "U03", "U04", "U05", "U06", "U07")
@pytest.mark.slow
@pytest.mark.timeout(100)
async def test_waits_are_kept_and_capped(tmp_path: Path) -> None:
    apis = {f"org{number:02}": Hostile(f"org{number:02}") for number in range(len(CASES))}
    good, endless = Hostile("good"), Hostile("endless")
    everyone = (good, endless, *apis.values())
    for api in everyone:
        api.begin("ftjob-1")
    async with watched(tmp_path, *everyone) as seen:
        await until(seen.up, 30)
        began = time.monotonic()
        for api, (fault, _, _) in zip(apis.values(), CASES.values(), strict=True):
            api.fault = fault
        endless.fault = refusing(429, Retry_After=99999999999)
        await asyncio.sleep(14)
        delay = await seen.ends("good", "ftjob-1")
        wrong = {}
        for case, api in zip(CASES, apis.values(), strict=True):
            moments = [at for at in api.lists() if at > began]
            gaps = [b - a for a, b in itertools.pairwise(moments)]
            _, least, most = CASES[case]
            if len(gaps) < 2 or min(gaps) < least - 0.01 or max(gaps) > most + SLACK:
                wrong[case] = gaps
        assert wrong == {}
        due = datetime.fromisoformat((await seen.orgs())["endless"]["next_poll_at"])
        assert 3_400 < (due - datetime.now(UTC)).total_seconds() <= 3_970
        assert len([at for at in endless.lists() if at > began]) == 1
        assert '"event":"retry_after.capped"' in seen.daemon.log
        lines = [line for line in seen.daemon.log.splitlines() if '"event":"poll.failed"' in line]
        assert len(lines) == len({line.split('"org":')[1].split(",")[0] for line in lines}), "said more than once"
        assert max(delay, seen.gap("good", began)) < INTERVAL + SLACK
        assert [told.org for told in seen.told] == ["good"]
