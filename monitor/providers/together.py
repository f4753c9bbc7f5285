"""Together's fine-tuning API: all jobs in one unpaged list, each with its price.

Shapes and statuses are those of the `together` package and of togethercomputer/openapi.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, Literal
from urllib.parse import quote

from monitor.domain.model import (
    Checkpoint,
    EventKind,
    FailureClass,
    FineTuning,
    Job,
    JobError,
    JobEvent,
    Method,
    Metrics,
    Status,
)
from monitor.providers._answers import single
from monitor.providers._json import Object, Parsed, Skip, parse_items, raw_page
from monitor.providers._refusals import granted, refusal
from monitor.providers._settings import BaseUrl, KeyedOrganization
from monitor.providers._values import (
    hyperparameters,
    identifier,
    job_identifier,
    moment,
    number,
    sub,
    text,
    unreadable,
    whole,
)
from monitor.providers.base import Call, JobList, KeyAuth, Listing, Page, Provider, Request, Response

_PAGE_URL: Final = "https://api.together.ai/fine-tuning/"
_NANO: Final = Decimal(10) ** -9
STATUSES: Final[Mapping[str, Status]] = {
    "pending": Status.QUEUED,
    "queued": Status.QUEUED,
    "running": Status.RUNNING,
    "compressing": Status.RUNNING,  # the trained model is compressed
    "uploading": Status.RUNNING,
    "cancel_requested": Status.CANCELLING,
    "cancelled": Status.CANCELLED,
    "error": Status.FAILED,
    "user_error": Status.FAILED,  # in the SDK's enum and in the documentation, but not in the specification
    "completed": Status.SUCCEEDED,
}
_HYPERPARAMETERS: Final = (
    "n_epochs", "batch_size", "learning_rate", "warmup_ratio", "weight_decay", "max_grad_norm", "max_seq_length",
)  # fmt: skip
_METHODS: Final[Mapping[str, Method]] = {"sft": Method.SUPERVISED, "dpo": Method.DPO}
_NO_REASON: Final = "Together's job does not say why; its events may."
_INPUT: Final = "Correct the training file or the settings, and create a new job."
_BALANCE: Final = (
    "Unless somebody cancelled it, check the balance: Together cancels jobs by itself when the balance does not "
    "cover them."
)
_ERRORS: Final[Mapping[str, JobError]] = {
    "error": JobError(code="error", message=_NO_REASON, failure=FailureClass.PROVIDER),
    "user_error": JobError(code="user_error", message=_NO_REASON, failure=FailureClass.FILE, hint=_INPUT),
    # docs.together.ai, "Troubleshooting": cancelled by Together itself, most often after a failed balance check.
    "cancelled": JobError(code="cancelled", failure=FailureClass.QUOTA, hint=_BALANCE),
}
# `legacy_iwarning` is Together's spelling.
_LEVELS: Final[Mapping[str, str]] = {
    "warning": "warn",
    "legacy_iwarning": "warn",
    "legacy_warning": "warn",
    "error": "error",
    "legacy_ierror": "error",
    "legacy_error": "error",
}
_KINDS: Final[Mapping[str, EventKind]] = {
    "training_start": EventKind.STARTED,
    "checkpoint_save": EventKind.CHECKPOINT,
}
_LONGEST_STAGE: Final = 366 * 86_400


class TogetherSettings(KeyedOrganization):
    """An organisation at Together."""

    provider: Literal["together"]
    """Together."""
    base_url: BaseUrl = "https://api.together.ai/v1"
    """The address of the API. The key is sent nowhere else."""

    def vendor(self) -> Provider:
        """Build the provider for this organisation."""
        return Provider(
            name="together",
            base_url=self.base_url,
            auth=KeyAuth(),
            jobs=(
                JobList(
                    pages=Listing(
                        first=Request(operation="list_jobs", path="/fine-tunes"), read=partial(_read_jobs, self.name)
                    ),
                    one=partial(_job, self.name),
                ),
            ),
            events=partial(_events, self.name),
            seller="together",
        )


def _read_jobs(org: str, _request: Request, response: Response) -> Page[Job]:
    if (error := refusal(response, one=False)) is not None:
        raise error
    items, skipped = parse_items(raw_page(response), partial(_parse_job, org))
    return Page(items=items, skipped=skipped)


def _job(org: str, job_id: str) -> Call[Job]:
    request = Request(operation="get_job", path=f"/fine-tunes/{quote(job_id, safe='')}")
    return Call(request=request, read=partial(_read_job, org))


def _read_job(org: str, response: Response) -> Job:
    return single(response, partial(_parse_job, org))


def _parse_job(org: str, item: Object) -> Parsed[Job] | Skip:
    job_id = job_identifier(item.get("id"))
    if job_id is None:
        return "bad_id"
    word = text(item.get("status"), 64) or ""
    status = STATUSES.get(word.lower(), Status.UNKNOWN)
    figures: dict[str, Any] = {
        "created_at": moment(item.get("created_at")),
        "reported_usd": _price(item.get("total_price")),
    }
    job = Job(
        org=org,
        id=job_id,
        provider="together",
        model=text(item.get("model"), 256) or "unknown",
        method=_METHODS.get(str(sub(item.get("training_method"), "method") or "sft"), Method.UNKNOWN),
        status=status,
        raw_status=word,
        name=text(item.get("suffix"), 128),
        # `started_at` is the start of the current stage, which is training only while the status is `running`.
        started_at=moment(item.get("started_at")) if word.lower() == "running" else None,
        finished_at=moment(item.get("updated_at")) if status.final else None,
        estimated_finish=_estimate(item) if status is Status.RUNNING else None,
        error=_ERRORS.get(word.lower()),
        url=_PAGE_URL + quote(job_id, safe=""),
        tuning=_tuning(item, succeeded=status is Status.SUCCEEDED),
        **figures,
    )
    read = (("created_at", "created_at"), ("total_price", "reported_usd"))
    return Parsed(job, sum(unreadable(item.get(theirs), figures[ours]) for theirs, ours in read))


def _tuning(item: Object, *, succeeded: bool) -> FineTuning:
    return FineTuning(
        fine_tuned_model=text(item.get("model_object_name"), 256) or text(item.get("model_output_name"), 256),
        trained_tokens=whole(item.get("token_count")) if succeeded else None,
        epochs=whole(item.get("n_epochs")),
        hyperparameters=hyperparameters(
            {name: item[name] for name in _HYPERPARAMETERS if name in item}, item.get("training_type")
        ),
        training_file=text(item.get("training_file"), 256),
        validation_file=text(item.get("validation_file"), 256),
    )


def _price(nano: object) -> Decimal | None:
    """A price in nano-dollars as dollars; absent on some jobs, and 0 on refunded ones."""
    amount = whole(nano, least=0)
    return None if amount is None else amount * _NANO


def _estimate(item: Object) -> datetime | None:
    """When the current stage ends: its start plus `seconds_remaining`, as Together's own CLI computes it."""
    began, seconds = moment(item.get("started_at")), number(sub(item.get("progress"), "seconds_remaining"))
    known = sub(item.get("progress"), "estimate_available") is True
    if began is None or seconds is None or not known or not 0 < seconds <= _LONGEST_STAGE:
        return None
    return began + timedelta(seconds=seconds)


