"""The schema's history leads to the schema, all at once, and loses no row on the way."""

from __future__ import annotations

import gzip
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from monitor.domain.event_ids import RecentIds
from monitor.domain.model import Basis, Cost, Method, Status
from monitor.store import ImportState, Stores, migrating, opened
from monitor.store.documents import write_tracked
from monitor.store.migrating import HEAD, configuration, migrate
from monitor.store.schema import metadata
from monitor.store.sqlite import writer_engine
from tests.builders import HOUR, NOON, job, tracked
from tests.store.conftest import Opening, Server, Sql
from tests.store.new_database import FILLED, contents, script
from tests.store.samples import LEASE, StillClock, change, ended, full

pytestmark = pytest.mark.fault("S07")

RELEASED = Path(__file__).parent / "data" / "v0002.db.gz"
"""A database that a released version left behind when it was killed: see `test_a_database_of_a_released_version`."""


@pytest.fixture
def empty(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """A database without tables."""
    if kind == "sqlite":
        engine = writer_engine(tmp_path / "monitor.db")
    else:
        server: Server = request.getfixturevalue("server")
        engine = sa.create_engine(server.database(), poolclass=sa.NullPool)
    yield engine
    engine.dispose()


def test_the_steps_lead_to_the_tables_the_statements_use(empty: sa.Engine) -> None:
    with empty.begin() as connection:
        migrate(connection)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_new_database_is_what_the_steps_make(tmp_path: Path) -> None:
    engine = writer_engine(tmp_path / "monitor.db")
    with engine.begin() as connection:
        migrate(connection)
        made = contents(connection)
        rows = {
            table: connection.execute(sa.select(sa.func.count()).select_from(sa.table(table))).scalar_one()
            for table in sa.inspect(connection).get_table_names()
        }
    engine.dispose()
    assert {table for table, count in rows.items() if count} == set(FILLED)
    written = Path(migrating.__file__).with_name("migrations").joinpath("new_sqlite.sql").read_text(encoding="utf-8")
    assert written == script(), "write it anew: see tests/store/new_database.py"
    assert "\n\n".join(made) + "\n" == written


def test_the_newest_step_is_the_one_we_take_for_newest() -> None:
    assert ScriptDirectory.from_config(configuration()).get_current_head() == HEAD


def test_steps_that_fail_leave_nothing_behind(empty: sa.Engine) -> None:
    with empty.connect() as connection, connection.begin() as transaction:
        migrate(connection)
        assert sa.inspect(connection).get_table_names()
        transaction.rollback()
    with empty.begin() as connection:
        assert sa.inspect(connection).get_table_names() == []
        migrate(connection)


CREATE = (
    "import sys\n"
    "from pathlib import Path\n"
    "from monitor.store.sqlite import writer_engine\n"
    "from monitor.store.migrating import migrate\n"
    "import alembic.command, alembic.config, alembic.script\n"
    "engine = writer_engine(Path(sys.argv[1]))\n"
    "with engine.connect(): print('ready', flush=True)\n"
    "with engine.begin() as connection: migrate(connection)\n"
)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("wait", [0.0, 0.01, 0.02, 0.05])
async def test_a_process_killed_while_it_creates_the_tables_leaves_all_or_none(
    opening: Opening, tmp_path: Path, wait: float
) -> None:
    path = tmp_path / "monitor.db"
    child = subprocess.Popen([sys.executable, "-c", CREATE, str(path)], stdout=subprocess.PIPE)  # noqa: ASYNC220 - the loop may wait
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(wait)  # noqa: ASYNC251 - the loop may wait
        child.kill()
    with closing(sqlite3.connect(path)) as connection, connection:
        tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
    connection.close()
    assert tables == 0 or tables >= len(metadata.tables)
    async with opening() as store:
        await store.jobs.commit(full(0))


OLD_JOB = """{"job":{"org":"research","id":"%s","provider":"openai","model":"gpt-4o-mini-2024-07-18",
"method":"supervised","status":"succeeded","raw_status":"succeeded","fine_tuned_model":"ft:gpt-4o-mini-2024-07-18:acme::abc",
"finished_at":"2026-11-22T12:00:00Z","metadata":{"settled":"of its owner"}},"seq":1,"since":"2026-11-22T12:00:00Z",
"stirred_at":"2026-11-22T12:00:00Z","settled":true,"cost":%s}"""


async def test_the_costs_are_begun_with_what_the_jobs_before_them_cost_and_brought_forth(tmp_path: Path) -> None:
    engine = writer_engine(tmp_path / "monitor.db")
    with engine.begin() as connection:
        command.upgrade(configuration(connection), "0001")
        for id_, basis, cost in (("a", "computed", '{"basis":"computed","usd":"2.40"}'), ("b", "unknown", "null")):
            connection.execute(
                sa.text(
                    "INSERT INTO job (org, id, status, model, created_at, ended_at, settled, basis, doc)"
                    " VALUES ('research', :id, 'succeeded', 'm', 1, 1795348800000, 1, :basis, :doc)"
                ),
                {"id": id_, "basis": basis, "doc": OLD_JOB % (id_, cost)},
            )
    engine.dispose()
    async with opened(f"sqlite:///{tmp_path}/monitor.db", clock=StillClock()) as store:
        [spent] = (await store.costs.spent(None, ["research"])).spendings
        assert (spent.job, spent.at, spent.usd) == ("a", NOON, Decimal("2.40"))
        [model] = await store.costs.tuned_models(["research"])
        assert (model.id, model.base) == ("ft:gpt-4o-mini-2024-07-18:acme::abc", "gpt-4o-mini-2024-07-18")
        file = await store.reader.job("research", "b")
        assert file is not None
        assert file.tracked.finalized
        assert file.tracked.job.metadata == {"settled": "of its owner"}


async def keys(store: Stores, notifier: str) -> dict[str, bool]:
    """What is due now and whether it may have arrived, until nothing is."""
    found: dict[str, bool] = {}
    while claimed := await store.outbox.claim(notifier, owner="new", limit=10, lease=LEASE):
        for one in claimed:
            found[one.delivery.key] = one.ambiguous
            assert one.readable
            await store.outbox.delivered(one)
    return found


async def test_a_database_of_a_released_version_is_opened_and_nothing_of_it_is_lost_or_told_again(
    tmp_path: Path,
) -> None:
    path, clock = tmp_path / "monitor.db", StillClock()
    path.write_bytes(gzip.decompress(RELEASED.read_bytes()))
    async with opened(f"sqlite:///{path}", clock=clock) as store:
        known = await store.jobs.known("research")
        assert (known.version, set(known.final), known.horizon) == (1, {"ftjob-done"}, NOON - timedelta(days=30))
        assert set(known.jobs) == {"rich", "ftjob-runs", "ftjob-fresh"}
        assert known.jobs["ftjob-runs"].recent_ids == RecentIds.of(("e-1", "e-2"))
        assert (known.jobs["rich"].job.status, known.jobs["rich"].missing) == (Status.FAILED, 1)
        file = await store.reader.job("research", "ftjob-done")
        assert file is not None
        priced = Cost(basis=Basis.COMPUTED, usd=Decimal("2.40"))
        assert file.tracked == ended("ftjob-done", cost=priced, fine_tuned_model="ft:gpt-4o-mini-2024-07-18:acme::abc")
        assert [one.seq for one in file.transitions] == [1, 2]

        states = {one.key: (one.state, one.reason) for one in (await store.reader.deliveries()).items}
        assert states == {
            "research/ftjob-done/1@ops": ("sent", None),
            "research/ftjob-done/2@ops": ("pending", None),
            "research/ftjob-runs/1@ops": ("dead", "invalid_blocks"),
            "research/ftjob-runs/1@chat": ("pending", "http_500"),
            "research/ftjob-done/2@chat": ("pending", None),
            "budget:search/2026-11/800@ops": ("pending", None),
            "research/outage/1@ops": ("pending", None),
            "research/shutdown:2027-01-14/1@ops": ("pending", None),
        }
        told = {
            "research/outage/1",
            "research/shutdown:2027-01-14/1",
            "budget:search/2026-11/800",
            "budget:all/total/500",
        }
        assert await store.outbox.notified(["research", "budget:search", "budget:all"]) == dict.fromkeys(told)
        assert await keys(store, "ops") == dict.fromkeys(
            (key for key, (state, _) in states.items() if state == "pending" and key.endswith("@ops")), False
        )
        assert await keys(store, "chat") == {"research/ftjob-done/2@chat": True}, "its sender was killed"
        clock.time = NOON + HOUR
        assert await keys(store, "chat") == {"research/ftjob-runs/1@chat": True}
        assert await store.outbox.requeue(None) == 1

        spent = await store.costs.spent(None, ["research"])
        assert [(one.job, one.usd) for one in spent.spendings] == [("ftjob-done", Decimal("2.40"))]
        assert len(spent.usages) == 3
        records = await store.costs.records(NOON - timedelta(days=30), ["research"])
        assert sorted(one.usd for one in records.bills) == [Decimal("-0.25"), Decimal("1.5")]
        assert await store.costs.imported("research") == ImportState(usage_until=NOON.date(), bill_until=NOON.date())
        models = await store.costs.tuned_models(["research"])
        assert [(one.id, one.shutdown, one.shared) for one in models] == [
            ("ft:gpt-4o-mini-2024-07-18:acme::abc", None, True),
            ("ft:listed", date(2027, 1, 14), False),
        ]
        snapshot = await store.reader.snapshot(NOON, orgs=["research"], job_retention=HOUR, max_jobs=10)
        assert {one.metric: one.amount for one in snapshot.counters if len(one.labels) < 3} == {
            "jobs_finished": 3,
            "cost_nanodollars": 2_400_000_000,
        }
        assert replace(snapshot, jobs=()).dropped == 0
        assert {status: number for (_, status), number in snapshot.counts.items()} == {
            Status.SUCCEEDED: 2, Status.FAILED: 1, Status.RUNNING: 1,
        }  # fmt: skip
        assert snapshot.shutdowns == {date(2027, 1, 14): 1}
        assert sum(one.usd for one in records.trained) == Decimal("2.40")
        assert (await store.jobs.known("search")).version == 1


def test_jobs_whose_ids_do_not_name_their_list_are_noted(empty: sa.Engine) -> None:
    stored = [
        job("usual", provider="fireworks"),
        job("preferred", provider="fireworks", method=Method.DPO),
        job("rewarded", Status.SUCCEEDED, provider="fireworks", method=Method.REINFORCEMENT),
        job("elsewhere", method=Method.DPO),
        job("named", method=Method.DPO, name="fireworks"),
    ]
    with empty.begin() as connection:
        command.upgrade(configuration(connection), "0016")
        for one in stored:
            connection.execute(
                sa.text(
                    "INSERT INTO job (org, id, status, model, created_at, finalized, doc)"
                    " VALUES ('research', :id, :status, 'm', 1, :over, :doc)"
                ),
                {
                    "id": one.id,
                    "status": one.status.value,
                    "over": int(one.status.final),
                    "doc": write_tracked(tracked(one)),
                },
            )
        migrate(connection)
        found = connection.execute(sa.text("SELECT id, of_list FROM job WHERE of_list IS NOT NULL ORDER BY id"))
        assert [tuple(row) for row in found] == [("preferred", "dpo"), ("rewarded", "reinforcement")]


async def test_what_is_noted_of_a_job_s_list_stays_when_the_job_is_written(opening: Opening, sql: Sql) -> None:
    async with opening() as store:
        await store.jobs.commit(change(tracked=(tracked(job("old")), tracked(job("new")))))
    sql("UPDATE job SET of_list = 'dpo' WHERE id = 'old'")
    async with opening() as store:
        await store.jobs.commit(change(tracked=(tracked(job("old", Status.SUCCEEDED), finalized=True),), based_on=1))
        assert (await store.jobs.known("research")).lists == {"old": "dpo"}
        await store.jobs.prune(NOON + timedelta(days=400), timedelta(days=90))
        assert (await store.jobs.known("research")).lists == {"old": "dpo"}, "the ids of other jobs follow from it"
