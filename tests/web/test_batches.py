"""Batches for people and programs: rows, their page, the filter by kind, the JSON API and the commands."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor.domain.model import Basis, Batch, Cost, Job, JobError, Status, TokenCount
from monitor.web.job_rows import job_row
from tests.builders import DAY, HOUR, MINUTE, NOON, job, tracked
from tests.terminal.asked import asked
from tests.web.site import site

HALF = Batch(
    endpoint="/v1/responses", total=1000, completed=400, failed=100, input_file="file-in", expires_at=NOON + DAY
)
DONE = Batch(
    endpoint="/v1/responses", total=1000, completed=990, failed=10, output_file="file-out", error_file="file-errors",
    tokens=TokenCount(input=5000, output=900), expires_at=NOON + DAY,
)  # fmt: skip


def batch(name: str = "one", status: Status = Status.RUNNING, of: Batch = HALF, **over: Any) -> Job:
    return job(f"batch:{name}", status, **{"batch": of, "started_at": NOON - 30 * MINUTE, **over})


@pytest.mark.parametrize(
    ("left", "status", "words"),
    [
        pytest.param(5 * HOUR, Status.RUNNING, None, id="time enough"),
        pytest.param(2 * HOUR, Status.RUNNING, "in 2h", id="soon"),
        pytest.param(-MINUTE, Status.CANCELLING, "1m ago", id="overdue"),
        pytest.param(2 * HOUR, Status.SUCCEEDED, None, id="over"),
    ],
)
def test_a_row_warns_of_what_expires_soon(left: timedelta, status: Status, words: str | None) -> None:
    row = job_row(tracked(batch(status=status, of=Batch(expires_at=NOON + left))), NOON)
    assert (row.expires.words if row.expires is not None else None) == words


@pytest.mark.parametrize(
    ("of", "words"),
    [
        pytest.param(HALF, "500 of 1,000 requests, 100 failed", id="some failed"),
        pytest.param(Batch(total=9, completed=3), "3 of 9 requests", id="none failed"),
        pytest.param(Batch(), None, id="not counted yet"),
    ],
)
def test_a_row_counts_requests(of: Batch, words: str | None) -> None:
    row = job_row(tracked(batch(of=of)), NOON)
    assert (row.steps, row.id, row.page, row.batch) == (words, "one", "jobs/research/batch%3Aone", True)


async def test_pages_show_batches_beside_jobs_and_filter_by_kind(tmp_path: Path) -> None:
    ended = tracked(
        batch("two", Status.SUCCEEDED, DONE, finished_at=NOON - MINUTE),
        cost=Cost(basis=Basis.COMPUTED, usd="0.50"),  # type: ignore[arg-type] # as documents have it
    )
    failed = tracked(
        batch("three", Status.FAILED, Batch(), finished_at=NOON - MINUTE, error=JobError(message="line 3: No JSON."))
    )
    async with site(tmp_path) as here:
        await here.keep(tracked(job("ftjob-1")))
        assert 'name="kind"' not in (await here.get("/")).text, "where there are no batches there is nothing to choose"
        await here.keep(tracked(batch()), ended, failed, told=("ops",))
        whole = (await here.get("/")).text
        for words in ("ftjob-1", "500 of 1,000 requests", "line 3: No JSON.", 'name="kind"'):
            assert words in whole
        only = (await here.get("/?kind=batch")).text
        assert "ftjob-1" not in only
        assert "batch%3Aone" in only
        others = (await here.get("/?kind=fine_tuning")).text
        assert "ftjob-1" in others
        assert "batch%3A" not in others
        assert "ftjob-1" in (await here.get("/?kind=nonsense")).text

        page = (await here.get("/jobs/research/batch:two")).text
        for words in (
            "990 of 1,000 answered, 10 failed",
            "5,000 in, 900 out",
            "file-out",
            "file-errors",
            "/v1/responses",
        ):
            assert words in page
        for words in ("Method", "The provider has sent no events", "Training file"):
            assert words not in page
        assert "Expires" in (await here.get("/jobs/research/batch:one")).text


async def test_the_api_and_the_commands_distinguish_jobs_and_batches(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.keep(tracked(job("one")), tracked(batch()), tracked(batch("two", Status.SUCCEEDED, DONE)))

        async def ids(query: str) -> list[str]:
            return sorted(one["id"] for one in json.loads((await here.get(f"/api/v1/jobs{query}")).body)["data"])

        assert await ids("") == ["batch:one", "batch:two", "one"]
        assert await ids("?kind=batch") == ["batch:one", "batch:two"]
        assert await ids("?kind=batch&status=running") == ["batch:one"]
        assert await ids("?kind=fine_tuning") == ["one"]
        assert (await here.get("/api/v1/jobs?kind=x")).status == 400
        told = json.loads((await here.get("/api/v1/jobs/research/batch:two")).body)["data"]
        assert (told["kind"], told["provider_id"], told["batch"]["requests"]["failed"]) == ("batch", "two", 10)
        assert datetime.fromisoformat(told["batch"]["expires_at"]) == NOON + DAY

        said = await asked(here.port, "jobs", "--kind", "batch", "--json")
        assert sorted(json.loads(line)["id"] for line in said.stdout.splitlines()) == ["batch:one", "batch:two"]
        said = await asked(here.port, "jobs", "--kind", "fine_tuning")
        assert "batch:" not in said.stdout
        said = await asked(here.port, "jobs")
        assert "batch:one" in said.stdout
        said = await asked(here.port, "job", "research", "batch:one")
        for words in ("gpt-4o-mini-2024-07-18, batch", "400 of 1,000 answered, 100 failed", "Expires", "/v1/responses"):
            assert words in said.stdout
        said = await asked(here.port, "job", "research", "one")
        assert "1 of" not in said.stdout, "a fine-tuning job of that id comes first"
        said = await asked(here.port, "job", "research", "two")
        assert "990 of 1,000" in said.stdout, "as its provider calls it"
        said = await asked(here.port, "job", "research", "batch:two")
        assert "Expires" not in said.stdout
        assert "file-errors" in said.stdout
