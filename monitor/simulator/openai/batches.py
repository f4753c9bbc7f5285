"""OpenAI's `/batches`: requests that are answered within 24 hours at half the price."""

from __future__ import annotations

from typing import Any

from monitor.simulator import errors
from monitor.simulator.batch import BATCH_ENDS, Batch, BatchSpec, BatchStatus
from monitor.simulator.dialect import ApiCall, Route
from monitor.simulator.openai.jobs import read_metadata, read_text
from monitor.simulator.openai.pages import cut, named

_ENDPOINTS = ("/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/completions")
_MOMENTS = tuple(status for status in BatchStatus if status is not BatchStatus.VALIDATING)


def list_batches(call: ApiCall) -> dict[str, Any]:
    batches = call.simulation.batches(call.caller)
    shown, more = cut(batches, call.query, default=20, name=lambda batch: batch.id)
    return named([batch_json(batch, call.now) for batch in shown], more=more)


def retrieve(call: ApiCall) -> dict[str, Any]:
    return batch_json(call.simulation.batch(call.caller, call.params["batch"]), call.now)


def create(call: ApiCall) -> dict[str, Any]:
    body = call.body()
    input_file, endpoint = (read_text(body, name, required=True) or "" for name in ("input_file_id", "endpoint"))
    if endpoint not in _ENDPOINTS:
        known = ", ".join(f"'{each}'" for each in _ENDPOINTS)
        raise errors.bad("endpoint", f"Invalid value: '{endpoint}'. Supported values are: {known}.", "invalid_value")
    if body.get("completion_window") != "24h":
        raise errors.bad("completion_window", "Invalid value. Supported values are: '24h'.", "invalid_value")
    metadata, ending = read_metadata(body)
    file = call.simulation.file(call.caller, input_file)
    if file.purpose != "batch" or file.dataset is None:
        message = f"File '{input_file}' has purpose '{file.purpose}', but 'batch' is required."
        raise errors.bad("input_file_id", message, "invalid_file_purpose")
    asks = BatchSpec(
        input_file=input_file,
        total=file.dataset.examples,
        model="gpt-4o-mini-2024-07-18",
        endpoint=endpoint,
        metadata=metadata,
        ending=ending,
    )
    return batch_json(call.simulation.create_batch(call.caller, asks), call.now)


def cancel(call: ApiCall) -> dict[str, Any]:
    return batch_json(call.simulation.cancel_batch(call.caller, call.params["batch"]), call.now)


BATCHES = (
    Route("GET", "/batches", list_batches),
    Route("POST", "/batches", create),
    Route("GET", "/batches/{batch}", retrieve),
    Route("POST", "/batches/{batch}/cancel", cancel),
)


def batch_json(batch: Batch, now: float) -> dict[str, Any]:
    """A batch as the API returns it, with a time for each status that it has had."""
    status = batch.status(now)
    completed, failed = batch.counts(now)
    over = status in BATCH_ENDS
    reached = {f"{each}_at": batch.reached(each, now) for each in _MOMENTS}
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model,
        "errors": _errors() if status is BatchStatus.FAILED else None,
        "input_file_id": batch.input_file,
        "completion_window": "24h",
        "status": status.value,
        "output_file_id": batch.output_file if over and completed else None,
        "error_file_id": batch.error_file if over and failed else None,
        "created_at": int(batch.created_at),
        "expires_at": int(batch.expires_at),
        **{name: None if at is None else int(at) for name, at in reached.items()},
        "request_counts": {
            "total": 0 if batch.reached(BatchStatus.IN_PROGRESS, now) is None else batch.total,
            "completed": completed,
            "failed": failed,
        },
        "usage": _usage(batch, now),
        "metadata": dict(batch.metadata) if batch.metadata is not None else None,
    }


def _usage(batch: Batch, now: float) -> dict[str, Any]:
    read, written = batch.tokens(now)
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }


def _errors() -> dict[str, Any]:
    message = "The model `gpt-none` does not exist or you do not have access to it."
    return {
        "object": "list",
        "data": [{"code": "model_not_found", "message": message, "param": "body.model", "line": 1}],
    }
