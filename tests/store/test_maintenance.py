"""Everything can be moved from one database to another, and a damaged row is found."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from monitor.store import InUse, StoreError, opened
from monitor.store.maintenance import check, copy
from monitor.store.schema import metadata
from tests.builders import event, job, tracked
from tests.store.conftest import Opening, Server, Sql
from tests.store.samples import StillClock, change, full
from tests.store.test_migrating import RELEASED


def rows(url: str) -> dict[str, list[Any]]:
    """Everything that is to be the same in a copy."""
    engine = sa.create_engine(sa.make_url(url), poolclass=sa.NullPool)
    with engine.begin() as connection:
        found = {
            table.name: sorted(map(tuple, connection.execute(sa.select(table))), key=repr)
            for table in metadata.sorted_tables
            if table.name not in {"lane", "lease", "progress", "replica", "suspension"}
        }
    engine.dispose()
    return found


async def test_all_of_a_used_database_is_copied_to_postgresql_and_back(tmp_path: Path, server: Server) -> None:
    (tmp_path / "old.db").write_bytes(gzip.decompress(RELEASED.read_bytes()))
    old, new, back = f"sqlite:///{tmp_path}/old.db", server.database(), f"sqlite:///{tmp_path}/back.db"
    with pytest.raises(StoreError, match="another schema"):
        copy(old, new)
    async with opened(old, clock=StillClock()) as store:
        with pytest.raises(InUse):
            copy(old, new)
    counts = copy(old, new)
    assert (counts["outbox"], counts["event"], counts["usage"]) == (8, 3, 3)
    assert copy(new, back) == counts
    assert rows(old) == rows(new) == rows(back)
    for target in (new, back):
        with pytest.raises(StoreError, match="not empty"):
            copy(old, target)
    async with opened(new, clock=StillClock()) as store:
        known = await store.jobs.known("research")
        await store.jobs.commit(
            change(known.version, tracked=(tracked(job("ftjob-runs")),), events=(event("e-new", job="ftjob-runs"),))
        )
        page = await store.reader.events("research", "ftjob-runs")
        assert [one.id for one in page.items] == ["e-2", "e-new", "e-1"]


async def test_a_copy_that_is_not_what_was_copied_is_not_kept(tmp_path: Path, server: Server) -> None:
    old, new = f"sqlite:///{tmp_path}/old.db", server.database()
    async with opened(old, clock=StillClock()) as store:
        await store.jobs.commit(full(0))
    async with opened(new, clock=StillClock()):
        pass
    engine = sa.create_engine(sa.make_url(new), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS"
                " 'BEGIN NEW.doc = NEW.doc || '' ''; RETURN NEW; END'"
            )
        )
        connection.execute(sa.text("CREATE TRIGGER spoil BEFORE INSERT ON job FOR EACH ROW EXECUTE FUNCTION spoil()"))
    engine.dispose()
    with pytest.raises(StoreError, match="the copy of job differs from the original"):
        copy(old, new)
    assert not any(rows(new).values())


async def test_a_sound_database_is_counted_and_rows_that_cannot_be_read_are_named(
    opening: Opening, url: str, sql: Sql
) -> None:
    async with opening() as store:
        for number in range(3):
            await store.jobs.commit(full(number))
        counts, damaged = check(url)
        assert (counts["job"], counts["outbox"], counts["organization"], damaged) == (3, 3, 1, [])
        sql("UPDATE job SET doc = '{' WHERE id = 'job-1'")
        sql("UPDATE outbox SET message = 'x' WHERE subject_id = 'job-2'")
        _, damaged = check(url)
    assert [line.split(":")[0] for line in damaged] == ["job research/job-1", "outbox research/job-2/1@ops"]


@pytest.mark.parametrize(
    "url", ["sqlite:////nowhere/monitor.db", "mysql://h/d", "postgresql://u:hunter2@127.0.0.1:1/d"]
)
def test_a_database_that_is_not_there_is_no_surprise(url: str) -> None:
    for act in (lambda: check(url), lambda: copy(url, "sqlite:///other.db")):
        with pytest.raises(StoreError) as refused:
            act()
        assert "hunter2" not in str(refused.value)
