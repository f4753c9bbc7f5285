"""Documents that older versions wrote are read whole."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from alembic import command

from monitor.domain.decide import Policy, decide
from monitor.domain.flow import Tracked
from monitor.domain.model import (
    NO_TUNING,
    Basis,
    Batch,
    Cost,
    FailureClass,
    FineTuning,
    Job,
    JobError,
    Method,
    Metrics,
    Status,
    TokenCount,
    Training,
)
from monitor.store import opened
from monitor.store.documents import read_tracked, write_tracked
from monitor.store.migrating import configuration
from monitor.store.sqlite import writer_engine
from tests.builders import HOUR, NOON, SECOND, job, seen, tracked
from tests.store.samples import StillClock

FLAT = (Path(__file__).parent / "data" / "job_of_schema_0017.json").read_text(encoding="utf-8")
"""A document from before jobs had a part for fine-tuning; every field of its job has another value than the default."""
WHOLE = Tracked(
    job=Job(
        org="research", id="ftjob-1", provider="azure", model="ft:gpt-4o-mini-2024-07-18:acme::w", method=Method.DPO,
        status=Status.FAILED, raw_status="failed", name="nämé", base_model="gpt-4o-mini-2024-07-18",
        created_at=NOON - 2 * HOUR, started_at=NOON - HOUR, taken_up_at=NOON - HOUR - SECOND, finished_at=NOON,
        estimated_finish=NOON + SECOND, metadata={"tuning": '"tuning":{'}, url="https://example.com",
        error=JobError(code="x", message="m", param="p", failure=FailureClass.FILE, hint="h"),
        reported_usd=Decimal("0.123456789"), reported_progress=0.5, summary_only=True,
        training=Training(
            started_at=NOON - HOUR, last_event_at=NOON, latest=Metrics(step=3, steps=9, train_loss=0.5, lost=True),
            loop_seconds=1.5, counted_step=3, timed_steps=2,
        ),
        tuning=FineTuning(
            fine_tuned_model="ft:gpt-4o-mini-2024-07-18:acme:bot:x", trained_tokens=300_000, epochs=3, seed=7,
            hyperparameters={"n_epochs": "3", "beta": "0.1"}, training_file="file-1", validation_file="file-2",
            result_files=("file-3", "file-4"), shared=True, tier="developer",
        ),
        batch=Batch(endpoint="/v1/responses", total=3, tokens=TokenCount(input=1)),
    ),
    seq=4, since=NOON, last_activity_at=NOON, finalized=True, cost=Cost(basis=Basis.REPORTED, usd=Decimal("0.12")),
)  # fmt: skip


def values(of: object) -> dict[str, object]:
    """All fields, with those that do not count in comparisons."""
    return {name: getattr(of, name) for name in (one.name for one in fields(of))}  # type: ignore[arg-type]  # a dataclass


def test_a_document_from_before_the_fine_tuning_part_is_read_whole() -> None:
    read = read_tracked(FLAT)
    assert read == WHOLE
    assert values(read.job.tuning) == values(WHOLE.job.tuning)
    assert "tuning" not in msgspec.json.decode(FLAT)["job"]


@pytest.mark.parametrize("of", [WHOLE, tracked(job()), tracked(job("batch:1", batch=Batch(total=3)))])
def test_what_is_written_is_read_again(of: Tracked) -> None:
    doc = write_tracked(of)
    read = read_tracked(doc)
    assert read == of
    assert values(read.job.tuning) == values(of.job.tuning)
    assert read.job.tuning is not NO_TUNING, "or every document would be decoded twice"
    assert write_tracked(read) == doc


async def test_jobs_of_an_older_database_are_as_they_were_and_a_poll_announces_nothing(tmp_path: Path) -> None:
    engine, active = writer_engine(tmp_path / "monitor.db"), FLAT.replace('"failed"', '"running"')
    with engine.begin() as connection:
        command.upgrade(configuration(connection), "0017")
        connection.execute(sa.text("INSERT INTO organization (name, version, seen_at) VALUES ('research', 1, 1)"))
        connection.execute(
            sa.text(
                "INSERT INTO job (org, id, status, model, created_at, finalized, doc)"
                " VALUES ('research', 'ftjob-1', 'running', 'm', 1, 0, :doc)"
            ),
            {"doc": active},
        )
    engine.dispose()
    async with opened(f"sqlite:///{tmp_path}/monitor.db", clock=StillClock()) as store:
        known = await store.jobs.known("research")
        read = known.jobs["ftjob-1"].job
        assert read == replace(WHOLE.job, status=Status.RUNNING, raw_status="running")
        assert decide(known, seen(replace(read, training=Training()), at=NOON + timedelta(seconds=1)), Policy()).empty
