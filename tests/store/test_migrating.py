"""The schema's history leads to the schema, all at once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from monitor.domain.costs import Spending
from monitor.domain.model import Basis, Cost, Method
from monitor.store import accounts, migrating
from monitor.store.documents import to_ms, write_tracked
from monitor.store.migrating import HEAD, migrate
from monitor.store.schema import metadata
from monitor.store.sqlite import writer_engine
from tests.builders import NOON
from tests.store.conftest import Opening
from tests.store.samples import ended, full


def test_the_steps_lead_to_the_tables_the_statements_use(tmp_path: Path) -> None:
    engine = writer_engine(tmp_path / "monitor.db")
    migrate(engine)
    with engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_the_newest_step_is_the_one_we_take_for_newest() -> None:
    config = Config()
    config.set_main_option("script_location", "monitor.store:migrations")
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_steps_that_fail_leave_nothing_behind(tmp_path: Path) -> None:
    engine = writer_engine(tmp_path / "monitor.db")
    with engine.connect() as connection, connection.begin() as transaction:
        migrating._upgrade(connection)
        assert sa.inspect(connection).get_table_names()
        transaction.rollback()
    with engine.begin() as connection:
        assert sa.inspect(connection).get_table_names() == []
    migrate(engine)
    engine.dispose()


CREATE = (
    "import sys\n"
    "from pathlib import Path\n"
    "from monitor.store.sqlite import writer_engine\n"
    "from monitor.store.migrating import migrate\n"
    "import alembic.command, alembic.config, alembic.script\n"
    "engine = writer_engine(Path(sys.argv[1]))\n"
    "with engine.connect(): print('ready', flush=True)\n"
    "migrate(engine)\n"
)


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
        await store.commit(full(0))


def test_the_books_are_opened_with_what_the_jobs_before_them_cost_and_brought_forth(tmp_path: Path) -> None:
    path = tmp_path / "monitor.db"
    _as_first_released(path)
    done = ended(
        trained_tokens=300_000,
        fine_tuned_model="ft:gpt-4o-mini-2024-07-18:acme::abc",
        metadata={"env": "prod"},
    )
    priced = replace(done, cost=Cost(basis=Basis.COMPUTED, usd=Decimal("2.40")))
    with closing(sqlite3.connect(path)) as connection, connection:
        columns = "org, id, status, model, created_at, ended_at, settled, basis, doc"
        row = f"INSERT INTO job ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - our own names
        for id_, one, basis in (("ftjob-1", priced, "computed"), ("ftjob-2", replace(done, cost=None), "unknown")):
            doc = write_tracked(replace(one, job=replace(one.job, id=id_)))
            ended_at = to_ms(NOON)
            connection.execute(row, ("research", id_, "succeeded", one.job.model, ended_at, ended_at, 1, basis, doc))
    engine = writer_engine(path)
    migrate(engine)
    with engine.begin() as reading:
        spent = accounts.spent(reading, accounts.Since(orgs=("research",), at=None))
        assert spent.spendings == (
            Spending(
                org="research",
                job="ftjob-1",
                provider="openai",
                model="gpt-4o-mini-2024-07-18",
                method=Method.SUPERVISED,
                at=NOON,
                usd=Decimal("2.40"),
                fine_tuned_model="ft:gpt-4o-mini-2024-07-18:acme::abc",
                metadata={"env": "prod"},
            ),
        )
        assert [(one.id, one.base) for one in accounts.tuned_models(reading, ["research"])] == [
            ("ft:gpt-4o-mini-2024-07-18:acme::abc", "gpt-4o-mini-2024-07-18")
        ]
    engine.dispose()


def _as_first_released(path: Path) -> None:
    """A database with the first tables only."""
    config = Config()
    config.set_main_option("script_location", "monitor.store:migrations")
    config.set_main_option("path_separator", "os")
    engine = writer_engine(path)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