def _events(org: str, job_id: str, known: Container[str], _few: bool) -> Listing[JobEvent]:
    # All events are on one page, however few are new.
    first = Request(operation="list_events", path=f"/fine-tunes/{quote(job_id, safe='')}/events")
    return Listing(first=first, read=partial(_read_events, org, job_id, known))


def _read_events(org: str, job_id: str, known: Container[str], _request: Request, response: Response) -> Page[JobEvent]:
    page = raw_page(granted(response, what="job"))
    items, skipped = parse_items(page, partial(_event, org, job_id, known))
    return Page(items=items, skipped=skipped)


def _event(org: str, job_id: str, known: Container[str], item: Object) -> Parsed[JobEvent] | Skip:
    """Parse an event. Its id is its hash; types and levels are in capitals or not, depending on the job's age."""
    at, id_ = moment(item.get("created_at")), identifier(item.get("hash"))
    word = (text(item.get("type"), 64) or "").lower()
    message = text(item.get("message"), 2_000) or ""
    if id_ is None and not message:
        return "empty"
    id_ = id_ or f"{word}-{item.get('created_at')}-{message}"[:256]
    if id_ in known:
        return Parsed(JobEvent(org=org, job=job_id, id=id_, at=at, level="info", message=""))
    step, steps = whole(item.get("step")), whole(item.get("total_steps"))
    return Parsed(
        JobEvent(
            org=org,
            job=job_id,
            id=id_,
            at=at,
            level=_LEVELS.get((text(item.get("level"), 64) or "").lower(), "info"),
            message=message,
            kind=_KINDS.get(word, EventKind.MESSAGE),
            metrics=Metrics(step=step, steps=steps) if step is not None or steps is not None else None,
            checkpoint=_checkpoint(item, step) if word == "checkpoint_save" else None,
        ),
        int(unreadable(item.get("created_at"), at)),
    )


def _checkpoint(item: Object, step: int | None) -> Checkpoint | None:
    name = text(item.get("checkpoint_path"), 512)
    return Checkpoint(step=step, name=name) if step is not None and name is not None else None
