"""A database that is unavailable, lost, damaged, too new or too old: never a silent fresh start."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemon import until
from tests.faults.machine import allowed, needs, tmpfs
from tests.faults.scenario import PATIENT, Scenario, running_scenario

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def store(path: Path) -> dict[str, Any]:
    return {"url": f"sqlite:///{path}"}


def sound(path: Path) -> None:
    """Assert that the database is intact."""
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def recovered(scenario: Scenario) -> None:
    """Wait until everything is announced and the process is ready again, without help."""
    await scenario.all_told()
    await until(scenario.ready, PATIENT)


@pytest.mark.fault("S04")
async def test_a_directory_on_a_read_only_file_system_is_a_clear_error(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "1m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)  # noqa: ASYNC221 - the loop may wait
        code, said = await started(tmp_path, disk / "monitor.db")
    assert code == 1
    assert "Read-only file system" in said
    assert "Traceback" not in said


CONFIG = """organizations: [{{name: a, provider: openai, base_url: "http://127.0.0.1:9/v1", api_key: sk-0123456789}}]
store: {{url: "sqlite:///{path}"}}
server: {{listen: "127.0.0.1:0"}}
"""


async def started(folder: Path, database: Path, *before: str) -> tuple[int, str]:
    """The exit code and output of a start that must fail."""
    file = folder / "other.yaml"
    file.write_text(CONFIG.format(path=database))
    process = await asyncio.create_subprocess_exec(
        *before, sys.executable, "-m", "monitor", "run", "--config", str(file), cwd=folder,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        out, _ = await asyncio.wait_for(process.communicate(), PATIENT)
    except TimeoutError:
        process.kill()
        raise
    return process.returncode or 0, out.decode()


def replace_by_a_copy(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").rename(path)


@pytest.mark.fault("S05")
@pytest.mark.parametrize(
    ("harm", "refused"),
    [
        pytest.param(lambda path: path.unlink(), True, id="S05 deleted"),
        pytest.param(lambda path: os.truncate(path, 4096), True, id="S05 truncated"),
        pytest.param(replace_by_a_copy, False, id="S05 replaced by a copy"),
    ],
)
async def test_a_database_that_goes_while_in_use_ends_the_program(
    tmp_path: Path, harm: Callable[[Path], Any], *, refused: bool
) -> None:
    database = tmp_path / "monitor.db"
    async with running_scenario(tmp_path, store=store(database)) as scenario:
        await scenario.all_told()
        sqlite3.connect(database).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
        harm(database)
        assert await scenario.gone() == 1
        # A reader that finds the truncated file damaged before it checks the length is just as good.
        assert "while in use" in scenario.daemon.log or "the database is damaged" in scenario.daemon.log
        if refused:
            assert await refused_to_start(scenario)
            scenario.assert_sound()
        else:  # a person put it there: it is used, and what it does not know is announced again with the same id
            await scenario.again()
            await recovered(scenario)
            assert scenario.false() == set()


async def refused_to_start(scenario: Scenario) -> bool:
    """Whether it exits with 1 and advice, twice in a row."""
    for _ in range(2):
        with pytest.raises(AssertionError, match="restore it from a backup"):
            await scenario.daemon.start()
        if await scenario.gone() != 1:
            return False
    return True


@pytest.mark.fault("G19", "S06")
async def test_a_corrupted_page_is_never_a_fresh_start(tmp_path: Path) -> None:
    database = tmp_path / "monitor.db"
    async with running_scenario(tmp_path, store=store(database)) as scenario:
        await scenario.all_told()
        assert await scenario.daemon.stop() == 0
        with database.open("r+b") as file:
            file.seek(3 * 4096)
            file.write(b"\xff" * 4096)
        before = database.read_bytes()
        assert await refused_to_start(scenario)
        assert database.read_bytes() == before
        scenario.assert_sound()


@pytest.mark.fault("S07")
async def test_a_newer_schema_is_refused_in_one_line(tmp_path: Path) -> None:
    database = tmp_path / "monitor.db"
    async with running_scenario(tmp_path, store=store(database)) as scenario:
        assert await scenario.daemon.stop() == 0
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    code, said = await started(tmp_path, database)
    assert code == 1
    assert "9999" in said
    assert "newer version" in said
    assert "Traceback" not in said


@pytest.mark.fault("S07")
@pytest.mark.parametrize("nth", [1, 2, 5, 9, 14, 20, 27])
async def test_killed_at_the_nth_write_of_a_migration_it_starts_again(tmp_path: Path, nth: int) -> None:
    needs("strace")
    allowed("strace", "-qq", "-o", "/dev/null", "true")
    database = tmp_path / "monitor.db"
    code, _ = await started(
        tmp_path, database, "strace", "-f", "-qq", "-o", "/dev/null", "-P", str(database), "-P", f"{database}-wal",
        "-e", "trace=pwrite64", "-e", f"inject=pwrite64:signal=KILL:when={nth}",
    )  # fmt: skip
    assert code != 0
    async with running_scenario(tmp_path, store=store(database)) as scenario:
        await recovered(scenario)
        scenario.assert_sound()
    sound(database)


@pytest.mark.fault("S10")
async def test_a_restored_backup_tells_again_what_ended_since_each_once_and_nothing_false(tmp_path: Path) -> None:
    database, backup = tmp_path / "monitor.db", tmp_path / "backup.db"
    async with running_scenario(tmp_path, store=store(database)) as scenario:
        await scenario.all_told()
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(backup)) as target:
            source.backup(target)
        source.close()
        target.close()
        before_backup = set(scenario.hook.ends())
        await until(lambda: len(set(scenario.hook.ends()) - before_backup) > 3, PATIENT)
        assert await scenario.daemon.stop() == 0
        for leftover in (database.with_name("monitor.db-wal"), database.with_name("monitor.db-shm")):
            leftover.unlink(missing_ok=True)
        shutil.copy(backup, database)
        since_backup, told = set(scenario.hook.ends()) - before_backup, len(scenario.hook.ends())
        with pytest.raises(AssertionError, match="is older than it was"):
            await scenario.again()
        scenario.daemon.arguments = ("--accept-older",)
        await scenario.again()
        await scenario.all_told()
        again = scenario.hook.ends()[told:]
        assert scenario.false() == set()
        assert len(again) == len(set(again))
        # Deliveries that were sent but not settled when the backup was made may be sent once more.
        assert len(set(again) & before_backup) <= 8
        await until(lambda: since_backup <= set(scenario.hook.ends()[told:]), PATIENT)
        assert await scenario.daemon.stop() == 0
        sound(database)
