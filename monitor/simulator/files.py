"""Uploaded files, and files that jobs and batches create."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from monitor.simulator.batch import BATCH_ENDS, Batch
from monitor.simulator.dataset import Dataset, training_file, training_file_size
from monitor.simulator.job import Job
from monitor.simulator.training import results


@dataclass(frozen=True)
class StoredFile:
    """A file. `body` is its path, or a function that creates the content on demand."""

    id: str
    filename: str
    purpose: str
    created_at: float
    project_id: str
    body: Path | Callable[[], bytes]
    size: int | None = None
    """The size in bytes; None for content that was not created yet."""
    dataset: Dataset | None = None
    expires_at: int | None = None

    def made(self) -> bytes:
        """The content of a file that is created on demand."""
        return b"" if isinstance(self.body, Path) else self.body()


def result_file(job: Job) -> StoredFile:
    """The metrics file of a succeeded job."""
    return StoredFile(
        id=job.result_file,
        filename="step_metrics.csv",
        purpose="fine-tune-results",
        created_at=job.plan.finished_at or job.created_at,
        project_id=job.owner.project.id,
        body=partial(results, job),
    )


def batch_files(batch: Batch, now: float) -> Iterator[StoredFile]:
    """The output and the error file of a finished batch, without empty ones."""
    if batch.status(now) not in BATCH_ENDS:
        return
    for count, name, refused in zip(
        batch.counts(now), (batch.output_file, batch.error_file), (False, True), strict=True
    ):
        if count:
            yield StoredFile(
                id=name,
                filename=f"{batch.id}_{'error' if refused else 'output'}.jsonl",
                purpose="batch_output",
                created_at=batch.ended_at,
                project_id=batch.owner.project.id,
                body=partial(batch.lines, refused=refused),
            )


def sample_file(file_id: str, dataset: Dataset, *, project_id: str, at: float) -> StoredFile:
    """The training file of a generated job: chat examples, created only when it is read."""
    return StoredFile(
        id=file_id,
        filename="examples.jsonl",
        purpose="fine-tune",
        size=training_file_size(examples=dataset.examples, tokens=dataset.tokens),
        created_at=at,
        project_id=project_id,
        body=partial(training_file, examples=dataset.examples, tokens=dataset.tokens),
        dataset=dataset,
    )
