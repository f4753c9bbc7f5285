"""Uploaded and made files, as the API shows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from monitor.simulator import errors
from monitor.simulator.curves import results
from monitor.simulator.job import Job
from monitor.simulator.training import Dataset, training_file, training_file_size

PURPOSES = ("fine-tune", "assistants", "batch", "user_data", "vision", "evals")
MOST_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class StoredFile:
    """A file; `body` is where it lies, or how it is made when somebody asks for it."""

    id: str
    filename: str
    purpose: str
    created_at: float
    project_id: str
    body: Path | Callable[[], bytes]
    size: int | None = None
    """Bytes; None until it is made."""
    dataset: Dataset | None = None
    expires_at: int | None = None


def made(file: StoredFile) -> bytes:
    """The content of a file that lies nowhere."""
    return b"" if isinstance(file.body, Path) else file.body()


def file_json(file: StoredFile) -> dict[str, Any]:
    """A file as the API shows it."""
    return {
        "object": "file",
        "id": file.id,
        "purpose": file.purpose,
        "filename": file.filename,
        "bytes": len(made(file)) if file.size is None else file.size,
        "created_at": int(file.created_at),
        "expires_at": file.expires_at,
        "status": "processed",
        "status_details": None,
    }


def result_file(job: Job) -> StoredFile:
    """The metrics of a job that has succeeded."""
    return StoredFile(
        id=job.result_file,
        filename="step_metrics.csv",
        purpose="fine-tune-results",
        created_at=job.plan.finished_at or job.created_at,
        project_id=job.project_id,
        body=partial(results, job),
    )


def sample_file(file_id: str, dataset: Dataset, *, project_id: str, at: float) -> StoredFile:
    """The file behind a generated job: chat examples, made only when somebody reads them."""
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


def check_purpose(purpose: str | None) -> str:
    """The purpose of an upload; raises ApiError 400."""
    if purpose is None:
        raise errors.missing("purpose")
    if purpose not in PURPOSES:
        raise errors.bad("purpose", f"'{purpose}' is not one of {list(PURPOSES)} - 'purpose'")
    return purpose


def too_large() -> errors.ApiError:
    """For an upload above the API's 512 MB."""
    return errors.ApiError(413, f"Maximum content size limit ({MOST_BYTES}) exceeded")


def expiry(anchor: str | None, seconds: str | None, now: float) -> int | None:
    """When a file goes by itself, by the form's `expires_after`; raises ApiError 400 outside an hour to thirty days."""
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise errors.bad("expires_after.anchor", "Invalid value: expected 'created_at'.", "invalid_value")
    if not (seconds or "").isdecimal() or not 3600 <= int(seconds or 0) <= 2592000:
        raise errors.bad("expires_after.seconds", "Expected a number of seconds from 3600 to 2592000.", "invalid_value")
    return int(now) + int(seconds or 0)
