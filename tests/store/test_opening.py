"""A database that is not sound, not ours or not alone is refused with advice, and never silently begun afresh."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitor.store import Corrupt, Gone, InUse, NewerSchema, Outdated, StoreError, StoreUnavailable, maintenance, opened
from monitor.store.migrating import migrate
from monitor.store.schema import notice
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


@pytest.mark.fault("S04")
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


@pytest.mark.fault("S08")
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


def overwrite_the_root_of(index: str, path: Path) -> os.stat_result:
    """Damage the file where a start does not look; what it was like before."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        ((root,),) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [index])
    left = path.stat()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    return left


@pytest.mark.fault("S06")
async def test_a_large_database_that_is_as_it_was_left_is_read_whole_soon_after_the_start(
    opening: Opening, path: Path
) -> None:
    def fill(connection: sa.Connection) -> None:
        large = {"id": "x", "topic": "t", "at": 1, "judged_by": "x" * (65 * 1024 * 1024)}
        connection.execute(sa.insert(notice), large)

    async with opening() as store:
        await store.database.write(fill)
        await store.database.inspect()
    left = overwrite_the_root_of("usage_day", path)
    with pytest.raises(Corrupt, match="restore it from a backup"):
        async with opening():
            raise AssertionError("somebody has written to it since it was left")
    os.utime(path, ns=(left.st_atime_ns, left.st_mtime_ns))
    async with opening() as store:
        with pytest.raises(Corrupt, match="restore it from a backup"):
            await store.database.inspect()


@pytest.mark.fault("G19", "S06")
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


@pytest.mark.fault("S05")
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
    file.remember(0)
    database = SqliteDatabase(file, engine, reader_engine(path), StillClock())

    def delete(_: sa.Connection, path: Path) -> None:
        path.unlink()

    with pytest.raises(Gone):
        await database.write(delete, path)
    engine.dispose()
    file.close()


async def test_a_database_locked_by_another_program_is_unavailable_and_comes_back(opening: Opening, path: Path) -> None:
    async with opening() as store:
        await store.jobs.commit(full(0))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            await store.jobs.commit(letters(delivery(), based_on=1))
        assert not store.database.healthy
        assert len((await store.jobs.known("research")).jobs) == 1
        other.execute("ROLLBACK")
        other.close()
        await store.jobs.commit(letters(delivery(), based_on=1))
        assert store.database.healthy


async def test_what_failed_and_is_never_tried_again_says_nothing_of_a_store_that_works(
    opening: Opening, path: Path, clock: StillClock
) -> None:
    async with opening() as store:
        await store.jobs.commit(full(0))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for once in (store.outbox.requeue(None), store.jobs.commit(letters(delivery(), based_on=1))):
            with pytest.raises(StoreUnavailable, match="locked"):
                await once
        other.execute("ROLLBACK")
        other.close()
        await store.jobs.commit(letters(delivery(), based_on=1))
        assert not store.database.healthy
        clock.time += timedelta(seconds=21)
        await store.outbox.expire(timedelta(days=1))
        assert not store.database.healthy, "nothing was written"
        await store.jobs.commit(letters(delivery(seq=2), based_on=2))
        assert store.database.healthy


@pytest.mark.fault("P18")
async def test_a_second_process_is_refused_by_whatever_name_it_comes(opening: Opening, path: Path) -> None:
    link = path.with_name("link.db")
    link.symlink_to(path)
    async with opening() as store:
        with pytest.raises(InUse):
            async with opened(f"sqlite:///{link}", clock=StillClock()):
                pass
        path.with_name("monitor.db.lock").unlink()
        with pytest.raises(InUse, match="lock was removed"):
            async with opening():
                pass
        await store.jobs.commit(full(0))


def lose_the_log(path: Path) -> None:
    """What was written since the last checkpoint is in the log alone."""
    path.with_name("monitor.db-wal").unlink()
    path.with_name("monitor.db-shm").unlink()


def restored(path: Path, saved: bytes) -> None:
    for name in ("monitor.db-wal", "monitor.db-shm"):
        path.with_name(name).unlink(missing_ok=True)
    path.write_bytes(saved)


KILLED = (
    "import anyio, os, sys\n"
    "from monitor.clock import SystemClock\n"
    "from monitor.store import opened\n"
    "from tests.store.samples import full\n"
    "async def main():\n"
    "    async with opened(sys.argv[1], clock=SystemClock()) as store:\n"
    "        for number in range(3): await store.jobs.commit(full(number))\n"
    "        os._exit(9)\n"
    "anyio.run(main)\n"
)


@pytest.mark.fault("P7")
async def test_a_database_whose_log_was_removed_after_a_crash_is_refused(
    opening: Opening, url: str, path: Path
) -> None:
    async with opening():
        pass
    subprocess.run([sys.executable, "-c", KILLED, url], check=False)  # noqa: ASYNC221 - the loop may wait
    lose_the_log(path)
    with pytest.raises(Outdated, match="db-wal"):
        async with opening():
            pass


@pytest.mark.fault("P7", "P8")
async def test_a_restored_backup_is_refused_until_it_is_accepted_and_then_ids_are_marked(
    opening: Opening, url: str, path: Path, tmp_path: Path
) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery(seq=1)))
        assert maintenance.backup(url, tmp_path / "saved.db") > 0
        await store.jobs.commit(letters(delivery(seq=2), based_on=1))
    restored(path, (tmp_path / "saved.db").read_bytes())
    for _ in range(2):
        with pytest.raises(Outdated, match="--accept-older"):
            async with opening():
                pass
    maintenance.accept_older(url, NOON)
    async with opening() as store:
        assert (await store.jobs.known("research")).version == 1
        await store.jobs.commit(letters(delivery(seq=2), based_on=1))
        keys: list[str] = []
        while claimed := await store.outbox.claim("ops", owner="me", limit=1, lease=HOUR):
            keys.append(claimed[0].key)
            assert await store.outbox.delivered(claimed[0])
        assert keys == [delivery(seq=1).key, f"research/ftjob-1/2~{int(NOON.timestamp()):x}@ops"]
        assert sorted(one.key for one in (await store.reader.deliveries()).items) == sorted(keys)


async def test_a_backup_of_a_running_database_is_whole_and_never_the_database_itself(
    opening: Opening, url: str, path: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "saved.db"
    async with opening() as store:
        for number in range(5):
            await store.jobs.commit(full(number))
            maintenance.backup(url, saved)
        with pytest.raises(StoreError, match="itself"):
            maintenance.backup(url, path)
    async with opened(f"sqlite:///{saved}", clock=StillClock()) as copy:
        assert (await copy.jobs.known("research")).version == 5
    with pytest.raises(StoreError, match="does not exist"):
        maintenance.backup(f"sqlite:///{tmp_path}/none.db", saved)
    assert not [name for name in os.listdir(tmp_path) if "unfinished" in name]  # noqa: PTH208 - the loop may wait
