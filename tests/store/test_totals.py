"""What triggers count is what there is, whatever was written, and readers go by it or by an index."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from monitor.domain.costs import TunedModel
from monitor.domain.flow import GONE_AFTER
from monitor.domain.model import BATCH_PREFIX, UNKNOWN_COST, Basis, Cost, Status
from monitor.domain.snapshot import MODELS
from monitor.store import Stores
from monitor.store.costs import ENDED_MODELS, ENDING_MODELS, UNENDING_MODELS
from monitor.store.jobs import FINISHED
from monitor.store.reader import NEWEST_JOBS
from monitor.store.schema import job as job_table
from monitor.store.schema import tuned_model
from monitor.store.shown import ACTIVE
from monitor.store.totals import KEPT
from tests.bench.history import seed
from tests.builders import DAY, NOON, job, tracked
from tests.store.conftest import Opening, Sql
from tests.store.samples import change, ended
from tests.store.test_books import spending
from tests.store.test_listing import plan_of

ORGS = ("a", "b")
JOBS = 200
"""Of the seeded store."""
TODAY = NOON.date()

COUNTED = """
SELECT org, CASE WHEN substr(id, 1, 6) = 'batch:' THEN 'batch' ELSE 'job' END AS kind, status, count(*) FROM job
WHERE NOT (status = 'unknown' AND ended_at IS NOT NULL) GROUP BY 1, 2, 3
UNION ALL SELECT org, 'unpriced', model, count(*) FROM job WHERE basis = 'unknown' GROUP BY 1, 3
UNION ALL SELECT org, 'shutdown', shutdown, count(*) FROM tuned_model WHERE shutdown IS NOT NULL GROUP BY 1, 3
"""
TRAINED = "SELECT org, at / 86400000, sum(nanodollars) FROM spending GROUP BY 1, 2"
KEPT_DAYS = (
    "SELECT org, day, dollars * 1000000000 + nanodollars FROM training_day WHERE dollars <> 0 OR nanodollars <> 0"
)


def agree(sql: Sql) -> None:
    """Hold what was counted against the rows."""
    kept = sql("SELECT org, kind, name, number FROM total WHERE number <> 0")
    assert sorted(map(tuple, kept)) == sorted(map(tuple, sql(COUNTED)))
    days = [(org, day, int(amount)) for org, day, amount in sql(KEPT_DAYS)]
    assert sorted(days) == sorted((org, day, int(amount)) for org, day, amount in sql(TRAINED))


def any_job(dice: Random, org: str) -> Any:
    id_ = f"{dice.choice(('', BATCH_PREFIX))}j{dice.randrange(6)}"
    cost = dice.choice((None, UNKNOWN_COST, Cost(basis=Basis.COMPUTED, usd=Decimal(1))))
    if dice.random() < 0.5:
        at = NOON - dice.randrange(1, 200) * DAY
        return ended(id_, at, org=org, model=dice.choice("mn"), cost=cost)
    status = dice.choice((Status.QUEUED, Status.RUNNING, Status.UNKNOWN))
    return tracked(job(id_, status, org=org, model=dice.choice("mn")), missing=dice.choice((0, GONE_AFTER)))


@pytest.mark.parametrize("seeded", range(4))
async def test_totals_are_what_counting_all_rows_gives(opening: Opening, sql: Sql, seeded: int) -> None:
    dice, versions = Random(seeded), dict.fromkeys(ORGS, 0)
    async with opening() as store:
        for _ in range(12):
            org = dice.choice(ORGS)
            jobs = {one.job.id: one for one in (any_job(dice, org) for _ in range(3))}
            amounts = [
                replace(spending(f"j{n}", NOON - n * DAY, f"{dice.randrange(-3, 4)}.000000001"), org=org)
                for n in range(2)
            ]
            await store.jobs.commit(change(versions[org], org, tracked=tuple(jobs.values()), spendings=tuple(amounts)))
            versions[org] += 1
            await models(store, dice, org)
        agree(sql)
        await store.jobs.prune(NOON, timedelta(days=100))
        agree(sql)


async def models(store: Stores, dice: Random, org: str) -> None:
    days = (None, date(2027, 1, 14), date(2026, 1, 1))
    listed = [
        TunedModel(org=org, id=f"ft:{n}", base="m", shutdown=dice.choice(days), listed=True)
        for n in range(dice.randrange(1, 5))
    ]
    await store.costs.replace_models(org, listed)
    await store.costs.date_models([TunedModel(org=org, id="ft:0", base="m", shutdown=date(2028, 1, 1))])


async def test_models_come_by_pages_those_that_end_first_and_last_those_of_which_no_end_is_known(
    opening: Opening,
) -> None:
    def model(org: str, id_: str, shutdown: date | None) -> TunedModel:
        return TunedModel(org=org, id=id_, base="m", shutdown=shutdown, listed=True)

    late, soon = TODAY + 2 * DAY, TODAY + DAY
    everything = [
        model("a", "x", soon), model("b", "a", soon), model("a", "y", late), model("a", "m", None),
        model("a", "z", None), model("b", "b", None),
    ]  # fmt: skip
    async with opening() as store:
        for org in (*ORGS, "gone"):
            own = [one for one in everything if one.org == org] or [model(org, "q", soon)]
            await store.costs.replace_models(org, own)
        for limit in range(1, 8):
            seen: list[TunedModel] = []
            after: str | None = None
            for _ in range(10):
                page = await store.costs.models(ORGS, limit=limit, after=after)
                assert len(page.items) <= limit
                seen += page.items
                if (after := page.next) is None:
                    break
            assert seen == everything, limit


async def test_a_snapshot_has_the_models_that_end_next_before_those_that_ended_and_counts_all(
    opening: Opening,
) -> None:
    def model(number: int, shutdown: date) -> TunedModel:
        return TunedModel(org="a", id=f"ft:{number:05d}", base="m", shutdown=shutdown, listed=True)

    past = [model(number, TODAY - (number + 1) * DAY) for number in range(MODELS)]
    future = [model(MODELS + number, TODAY + number * DAY) for number in range(3)]
    async with opening() as store:
        await store.costs.replace_models("a", [*past, *future, TunedModel(org="a", id="ft:x", base="m", listed=True)])
        seen = await store.reader.snapshot(NOON, orgs=["a"], job_retention=DAY, max_jobs=1)
        assert seen.models == (*future, *past[: MODELS - 3])
        assert sum(seen.shutdowns.values()) == MODELS + 3
        assert seen.shutdowns[TODAY] == 1


async def test_a_seeded_store_has_as_many_jobs_as_it_should_each_with_what_its_end_left(
    opening: Opening, url: str
) -> None:
    await seed(url, orgs=2, jobs=JOBS, copies=5)
    async with opening() as store:
        now = datetime.now(UTC)
        seen = await store.reader.snapshot(now, orgs=["o0", "o1"], job_retention=DAY, max_jobs=10)
        assert (seen.jobs, sum(seen.counts.values())) == ((), JOBS)
        listed = await store.reader.jobs(limit=500)
        assert len({one.job.id for one in listed.items}) == JOBS, "each document is of its own job"
        assert len(await store.costs.tuned_models(["o0", "o1"])) == JOBS
        assert len((await store.reader.deliveries(state="sent", limit=500)).items) == JOBS
        records = await store.costs.records(now - 90 * DAY, ["o0", "o1"])
        assert sum(one.usd for one in records.trained) == Decimal("2.40") * JOBS


@pytest.mark.parametrize(
    ("query", "index"),
    [
        pytest.param(ACTIVE.params(b_most=1), "job_ended", id="active jobs"),
        pytest.param(ENDING_MODELS.params(b_day="2026-11-22", b_most=1), "tuned_model_end", id="models that end"),
        pytest.param(ENDED_MODELS.params(b_day="2026-11-22", b_most=1), "tuned_model_end", id="models that ended"),
        pytest.param(FINISHED.params(b_org="a"), "job_finalized", id="jobs that are known by name"),
        pytest.param(NEWEST_JOBS.limit(1), "job_listing", id="jobs"),
        pytest.param(NEWEST_JOBS.where(job_table.c.org == "a").limit(1), "job_of_org", id="jobs of one organisation"),
        pytest.param(
            NEWEST_JOBS.where(job_table.c.status == "paused").limit(1), "job_in_status", id="jobs of one status"
        ),
        pytest.param(
            ENDING_MODELS.where(tuned_model.c.org == "a").params(b_day="2026-11-22", b_most=1),
            "tuned_model_of_org",
            id="models of one organisation that end",
        ),
        pytest.param(
            UNENDING_MODELS.where(tuned_model.c.org == "a").limit(1),
            "tuned_model_",
            id="models of one organisation without an end",
        ),
        pytest.param(UNENDING_MODELS.limit(1), "tuned_model_end", id="models without an end"),
    ],
)
async def test_what_is_shown_is_found_by_an_index(query: sa.Select[Any], index: str, tmp_path: Path) -> None:
    wanted = query.params(b_orgs=["a", "b"]) if "b_orgs" in query.compile().params else query
    plan = await plan_of(wanted, tmp_path)
    searches = [step for step in plan if step.startswith(("SEARCH job", "SCAN job", "SEARCH tuned", "SCAN tuned"))]
    assert searches
    assert all(f"INDEX {index}" in step for step in searches), plan
    assert index == "job_ended" or not any("TEMP B-TREE" in step for step in plan), plan
    assert index != "job_finalized" or "COVERING" in searches[0], "no row is touched"


def test_no_table_that_triggers_write_is_written_otherwise() -> None:
    for path in (Path(__file__).parents[2] / "monitor").rglob("*.py"):
        if "migrations" not in path.parts:
            text = path.read_text(encoding="utf-8")
            for table in KEPT:
                for verb in ("insert", "update", "delete"):
                    assert f"{verb}({table.name})" not in text, path
