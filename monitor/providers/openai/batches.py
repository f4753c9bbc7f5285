"""Parses batch objects of OpenAI, and of Azure, which has blobs instead of files.

platform.openai.com/docs/api-reference/batch; learn.microsoft.com/azure/ai-foundry/openai/how-to/batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from monitor.domain.model import (
    BATCH_PREFIX,
    Batch,
    FailureClass,
    Job,
    JobError,
    JobKind,
    Method,
    Status,
    TokenCount,
)
from monitor.providers._answers import single
from monitor.providers._batches import EXPIRED
from monitor.providers._json import Object, Parsed, Skip
from monitor.providers._values import identifier, moment, pairs, sub, text, unreadable, whole
from monitor.providers.base import Call, JobList, Request, Response
from monitor.providers.openai.jobs import Origin
from monitor.providers.openai.naming import FAILURES, NAMING
from monitor.providers.openai.shape import RULES, job_listing

STATUSES: Final[Mapping[str, Status]] = {
    "validating": Status.VALIDATING,
    "in_progress": Status.RUNNING,
    "finalizing": Status.RUNNING,  # all requests are done; the output files are being written
    "completed": Status.SUCCEEDED,
    "failed": Status.FAILED,
    "expired": Status.FAILED,
    "cancelling": Status.CANCELLING,
    "cancelled": Status.CANCELLED,
    "canceling": Status.CANCELLING,
    "canceled": Status.CANCELLED,
}
_PATH: Final = "/batches"
_ENDED: Final = {
    "completed": "completed_at",
    "failed": "failed_at",
    "expired": "expired_at",
    "cancelled": "cancelled_at",
    "canceled": "cancelled_at",
}
_FIGURES: Final[Mapping[str, Callable[[object], Any]]] = {"created_at": moment, "in_progress_at": moment}
_QUEUE_FULL: Final = "Too many tokens are queued in unfinished batches: wait until some are done, then create it again."


def batch_list(origin: Origin) -> JobList:
    """The list of the organisation's batches."""
    return JobList(
        pages=job_listing("list_batches", _PATH, partial(_parse_batch, origin)),
        one=partial(_batch, origin),
        kind=JobKind.BATCH,
    )


def _batch(origin: Origin, batch_id: str) -> Call[Job]:
    request = Request(operation="get_batch", path=f"{_PATH}/{quote(batch_id, safe='')}")
    return Call(request=request, read=partial(_read_batch, origin))


def _read_batch(origin: Origin, response: Response) -> Job:
    return single(response, partial(_parse_batch, origin), what="batch", rules=RULES)


def _parse_batch(origin: Origin, item: Object) -> Parsed[Job] | Skip:
    """Parse one batch. `bad_id` where it has no usable id."""
    batch_id = identifier(item.get("id"))
    if batch_id is None:
        return "bad_id"
    word = text(item.get("status"), 64) or ""
    status, model = STATUSES.get(word, Status.UNKNOWN), text(item.get("model"), 256) or "unknown"
    figures = {name: parse(item.get(name)) for name, parse in _FIGURES.items()}
    metadata = pairs(item.get("metadata"))
    job = Job(
        org=origin.org,
        id=BATCH_PREFIX + batch_id,
        provider=origin.provider,
        model=model,
        base_model=NAMING.base_model(model) if NAMING.is_tuned(model) else "",
        method=Method.UNKNOWN,
        status=status,
        raw_status=word,
        name=text(metadata.get("description"), 128),  # OpenAI's guide puts a batch's name there
        created_at=figures["created_at"],
        started_at=figures["in_progress_at"],
        finished_at=moment(item.get(_ENDED[word])) if word in _ENDED else None,
        error=_error(word, item.get("errors")),
        metadata=metadata,
        url=None if origin.batch_url is None else origin.batch_url + quote(batch_id, safe=""),
        batch=_details(item),
    )
    return Parsed(job, sum(unreadable(item.get(name), found) for name, found in figures.items()))


def _details(item: Object) -> Batch:
    total, counts = whole(sub(item, "request_counts", "total")), item.get("request_counts")
    completed = whole(sub(counts, "completed"), least=0) if total is not None else None
    return Batch(
        endpoint=text(item.get("endpoint"), 64),
        total=total,
        completed=completed,
        failed=whole(sub(counts, "failed"), least=0) if total is not None else None,
        input_file=text(item.get("input_file_id") or item.get("input_blob"), 256),
        output_file=text(item.get("output_file_id") or item.get("output_blob"), 256),
        error_file=text(item.get("error_file_id") or item.get("error_blob"), 256),
        expires_at=moment(item.get("expires_at")),
        tokens=_tokens(item.get("usage"), completed),
    )


def _tokens(usage: object, completed: int | None) -> TokenCount | None:
    """The tokens of a batch.

    None if they are unknown: of old batches, and where both counts are 0 despite answers.
    """
    read, written = whole(sub(usage, "input_tokens"), least=0), whole(sub(usage, "output_tokens"), least=0)
    if read is None or written is None or (read + written == 0 and completed):
        return None
    cached = min(whole(sub(usage, "input_tokens_details", "cached_tokens"), least=0) or 0, read)
    return TokenCount(input=read - cached, cached_input=cached, output=written)


def _error(word: str, errors: object) -> JobError | None:
    """Why a batch failed: its first error, with the line number of the input file."""
    if word == "expired":
        return EXPIRED
    if word != "failed":
        return None
    listed = sub(errors, "data")
    first = listed[0] if isinstance(listed, list) and listed else None
    line, message = whole(sub(first, "line")), text(sub(first, "message"), 2_000)
    error = JobError(
        code=text(sub(first, "code"), 128),
        message=f"line {line}: {message}" if line is not None and message is not None else message,
        param=text(sub(first, "param"), 256),
    )
    if (error.code or "") == "token_limit_exceeded":
        return replace(error, failure=FailureClass.QUOTA, hint=_QUEUE_FULL)
    failure = FAILURES.get((error.code or "").lower(), FailureClass.FILE if error != JobError() else None)
    return replace(error, failure=failure)
