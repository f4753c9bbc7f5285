"""Disks that are full, fail or are locked: nothing is announced that is not stored, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from monitor.simulator import Traffic
from tests.e2e.daemon import until
from tests.faults.machine import failing, fill, resize, tmpfs
from tests.faults.scenario import PATIENT, Scenario, running_scenario

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def store(path: Path) -> dict[str, Any]:
    return {"url": f"sqlite:///{path}"}


def sound(path: Path) -> None:
    """Assert that the database is intact."""
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def nothing_is_told_while_unready(scenario: Scenario, seconds: float) -> None:
    """Assert that for this long it is not ready, but alive and silent."""
    await until(scenario.unready, PATIENT)
    told = len(scenario.arrivals)
    for _ in range(int(seconds / 0.25)):
        assert await scenario.alive() < 1.0
        assert await scenario.unready()
        await asyncio.sleep(0.25)
    assert len(scenario.arrivals) == told


async def recovered(scenario: Scenario) -> None:
    """Wait until everything is announced and the process is ready again, without help."""
    await scenario.all_told()
    await until(scenario.ready, PATIENT)


@pytest.mark.fault("G1", "G6", "G19", "S01")
async def test_a_full_disk_silences_and_room_heals(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "8m") as disk:  # room for the write-ahead log, which is limited to 4 MiB
        database = disk / "monitor.db"
        async with running_scenario(tmp_path, store=store(database)) as scenario:
            ballast = fill(disk)
            await nothing_is_told_while_unready(scenario, 5.0)
            ballast.unlink()
            await recovered(scenario)
            scenario.assert_sound()
            assert await scenario.daemon.stop() == 0
        sound(database)


@pytest.mark.fault("G1", "G6", "G19", "S01")
async def test_a_disk_full_during_the_baseline_makes_no_news_of_history(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "400k") as disk:
        database = disk / "monitor.db"
        traffic = Traffic(history=200, gap=(0.4, 1.2))
        async with running_scenario(tmp_path, store=store(database), traffic=traffic) as scenario:
            await nothing_is_told_while_unready(scenario, 3.0)
            resize(disk, "50m")
            await until(scenario.ready, PATIENT)
            await until(lambda: scenario.daemon.log.count('"event":"org.first_seen"') == 2, PATIENT)
            first = first_seen(scenario)
            scenario.born, scenario.before = max(first), min(first) - 3.0  # a poll takes a moment
            await recovered(scenario)
            scenario.assert_sound()
        sound(database)


def first_seen(scenario: Scenario) -> list[float]:
    """When each organisation was first seen."""
    lines = [json.loads(line) for line in scenario.daemon.log.splitlines() if '"event":"org.first_seen"' in line]
    return [datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines]


@pytest.mark.fault("G1", "G6", "G19", "S01")
async def test_what_was_sent_into_a_full_disk_is_not_sent_again(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "8m") as disk:  # room for the write-ahead log, which is limited to 4 MiB
        database = disk / "monitor.db"
        ballast: list[Path] = []
        async with running_scenario(tmp_path, store=store(database)) as scenario:

            def fill_once(_body: dict[str, Any]) -> None:
                if not ballast:
                    ballast.append(fill(disk))

            scenario.on_arrival = fill_once
            await until(lambda: bool(ballast), PATIENT)
            await nothing_is_told_while_unready(scenario, 3.0)
            ballast[0].unlink()
            await recovered(scenario)
            scenario.assert_sound()
        sound(database)


@pytest.mark.fault("S02", "S04")
@pytest.mark.parametrize(
    ("calls", "how"),
    [
        pytest.param("fdatasync,fsync", "error=EIO", id="S02 EIO on fsync"),
        pytest.param("pwrite64", "error=EIO", id="S02 EIO on write"),
        pytest.param("pwrite64", "error=ENOSPC", id="S02 ENOSPC on write"),
        pytest.param("pwrite64", "error=EROFS", id="S04 a file system that turns read-only"),
        pytest.param("fdatasync,fsync", "delay_enter=300000", id="S02 a disk that takes 0.3 s for every fsync"),
    ],
)
async def test_a_failing_disk_is_no_success(tmp_path: Path, calls: str, how: str) -> None:
    database = tmp_path / "monitor.db"
    async with running_scenario(tmp_path, store=store(database)) as scenario:
        assert scenario.daemon.process is not None
        async with failing(scenario.daemon.process.pid, calls, how, tmp_path / "strace"):
            if how.startswith("error"):
                await nothing_is_told_while_unready(scenario, 4.0)
            else:
                for _ in range(10):
                    assert await scenario.alive() < 1.0
                    await asyncio.sleep(0.25)
        await recovered(scenario)
        # A failed commit may have been written all the same; what was sent is never sent twice because of that.
        scenario.assert_sound()
        assert await scenario.daemon.stop() == 0
    sound(database)


@pytest.mark.fault("S03")
@pytest.mark.parametrize("seconds", [pytest.param(6.0, id="S03 for 6 s"), pytest.param(60.0, id="S03 for 60 s")])
async def test_a_database_locked_by_another_process_waits(tmp_path: Path, seconds: float) -> None:
    database = tmp_path / "monitor.db"
    async with running_scenario(tmp_path, store=store(database)) as scenario:
        other = sqlite3.connect(database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await nothing_is_told_while_unready(scenario, seconds)
        other.execute("ROLLBACK")
        other.close()
        await recovered(scenario)
        scenario.assert_sound()
    sound(database)


@pytest.mark.fault("S09")
async def test_a_long_reader_lets_the_wal_grow_and_its_end_lets_it_shrink(tmp_path: Path) -> None:
    database, wal = tmp_path / "monitor.db", tmp_path / "monitor.db-wal"
    async with running_scenario(tmp_path, store=store(database)) as scenario:
        other = sqlite3.connect(database, isolation_level=None)
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM job").fetchall()
        await until(lambda: len(scenario.arrivals) > 10, PATIENT)
        other.execute("ROLLBACK")
        other.close()
        await recovered(scenario)
        scenario.assert_sound()
        assert wal.stat().st_size < 64 * 1024 * 1024
        assert await scenario.daemon.stop() == 0
    assert not wal.exists()
    sound(database)


@pytest.mark.fault("G19", "S11")
async def test_a_limit_on_file_sizes_is_a_full_disk(tmp_path: Path) -> None:
    database, wal = tmp_path / "monitor.db", tmp_path / "monitor.db-wal"
    async with running_scenario(tmp_path, store=store(database)) as scenario:
        assert scenario.daemon.process is not None
        pid = scenario.daemon.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (wal.stat().st_size, hard))
        await nothing_is_told_while_unready(scenario, 4.0)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        await recovered(scenario)
        scenario.assert_sound()
        assert await scenario.daemon.stop(signal.SIGINT) == 0
    sound(database)
