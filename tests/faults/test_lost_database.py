"""A database that cannot be had, is lost, damaged, too new or too old: never a silent fresh start."""

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
from tests.faults.stage import PATIENT, Stage, staged

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def store(path: Path) -> dict[str, Any]:
    return {"url": f"sqlite:///{path}"}


def sound(path: Path) -> None:
    """The database is whole."""
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def recovered(stage: Stage) -> None:
    """Everything is told, ready again, without help."""
    await stage.all_told()
    await until(stage.ready, PATIENT)


async def test_s04_a_directory_on_a_read_only_file_system_is_a_clear_error(tmp_path: Path) -> None:
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
    """What becomes of a start that must fail: exit code and words."""
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


@pytest.mark.parametrize(
    ("harm", "refused"),
    [
        pytest.param(lambda path: path.unlink(), True, id="S05 deleted"),
        pytest.param(lambda path: os.truncate(path, 4096), True, id="S05 truncated"),
        pytest.param(replace_by_a_copy, False, id="S05 replaced by a copy"),
    ],
)
async def test_s05_a_database_that_goes_while_in_use_ends_the_program(
    tmp_path: Path, harm: Callable[[Path], Any], *, refused: bool
) -> None:
    database = tmp_path / "monitor.db"
    async with staged(tmp_path, store=store(database)) as stage:
        await stage.all_told()
        sqlite3.connect(database).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
        harm(database)
        assert await stage.gone() == 1
        # who reads the cut file before its length is looked at finds it damaged, which is as good
        assert "while in use" in stage.daemon.log or "the database is damaged" in stage.daemon.log
        if refused:
            assert await refused_to_start(stage)
            stage.assert_sound()
        else:  # a person put it there: it is used, and what it does not know is told again under the same id
            await stage.again()
            await recovered(stage)
            assert stage.false() == set()


async def refused_to_start(stage: Stage) -> bool:
    """Whether it exits with 1 and advice, twice over."""
    for _ in range(2):
        with pytest.raises(AssertionError, match="restore it from a backup"):
            await stage.daemon.start()
        if await stage.gone() != 1:
            return False
    return True


async def test_s06_a_corrupted_page_is_never_a_fresh_start(tmp_path: Path) -> None:
    database = tmp_path / "monitor.db"
    async with staged(tmp_path, store=store(database)) as stage:
        await stage.all_told()
        assert await stage.daemon.stop() == 0
        with database.open("r+b") as file:
            file.seek(3 * 4096)
            file.write(b"\xff" * 4096)
        before = database.read_bytes()
        assert await refused_to_start(stage)
        assert database.read_bytes() == before
        stage.assert_sound()


async def test_s07_a_newer_schema_is_refused_in_one_line(tmp_path: Path) -> None:
    database = tmp_path / "monitor.db"
    async with staged(tmp_path, store=store(database)) as stage:
        assert await stage.daemon.stop() == 0
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    code, said = await started(tmp_path, database)
    assert code == 1
    assert "9999" in said
    assert "newer version" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("nth", [1, 2, 5, 9, 14, 20, 27])
async def test_s07_killed_at_the_nth_write_of_a_migration_it_starts_again(tmp_path: Path, nth: int) -> None:
    needs("strace")
    allowed("strace", "-qq", "-o", "/dev/null", "true")
    database = tmp_path / "monitor.db"
    code, _ = await started(
        tmp_path, database, "strace", "-f", "-qq", "-o", "/dev/null", "-P", str(database), "-P", f"{database}-wal",
        "-e", "trace=pwrite64", "-e", f"inject=pwrite64:signal=KILL:when={nth}",
    )  # fmt: skip
    assert code != 0
    async with staged(tmp_path, store=store(database)) as stage:
        await recovered(stage)
        stage.assert_sound()
    sound(database)


async def test_s10_a_restored_backup_tells_again_what_ended_since_each_once_and_nothing_false(tmp_path: Path) -> None:
    database, backup = tmp_path / "monitor.db", tmp_path / "backup.db"
    async with staged(tmp_path, store=store(database)) as stage:
        await stage.all_told()
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(backup)) as target:
            source.backup(target)
        source.close()
        target.close()
        before_backup = set(stage.hook.ends())
        await until(lambda: len(set(stage.hook.ends()) - before_backup) > 3, PATIENT)
        assert await stage.daemon.stop() == 0
        for leftover in (database.with_name("monitor.db-wal"), database.with_name("monitor.db-shm")):
            leftover.unlink(missing_ok=True)
        shutil.copy(backup, database)
        since_backup, told = set(stage.hook.ends()) - before_backup, len(stage.hook.ends())
        await stage.again()
        await stage.all_told()
        again = stage.hook.ends()[told:]
        assert stage.false() == set()
        assert len(again) == len(set(again))
        # what was sent but not settled at the moment of the backup may go out once more, too
        assert len(set(again) & before_backup) <= 8
        await until(lambda: since_backup <= set(stage.hook.ends()[told:]), PATIENT)
        assert await stage.daemon.stop() == 0
        sound(database)
