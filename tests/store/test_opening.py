"""A database that is not sound, not ours or not alone is refused with advice, and never silently begun afresh."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitor.store import Corrupt, Gone, InUse, NewerSchema, StoreError, Unavailable, opened
from monitor.store.migrating import migrate
from monitor.store.sqlite import DatabaseFile, SqliteDatabase, reader_engine, writer_engine
from tests.builders import HOUR, NOON
from tests.store.conftest import Opening
from tests.store.samples import StillClock, delivery, full, letters


@pytest.fixture
def kind() -> str:
    """All of this is about files."""
    return "sqlite"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "monitor.db"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        pytest.param("sqlite://", "plain file", id="in memory"),
        pytest.param("sqlite:///:memory:", "plain file", id="in memory by name"),
        pytest.param("sqlite:///file:x.db?uri=true", "plain file", id="an SQLite URI"),
        pytest.param("mysql://u:hunter2@h/d", "'mysql' is not supported", id="another database"),
        pytest.param("monitor.db", "sqlite:///monitor.db", id="no URL"),
        pytest.param("sqlite:////nowhere/at/all/monitor.db", "create the directory", id="a directory that is missing"),
        pytest.param("sqlite:////proc/monitor.db", "cannot write", id="a directory nobody can write"),
    ],
)
async def test_a_place_that_cannot_hold_a_store_is_refused(url: str, why: str) -> None:
    with pytest.raises(StoreError, match=why) as refused:
        async with opened(url, clock=StillClock()):
            pass
    assert "hunter2" not in str(refused.value)


def test_importing_the_store_does_not_import_what_only_a_daemon_needs() -> None:
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import monitor.store\n"
        "print(*[name for name in ('sqlalchemy', 'alembic', 'sqlite3') if name in sys.modules.keys() - before])\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


async def test_a_second_process_is_refused_and_told_which_one_was_first(opening: Opening, url: str) -> None:
    code = (
        "import anyio, sys\n"
        "from monitor.clock import SystemClock\n"
        "from monitor.store import InUse, opened\n"
        "async def main():\n"
        "    try:\n"
        "        async with opened(sys.argv[1], clock=SystemClock()): print('opened')\n"
        "    except InUse as error: print(error)\n"
        "anyio.run(main)\n"
    )
    command = [sys.executable, "-c", code, url]
    async with opening() as store:
        second = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: ASYNC221 - the loop may wait
        assert f"process {os.getpid()}" in second.stdout
        await store.jobs.commit(full(0))
    third = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: ASYNC221 - as above
    assert third.stdout == "opened\n"


async def test_the_same_process_is_refused_too(opening: Opening) -> None:
    async with opening() as store:
        with pytest.raises(InUse):
            async with opening():
                pass
        await store.jobs.commit(full(0))


def overwrite_a_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 4096)


def cut(path: Path) -> None:
    os.truncate(path, 2 * 4096)


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.unlink(), id="missing"),
        pytest.param(lambda path: path.write_text("hello, I am a text file"), id="no database"),
        pytest.param(cut, id="cut"),
        pytest.param(overwrite_a_page, id="a page overwritten"),
    ],
)
async def test_a_damaged_database_is_refused_with_advice_and_left_as_it_is(
    opening: Opening, path: Path, harm: Callable[[Path], object]
) -> None:
    async with opening() as store:
        for number in range(20):
            await store.jobs.commit(full(number))
    harm(path)
    before = content(path)
    for _ in range(2):
        with pytest.raises(Corrupt, match="afresh"):
            async with opening():
                pass
    assert content(path) == before


async def test_a_left_over_wal_without_its_database_is_refused(opening: Opening, path: Path) -> None:
    path.with_name("monitor.db-wal").write_bytes(b"x" * 100)
    with pytest.raises(Corrupt, match="missing or empty"):
        async with opening():
            pass


async def test_another_programs_database_is_refused(opening: Opening, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(Corrupt, match="another program"):
        async with opening():
            pass


async def test_a_newer_schema_is_refused(opening: Opening, path: Path) -> None:
    async with opening() as store:
        await store.jobs.commit(full(0))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(NewerSchema, match="9999"):
        async with opening():
            pass


def replace_with_a_copy(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").rename(path)


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda path: path.unlink(), id="deleted"),
        pytest.param(replace_with_a_copy, id="replaced"),
        pytest.param(lambda path: os.truncate(path, 4096), id="cut"),
    ],
)
async def test_a_file_that_goes_while_in_use_is_noticed_by_every_write_and_read(
    opening: Opening, path: Path, harm: Callable[[Path], object]
) -> None:
    async with opening() as store:
        await store.jobs.commit(full(0))
        await store.jobs.prune(NOON, HOUR)
        harm(path)
        size = len(content(path) or b"")
        for _ in range(2):
            with pytest.raises(Gone):
                await store.jobs.commit(full(1))
            with pytest.raises(Gone):
                await store.jobs.known("research")
            assert not store.database.healthy
        assert len(content(path) or b"") == size


async def test_a_file_that_goes_within_a_transaction_is_noticed_before_its_commit(path: Path) -> None:
    file, engine = DatabaseFile(path), writer_engine(path)
    with engine.begin() as connection:
        migrate(connection)
    file.remember()
    database = SqliteDatabase(file, engine, reader_engine(path), StillClock())

    def delete(_: sa.Connection, path: Path) -> None:
        path.unlink()

    with pytest.raises(Gone):
        await database.write(delete, path)
    engine.dispose()
    file.release()


async def test_a_database_locked_by_another_program_is_unavailable_and_comes_back(opening: Opening, path: Path) -> None:
    async with opening() as store:
        await store.jobs.commit(full(0))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            await store.jobs.commit(letters(delivery(), based_on=1))
        assert not store.database.healthy
        assert len((await store.jobs.known("research")).jobs) == 1
        other.execute("ROLLBACK")
        other.close()
        await store.jobs.commit(letters(delivery(), based_on=1))
        assert store.database.healthy
