"""Clocks that jump or are wrong, and time zones: no floods, no silence, no missed end, no negative duration."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from monitor.clock import SystemClock
from monitor.store import opened
from tests.builders import HOUR, NOON
from tests.e2e.daemon import until
from tests.e2e.test_story import rounds
from tests.fakes import Waits
from tests.faults.scenario import PATIENT, Scenario, running_scenario
from tests.store.samples import delivery, letters

SLOW: dict[str, Any] = {"timeout": "10s", "retry_base": "200ms", "retry_max": "1s"}
"""Delivery settings: libfaketime slows the process down, and a late arrival must not count as lost."""
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
DAY = timedelta(days=1)
THREE_DAYS = timedelta(days=3)


@dataclass
class TwoHands(Waits):
    """A wall clock that tests set, with a monotonic clock that runs."""

    wall: datetime = NOON
    steady: float = 1000.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.steady

    async def sleep(self, seconds: float) -> None:
        self.go(timedelta(seconds=seconds))

    def go(self, passed: timedelta) -> None:
        self.wall += passed
        self.steady += passed.total_seconds()


@pytest.mark.fault("G18", "T01", "T02")
@pytest.mark.parametrize(
    ("start", "jump", "age", "dead"),
    [
        pytest.param(NOON, 10 * DAY, HOUR, 0, id="T01 a clock set ahead by ten days makes nothing old"),
        pytest.param(NOON, -10 * DAY, HOUR, 0, id="T01 nor does one that is set back"),
        pytest.param(NOON, timedelta(0), 73 * HOUR, 1, id="what is old is given up"),
        pytest.param(NOON, 10 * DAY, 73 * HOUR, 1, id="what is old is given up, whatever the clock did"),
        pytest.param(datetime(1970, 1, 1, tzinfo=UTC), 20000 * DAY, HOUR, 0, id="T03 from 1970 to today"),
        pytest.param(datetime(2038, 1, 19, 3, 14, tzinfo=UTC), DAY, HOUR, 0, id="T03 over the end of 32 bits"),
    ],
)
async def test_a_jump_of_the_clock_gives_up_no_message(
    tmp_path: Path, start: datetime, jump: timedelta, age: timedelta, dead: int
) -> None:
    clock = TwoHands(start)
    async with opened(f"sqlite:///{tmp_path}/monitor.db", clock=clock) as store:
        await store.jobs.commit(letters(delivery(), at=clock.now()))
        clock.go(age)
        clock.wall += jump
        given_up = await store.outbox.expire(THREE_DAYS)
        assert sum(given_up.values()) == dead
        assert sum((await store.outbox.expire(THREE_DAYS)).values()) == 0
        due = await store.outbox.next_due("ops")
        if dead:
            assert due is None
        else:
            assert due is not None
            assert due <= timedelta(0)


@pytest.mark.fault("G18", "T01", "T02")
async def test_a_message_of_after_the_jump_grows_old_as_any(tmp_path: Path) -> None:
    clock = TwoHands()
    async with opened(f"sqlite:///{tmp_path}/monitor.db", clock=clock) as store:
        clock.wall += 10 * DAY
        await store.jobs.commit(letters(delivery(), at=clock.now()))
        assert sum((await store.outbox.expire(THREE_DAYS)).values()) == 0
        clock.go(THREE_DAYS + HOUR)
        assert sum((await store.outbox.expire(THREE_DAYS)).values()) == 1


@dataclass
class Wrong:
    """The wall clock of a process, changed by libfaketime; its monotonic clock stays right."""

    file: Path
    asked: list[float] = field(default_factory=list)

    @property
    def before(self) -> tuple[str, ...]:
        if LIBRARY is None:
            pytest.skip("libfaketime is not installed")
        return (
            "env", f"LD_PRELOAD={LIBRARY}", f"FAKETIME_TIMESTAMP_FILE={self.file}", "FAKETIME_CACHE_DURATION=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1",
        )  # fmt: skip

    def set(self, offset: str) -> None:
        """Set the clock: +1d, -1d, +0, x0.5 or an absolute @2038-01-19 03:14:00."""
        fresh = self.file.with_name("fresh")
        fresh.write_text(offset)
        fresh.rename(self.file)

    @property
    def middleware(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        @web.middleware
        async def note(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]) -> Any:
            if request.path.endswith("/jobs"):
                self.asked.append(time.monotonic())
            if "/files/" in request.path:
                # Tokens are counted in threads, and libfaketime distorts the waits by which threads alternate.
                return web.json_response({"error": {"message": "no", "code": "missing_scope"}}, status=403)
            return await handler(request)

        return note

    def polls(self, since: float) -> float:
        """The number of polls per second since then."""
        return sum(at >= since for at in self.asked) / (time.monotonic() - since)


async def steady(scenario: Scenario, clock: Wrong, seconds: float) -> None:
    """For this long, assert that it keeps its pace, announces ends, and shows no negative duration."""
    since, told = time.monotonic(), len(scenario.hook.ends())
    await asyncio.sleep(seconds)
    # Two organisations, each every 0.3 s, but libfaketime is slow and the machine may be loaded.
    assert 0.2 < clock.polls(since) < 2 * 2 / 0.3
    await until(lambda: len(scenario.hook.ends()) > told, PATIENT)
    durations = {name: value for name, value in (await scenario.daemon.metrics()).items() if "duration_seconds" in name}
    assert min(durations.values()) >= 0.0
    await scenario.alive()


@pytest.mark.fault("G18", "T01", "T02")
@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "offsets",
    [
        pytest.param(("+1d", "+0"), id="T01 a day ahead, and back"),
        pytest.param(("-1d", "+0"), id="T01 a day back, and right again"),
        pytest.param(("+10m", "-10m", "+0"), id="T02 ten minutes wrong, either way"),
        pytest.param(("+0 x0.5", "+0 x3.0"), id="T01 a slow clock, then a fast one"),
    ],
)
async def test_a_wrong_clock_neither_storms_nor_silences(tmp_path: Path, offsets: tuple[str, ...]) -> None:
    clock = Wrong(tmp_path / "clock")
    clock.set("+0")
    over: dict[str, Any] = {"before": clock.before, "middlewares": [clock.middleware], "delivery": SLOW}
    async with running_scenario(tmp_path, signed=False, **over) as scenario:
        for offset in offsets:
            clock.set(offset)
            await steady(scenario, clock, 4.0)
        await scenario.all_told()
        scenario.assert_sound()
        assert "task.failed" not in scenario.daemon.log
        assert '"kind":"stalled"' not in scenario.daemon.log


@pytest.mark.fault("G18", "T03")
@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("moment", ["@1970-01-01 00:00:10", "@2038-01-19 03:13:50", "@2106-02-07 06:28:00"])
async def test_started_in_another_age_it_works_and_survives_the_correction(tmp_path: Path, moment: str) -> None:
    clock = Wrong(tmp_path / "clock")
    clock.set(moment)
    over: dict[str, Any] = {"before": clock.before, "middlewares": [clock.middleware], "delivery": SLOW}
    async with running_scenario(tmp_path, signed=False, **over) as scenario:
        await steady(scenario, clock, 4.0)
        clock.set("+0")
        await steady(scenario, clock, 4.0)
        await scenario.all_told()
        scenario.assert_sound()
        assert "task.failed" not in scenario.daemon.log
        assert await scenario.daemon.stop() == 0


@pytest.mark.fault("T05")
@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("zone", ["", "Pacific/Apia", "America/St_Johns", "Nonsense/Nowhere"])
async def test_the_time_zone_of_the_machine_is_nowhere_to_be_seen(tmp_path: Path, zone: str) -> None:
    async with running_scenario(tmp_path, before=("env", f"TZ={zone}")) as scenario:
        await scenario.all_told()
        await until(lambda: bool(scenario.hook.bodies), PATIENT)
        await rounds(scenario.daemon, 2)
        told = scenario.hook.bodies[0]["timestamp"]
        shown = (await scenario.daemon.get("/api/v1/jobs"))[1] + (await scenario.daemon.get("/api/v1/orgs"))[1]
        scenario.assert_sound()
    assert abs(datetime.fromisoformat(told).timestamp() - time.time()) < PATIENT
    assert told.endswith("Z")
    moments = re.findall(r'"(\d{4}-\d\d-\d\dT[^"]*)"', shown)
    assert moments
    assert all(moment.endswith(("Z", "+00:00")) for moment in moments)
    written = re.findall(r'"timestamp":"([^"]+)"', scenario.daemon.log)
    assert all(abs((datetime.fromisoformat(at) - SystemClock().now()).total_seconds()) < 120 for at in written)
