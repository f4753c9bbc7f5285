"""Ways to a shared database: behind pgbouncer, from an older version, and from an SQLite file."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import monitor
from monitor.simulator import Traffic
from monitor.store.migrating import HEAD
from tests.e2e.daemon import Daemon, until
from tests.e2e.test_push import SECRET, send
from tests.faults.scenario import PATIENT, QUICK
from tests.replicas.cluster import Cluster, cluster, pooler
from tests.replicas.fleet import LEASE, direct, fleet
from tests.replicas.test_takeover import assert_sound, taken_over

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEP = '''"""A step of the future."""
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade() -> None:
    op.add_column("job", sa.Column("future", sa.Text))
'''


@pytest.fixture
def server() -> Iterator[Cluster]:
    with cluster() as started:
        yield started


def newer(folder: Path) -> Path:
    """A future version of this program, whose schema has one more migration.

    Returns the directory to import it from.
    """
    package = folder / "newer" / "monitor"
    shutil.copytree(Path(monitor.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(Path(monitor.__file__).parents[1] / "config", package.parent / "config")
    (package / "store/migrations/versions/v9999_future.py").write_text(STEP.format(head=HEAD))
    migrating = package / "store/migrating.py"
    migrating.write_text(migrating.read_text().replace(f'HEAD: Final = "{HEAD}"', 'HEAD: Final = "9999"'))
    return package.parent


@pytest.mark.fault("M07")
async def test_behind_a_pooler_of_transactions_replicas_share_take_over_and_send(
    server: Cluster, tmp_path: Path
) -> None:
    with pooler(server) as port:
        async with fleet(tmp_path, dict.fromkeys("ab", server.url(port)), orgs=6) as seen:
            await until(seen.fair, PATIENT)
            since = time.monotonic()
            await seen.replicas["a"].stop(signal.SIGKILL)
            assert await taken_over(seen, "a", since) <= LEASE + 5.0
            await seen.replicas["a"].start()
            await until(seen.fair, PATIENT)
            ended = await seen.scenario.all_told(LEASE + PATIENT)
            held = server.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
    assert len(ended) >= 5
    assert held, "it can be asked"
    for daemon in seen.replicas.values():
        assert "prepared" not in daemon.log.lower()
    assert_sound(seen, faults=1)


@pytest.mark.fault("M06")
async def test_a_newer_replica_migrates_and_older_ones_stop_without_harm(server: Cluster, tmp_path: Path) -> None:
    async with fleet(tmp_path, direct(server, "a", "b", "new"), orgs=4, start=["a", "b"]) as seen:
        await until(seen.fair, PATIENT)
        new = seen.replicas["new"]
        new.environ = {"PYTHONPATH": str(newer(tmp_path))}
        await new.start()
        try:
            for name in ("a", "b"):
                process = seen.replicas[name].process
                assert process is not None
                assert await asyncio.wait_for(process.wait(), PATIENT) != 0
                assert "another replica runs a newer version" in seen.replicas[name].log
            since = time.monotonic()
            await until(lambda: set(seen.polls.owners(since).values()) == {"new"}, PATIENT)
            await until(lambda: len(seen.polls.owners(since)) == 4, PATIENT)
            ended = await seen.scenario.all_told(LEASE + PATIENT)
            old = seen.replicas["a"]
            with pytest.raises(AssertionError, match="does not know"):
                await old.start()
        finally:
            await new.stop(signal.SIGKILL)
    assert ended
    assert server.execute("SELECT version_num FROM alembic_version") == [("9999",)]
    assert_sound(seen, faults=2)


@pytest.mark.fault("M08")
async def test_one_webhook_at_both_replicas_at_once_has_one_effect(server: Cluster, tmp_path: Path) -> None:
    poll = {"interval": "1h", "idle_interval": "1h", "events_interval": "1h", "max_requests_per_second": 100}
    quiet = Traffic(history=2, under_way=3)
    pace = replace(QUICK, step=(2.0, 2.1))
    urls, signed = direct(server, "a", "b"), {"webhook_secret": SECRET}
    async with fleet(tmp_path, urls, orgs=2, traffic=quiet, pace=pace, each_org=signed, poll=poll) as seen:
        simulation = seen.scenario.simulation
        jobs = [(org, job) for org in simulation.orgs for job in simulation.jobs(org)]
        soon = seen.scenario.born, time.time() + PATIENT  # a few jobs are planned to take hours
        ending = [(org, job, at) for org, job in jobs if soon[0] < (at := job.plan.ended_at or 0) < soon[1]]
        for org, job, at in sorted(ending, key=lambda each: each[2]):
            await asyncio.sleep(max(at - time.time(), 0.0))  # until it is over
            pushed = [send(daemon, org, job.id, id_=f"wh_{job.id}") for daemon in seen.replicas.values()]
            assert await asyncio.gather(*pushed) == [202, 202]
        ended = await seen.scenario.all_told(PATIENT)
        rows = server.execute("SELECT count(*) FROM hint")
    assert len(ended) == len(ending) > 0
    assert rows == [(len(ending),)]
    assert set(seen.copies().values()) == {1}
    assert_sound(seen, faults=0)


async def test_what_is_stored_is_the_same_on_every_replica(server: Cluster, tmp_path: Path) -> None:
    still = Traffic(history=12)
    async with fleet(tmp_path, direct(server, "a", "b", "c"), orgs=3, traffic=still) as seen:
        await until(seen.fair, PATIENT)
        pages = ("/api/v1/jobs", "/api/v1/orgs", "/api/v1/deliveries", "/api/v1/costs")

        async def alike() -> bool:
            answers = [[await daemon.json(page) for page in pages] for daemon in seen.replicas.values()]
            stored = [stored_series(await daemon.metrics()) for daemon in seen.replicas.values()]
            return all(each == answers[0] for each in answers) and all(each == stored[0] for each in stored)

        await until(alike, PATIENT)
        shares = await seen.shares()
    assert sorted(shares.values()) == [1, 1, 1]


def stored_series(metrics: dict[str, float]) -> dict[str, float]:
    """The series of a scrape that come from the database and not from the process."""
    stored = ("finetune_jobs{", "finetune_jobs_ended_total", "finetune_cost_", "finetune_org_up", "finetune_outbox_")
    return {name: value for name, value in metrics.items() if name.startswith(stored)}


async def test_an_sqlite_file_of_a_million_rows_moves_to_postgresql_in_two_minutes_and_nothing_is_told_again(
    server: Cluster, tmp_path: Path
) -> None:
    calm = Traffic(history=5, gap=(2.0, 4.0))
    file = tmp_path / "monitor.db"
    async with fleet(tmp_path, {"one": f"sqlite:///{file}", "two": server.url()}, traffic=calm, start=["one"]) as seen:
        await until(lambda: len(seen.scenario.hook.ids) > 10, PATIENT)
        await seen.scenario.all_told(2 * PATIENT)
        assert await seen.replicas["one"].stop() == 0
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) INSERT INTO event"
                " (org, job, id, at, kind, step, doc) SELECT org, job, id || '-' || i, at, kind, step, doc FROM n,"
                " (SELECT * FROM event LIMIT 1)"
            )
        started = time.monotonic()
        copying = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "monitor", "store", "copy", f"sqlite:///{file}", server.url(),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await copying.communicate()
        took = time.monotonic() - started
        assert copying.returncode == 0, said.decode()
        print(f"a million rows in {took:.0f} s\n{said.decode()}")
        two: Daemon = seen.replicas["two"]
        told = set(seen.scenario.hook.ids)
        await two.start()
        try:
            await until(lambda: len({poll.key for poll in seen.polls.seen if poll.replica == "two"}) == 6, PATIENT)
            await seen.scenario.all_told(2 * PATIENT)
        finally:
            await two.stop(signal.SIGKILL)
    assert took <= 120
    assert told
    assert max(seen.copies().values()) == 1, "nothing was announced again"
    assert seen.scenario.false() == set()
