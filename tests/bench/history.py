"""A store with a past: so many ended jobs of organisations `o0`, `o1`, …, with all that the end of a job leaves behind.

One in a hundred is written by the store itself. The others are copies of its rows under other ids, made by SQL: a
million are there within minutes, on both databases.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from monitor.clock import SystemClock
from monitor.domain.costs import Spending, TunedModel
from monitor.domain.flow import Change, CounterIncrement, Tracked
from monitor.domain.model import Basis, Cost, Metrics, Status, Training
from monitor.store import Stores, opened
from monitor.store.schema import job, outbox, spending, transition, tuned_model
from tests.builders import MINUTE
from tests.builders import job as built
from tests.store.samples import delivery
from tests.store.samples import transition as moved

MODEL = "gpt-4o-mini-2024-07-18"
COPIES = 100
_KEYED = {
    job: ("id",), transition: ("job",), outbox: ("key", "subject_id"), spending: ("job",), tuned_model: ("id",),
}  # fmt: skip
"""Tables, and the columns that name a row's job."""


async def seed(url: str, *, orgs: int, jobs: int, copies: int = COPIES) -> None:
    """Write the past into an empty store. Jobs ended between two days and two months ago, some on every day."""
    copies = copies if jobs >= 20 * orgs * copies else 1
    of_each = jobs // copies // orgs
    async with opened(url, clock=SystemClock()) as store:
        now = datetime.now(UTC)
        for number in range(orgs):
            await _commit(store, f"o{number}", of_each, now - timedelta(seconds=number))
        for copy in range(1, copies):
            await store.database.write(_copy, f"c{copy}-", [f"o{number}" for number in range(orgs)])
        await store.database.write(_analyze)
        await store.database.compact()


async def _commit(store: Stores, org: str, count: int, now: datetime) -> None:
    ended = [_ended(org, number, now - timedelta(days=2 + 58 * number / count)) for number in range(count)]
    model = {one.job.id: one.job.tuning.fine_tuned_model or "" for one in ended}
    change = Change(
        org=org,
        based_on=0,
        at=now,
        tracked=tuple(ended),
        transitions=tuple(moved(one.job.id, org=org, at=one.since, after=one.job.status) for one in ended),
        deliveries=tuple(delivery(one.job.id, org=org, notifier="hook") for one in ended),
        counters=(CounterIncrement(metric="jobs_finished", labels=(("org", org), ("model", MODEL)), amount=count),),
        spendings=tuple(_spending(one) for one in ended),
        tuned=tuple(TunedModel(org=org, id=id_, base=MODEL) for id_ in model.values()),
        horizon=now - timedelta(days=1),
    )
    await store.jobs.commit(change)
    await store.database.write(_delivered)


def _ended(org: str, number: int, at: datetime) -> Tracked:
    id_ = f"ftjob-{org}-past-{number:08d}"
    of = built(
        id_, Status.FAILED if number % 10 == 0 else Status.SUCCEEDED, org=org, name=f"support-{number}",
        created_at=at - 60 * MINUTE, started_at=at - 50 * MINUTE, finished_at=at, trained_tokens=100_000 + number,
        fine_tuned_model=f"ft:{MODEL}:acme:{org}:past-{number:08d}", training_file=f"file-{number}",
        training=Training(latest=Metrics(step=1000, steps=1000, train_loss=0.25)),
        metadata={"team": "search", "run": str(number)},
    )  # fmt: skip
    cost = Cost(basis=Basis.COMPUTED, usd=Decimal("2.40"))
    return Tracked(job=of, seq=3, since=at, last_activity_at=at, finalized=True, cost=cost)


def _spending(of: Tracked) -> Spending:
    one = of.job
    return Spending(
        org=one.org, job=one.id, provider=one.provider, model=one.model, method=one.method, at=of.since,
        usd=Decimal("2.40"), fine_tuned_model=one.tuning.fine_tuned_model,
    )  # fmt: skip


def _delivered(connection: sa.Connection) -> None:
    now = int(time.time() * 1000)
    sent = {"state": "sent", "settled_at": now, "created_at": now - 172_800_000}
    connection.execute(sa.update(outbox).where(outbox.c.state == "pending").values(sent))


def _analyze(connection: sa.Connection) -> None:
    """What PostgreSQL does by itself within a minute."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("ANALYZE"))


def _copy(connection: sa.Connection, prefix: str, orgs: Sequence[str]) -> None:
    """Every row that is no copy once more, under another id. Those that are none are found by their index."""
    for table, keys in _KEYED.items():
        name = table.c[keys[-1]]
        own = table.c.org.in_(orgs) & (name >= "ft") & (name < "fu")
        if table is outbox:
            own &= table.c.subject_kind == "job"
        shown = [_renamed(one, name, keys, prefix) for one in table.c]
        connection.execute(sa.insert(table).from_select(table.c.keys(), sa.select(*shown).where(own)))


def _renamed(column: sa.Column[Any], name: sa.Column[Any], keys: Sequence[str], prefix: str) -> sa.ColumnElement[Any]:
    if column.name in ("doc", "key"):
        return sa.func.replace(column, name, sa.literal(prefix).concat(name))
    if column.name in ("ended_at", "created_at"):  # no two at once, as it is
        return column - 1_013 * int(prefix.strip("c-"))
    return sa.literal(prefix).concat(column) if column.name in keys else column
