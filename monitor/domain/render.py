"""Renders a transition as a message: the text for people and the JSON payload for receivers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from monitor.domain.flow import Tracked, Transition, TransitionKind
from monitor.domain.model import Basis, Batch, Cost, Job, JobError, Metrics, Status
from monitor.domain.money import dollars
from monitor.domain.news import Delivery, EventType, Message, Severity, Subject, json_text
from monitor.domain.pricing import format_cost
from monitor.domain.routing import Recipient, address
from monitor.domain.stall import Stall, StallReason
from monitor.domain.triage import triage
from monitor.domain.verdict import Verdict

_SEVERITY: Final = {
    EventType.SUCCEEDED: Severity.GOOD,
    EventType.FAILED: Severity.BAD,
    EventType.CANCELLED: Severity.WARNING,
    EventType.STALLED: Severity.WARNING,
    EventType.PAUSED: Severity.WARNING,
    EventType.GONE: Severity.WARNING,
}
_VERB: Final = {
    EventType.PROGRESS: "started",
    EventType.STALLED: "has stalled",
    EventType.CANCELLED: "was cancelled",
    EventType.PAUSED: "is paused",
    EventType.MOVING: "is moving again",
    EventType.GONE: "is gone from the provider",
}
_VALIDATING: Final = (
    "Its training file is still being validated, which takes long for a large one. Look at the job at the provider; "
    "if nothing happens, cancel it and create it again."
)
_GONE: Final = (
    "It was deleted at the provider, or the key now belongs to another project. Until it is seen again, it is left "
    "out of all counts and sums."
)
_ADVICE: Final = {
    StallReason.QUEUED: (
        "Check the provider's status page, and how many jobs of this organisation are running: jobs beyond the "
        "provider's limit wait for each other."
    ),
    StallReason.SILENT: (
        "Check the job's events at the provider, and the provider's status page. If other jobs with this model make "
        "progress, only this one hangs."
    ),
    StallReason.NO_STEP: (
        "Check the job's latest events: an evaluation or a checkpoint that never ends holds up every step. If other "
        "jobs with this model make no progress either, the cause is at the provider."
    ),
    StallReason.SLIPPING: (
        "Check the time between steps. If other jobs with this model have slowed down too, the cause is at the "
        "provider; otherwise it is a long evaluation or many checkpoints."
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """The labels and links that an organisation's messages carry."""

    labels: Mapping[str, str] = field(default_factory=dict)
    monitor_url: str = ""
    """The URL of this program's web interface without a trailing slash; if empty, messages have no link to it."""


def build_delivery(
    transition: Transition, tracked: Tracked, *, to: str, recipient: Recipient, labelling: Labelling
) -> Delivery:
    """The delivery of a transition to one address."""
    message = render(transition, tracked, recipient.event, labelling)
    sent = address(transition.subject, transition.seq, to, recipient, message)
    return replace(sent, card=recipient.rule.keeps_card(to))


def render(transition: Transition, tracked: Tracked, event: EventType, labelling: Labelling) -> Message:
    """The message for one event type of a transition."""
    data = json_text(payload(transition, tracked, labelling))
    message = describe(transition.subject, tracked, event, labelling, at=transition.at)
    return replace(message, title=f"{message.title}{_correction(transition)}", data=data)


def describe(subject: Subject, tracked: Tracked, event: EventType, labelling: Labelling, *, at: datetime) -> Message:
    """The text of a message about a job to which `event` has happened, without the payload."""
    job = tracked.job
    failed = job.error if job.status is Status.FAILED else None
    return Message(
        type=subject.type_of(event),
        at=at,
        title=f"{job.name or job.provider_id} {_VERB.get(event, event)}",
        severity=_severity(event, job, tracked.verdict),
        subject=subject,
        event_type=event,
        facts=tuple(_facts(at, tracked, event)),
        error=_words(failed) if job.status is Status.FAILED else None,
        hint=_hint(tracked, event),
        link=job.url,
        monitor_url=job_page(labelling.monitor_url, job),
    )


def _severity(event: EventType, job: Job, verdict: Verdict | None) -> Severity:
    """The severity of an event. A job with a verdict and a batch with failed requests are warnings though they
    succeeded."""
    if event is EventType.SUCCEEDED and (verdict is not None or (job.batch is not None and job.batch.failed)):
        return Severity.WARNING
    return _SEVERITY.get(event, Severity.INFO)


def _correction(transition: Transition) -> str:
    corrects = transition.kind is TransitionKind.CORRECTED
    return f" (corrected: it had been reported as {transition.before})" if corrects else ""


def job_page(base: str, job: Job) -> str | None:
    """The URL of a job's page in the web interface at `base`; None if `base` is empty."""
    return f"{base}/jobs/{quote(job.org, safe='')}/{quote(job.id, safe='')}" if base else None


def payload(transition: Transition, tracked: Tracked, labelling: Labelling) -> dict[str, Any]:
    """The `data` object of a webhook."""
    return {
        "org": transition.org,
        "provider": tracked.job.provider,
        "labels": dict(labelling.labels),
        "transition": {
            "id": transition.id,
            "seq": transition.seq,
            "from": transition.before,
            "to": transition.after,
            "observed_at": moment(transition.at),
            **({"corrected": True} if transition.kind is TransitionKind.CORRECTED else {}),
        },
        "job": {
            **job_view(tracked.job, tracked.cost, monitor_url=labelling.monitor_url, verdict=tracked.verdict),
            **headway_view(tracked, transition.at),
        },
    }


def job_view(job: Job, cost: Cost | None, *, monitor_url: str = "", verdict: Verdict | None = None) -> dict[str, Any]:
    """A job for receivers and the JSON API: times in ISO 8601 UTC, spans in whole seconds, money as decimal text."""
    return {
        "id": job.id,
        "kind": job.kind,
        "provider_id": job.provider_id,
        "name": job.name,
        "model": job.model,
        "method": job.method,
        "status": job.status,
        "fine_tuned_model": job.result_model,
        "created_at": moment(job.created_at),
        "started_at": moment(job.started_at),
        "finished_at": moment(job.finished_at),
        "queue_seconds": _seconds(job.queue_time),
        "run_seconds": _seconds(job.run_time),
        "trained_tokens": job.tuning.trained_tokens,
        "batch": _batch_view(job.batch),
        "progress": round(job.progress, 4) if job.progress is not None else None,
        "cost": _cost_view(cost),
        "error": _error_view(job),
        "verdict": _verdict_view(verdict),
        "metadata": job.metadata,
        "url": job.url,
        "monitor_url": job_page(monitor_url, job),
    }


def headway_view(tracked: Tracked, now: datetime) -> dict[str, Any]:
    """Expected finish and stall of a job for receivers and the JSON API; null if unknown or not stalled."""
    return {
        "estimated_finish": moment(tracked.expected_finish(now)),
        "stall": _stall_view(tracked.stall) if tracked.stalled and tracked.stall is not None else None,
    }


def _stall_view(stall: Stall) -> dict[str, Any]:
    queued = stall.reason is StallReason.QUEUED
    return {
        "reason": stall.reason,
        "since": moment(stall.since),
        "usual_seconds": _seconds(stall.usual.queue if queued else stall.usual.run),
        "usual_jobs": stall.usual.queued if queued else stall.usual.ran,
    }


def _batch_view(batch: Batch | None) -> dict[str, Any] | None:
    if batch is None:
        return None
    return {
        "endpoint": batch.endpoint,
        "requests": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "tokens": asdict(batch.tokens) if batch.tokens is not None else None,
        "input_file": batch.input_file,
        "output_file": batch.output_file,
        "error_file": batch.error_file,
        "expires_at": moment(batch.expires_at),
    }


def _verdict_view(verdict: Verdict | None) -> dict[str, Any] | None:
    if verdict is None:
        return None
    return {
        "kind": verdict.kind,
        "text": verdict.text,
        "since_step": verdict.since_step,
        "best_step": verdict.best_step,
        "best_checkpoint": verdict.best_checkpoint,
    }


def moment(at: datetime | None) -> str | None:
    """A time in ISO 8601, in UTC and whole seconds: `2026-01-31T12:00:00Z`."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at is not None else None


def clock_time(at: datetime, now: datetime) -> str:
    """A time for people, in UTC, with its date unless that is today: `11:00 UTC`, `2026-01-31 11:00 UTC`."""
    at, now = at.astimezone(UTC), now.astimezone(UTC)
    return f"{at:%H:%M} UTC" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M} UTC"


def span(time: timedelta) -> str:
    """A duration for people, in its two largest units: `2h 5m`, `31s`."""
    seconds = round(time.total_seconds())
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")]
    first = next((index for index, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count}{unit}" for count, unit in parts[first : first + 2] if count) or "0s"


def from_now(at: datetime, now: datetime) -> str:
    """A time relative to now for people: `2h 5m ago`, `in 31s`."""
    return f"{span(now - at)} ago" if at <= now else f"in {span(at - now)}"


def _facts(at: datetime, tracked: Tracked, event: EventType) -> Iterator[tuple[str, str]]:
    job = tracked.job
    yield "Organisation", job.org
    yield "Model", job.model
    if job.result_model:
        yield "Fine-tuned model", job.result_model
    if job.run_time is not None:
        yield "Duration", span(job.run_time)
    if job.queue_time is not None and (event is EventType.STARTED or job.status.final):
        yield "Queued for", span(job.queue_time)
    if event is EventType.STALLED and tracked.stall is not None:
        yield from stall_facts(tracked, tracked.stall, at)
    yield from _figures(tracked, at)
    finish = tracked.expected_finish(at)
    if finish is not None and finish > at:
        yield "Expected finish", f"{clock_time(finish, at)}, in {span(finish - at)}"
    yield "Job" if job.batch is None else "Batch", job.provider_id


def stall_facts(tracked: Tracked, stall: Stall, at: datetime) -> Iterator[tuple[str, str]]:
    """Facts of a stall: since when and why the job counts as stalled, and how long is usual."""
    latest, usual = tracked.job.training.latest, stall.usual
    yield "Stalled since", f"{clock_time(stall.since, at)}, for {span(max(at - stall.since, timedelta(0)))}"
    match stall.reason:
        case StallReason.QUEUED:
            yield "Why", "it has been queued for longer than usual"
        case StallReason.SILENT:
            yield "Why", "no sign of life"
        case StallReason.NO_STEP:
            total = f" of {latest.steps:,}" if latest.steps else ""
            yield "Why", f"stuck at step {latest.step:,}{total}" if latest.step is not None else "no progress"
        case StallReason.SLIPPING:
            promised = f" (first: {clock_time(stall.promised, at)})" if stall.promised is not None else ""
            yield "Why", f"its expected finish keeps moving back{promised}"
    if stall.reason is StallReason.QUEUED and usual.queue is not None:
        yield "Usual", f"95% of the last {usual.queued} jobs with this model waited {span(usual.queue)} at most"
    elif usual.run is not None:
        yield "Usual", f"the last {usual.ran} jobs with this model ran for {span(usual.run)} (median)"


def _hint(tracked: Tracked, event: EventType) -> str | None:
    """What to do next about a failed or stalled job; None for other events."""
    job = tracked.job
    if job.status is Status.FAILED:
        return triage(job.error, job.kind).hint
    if event is EventType.GONE:
        return _GONE
    if tracked.verdict is not None and job.status is Status.SUCCEEDED:
        return tracked.verdict.text
    if event is not EventType.STALLED or tracked.stall is None:
        return None
    return _VALIDATING if job.status is Status.VALIDATING else _ADVICE[tracked.stall.reason]


def _figures(tracked: Tracked, at: datetime) -> Iterator[tuple[str, str]]:
    job = tracked.job
    if job.progress is not None and job.status is not Status.SUCCEEDED:
        yield "Progress", f"{job.progress:.0%}"
    if job.tuning.trained_tokens is not None:
        yield "Trained tokens", f"{job.tuning.trained_tokens:,}"
    if job.batch is not None:
        yield from batch_facts(job.batch)
        if job.batch.expires_at is not None and not job.status.final:
            yield "Expires", clock_time(job.batch.expires_at, at)
    if tracked.cost is not None:
        yield "Cost", format_cost(tracked.cost)
    yield from _outcome(tracked)


def _outcome(tracked: Tracked) -> Iterator[tuple[str, str]]:
    """What the training of a job that succeeded came to, and the model that is better than the last one."""
    if tracked.job.status is Status.SUCCEEDED:
        yield from _last_measurements(tracked.job.training.latest)
    verdict = tracked.verdict
    if verdict is not None and verdict.best_step is not None:
        yield "Best step", f"{verdict.best_step:,}"
    if verdict is not None and verdict.best_checkpoint is not None:
        yield "Best checkpoint", verdict.best_checkpoint


def measurements(latest: Metrics) -> Iterator[tuple[str, str]]:
    """Losses and reward of one step, as far as they are known."""
    found = (("Loss", latest.train_loss), ("Validation loss", latest.valid_loss), ("Reward", latest.train_reward))
    return ((label, f"{value:.4g}") for label, value in found if value is not None)


def _last_measurements(latest: Metrics) -> Iterator[tuple[str, str]]:
    """The same of a finished training: its last events may not have been read yet."""
    final = latest.step is None or latest.steps is None or latest.step >= latest.steps
    for label, value in measurements(latest):
        yield (f"Final {label.lower()}", value) if final else (label, f"{value} at step {latest.step:,}")


def best_model(verdict: Verdict) -> str | None:
    """The step and the checkpoint that are better than the last model, as text; None if none is known."""
    step = f"step {verdict.best_step:,}" if verdict.best_step is not None else None
    kept = f"checkpoint {verdict.best_checkpoint}" if verdict.best_checkpoint is not None else None
    return ", ".join(filter(None, (step, kept))) or None


def batch_facts(batch: Batch) -> Iterator[tuple[str, str]]:
    """The facts of a batch for people."""
    if batch.endpoint is not None:
        yield "Endpoint", batch.endpoint
    if batch.total is not None:
        refused = f", {batch.failed:,} failed" if batch.failed else ""
        yield "Requests", f"{batch.completed or 0:,} of {batch.total:,} answered{refused}"
    if batch.tokens is not None:
        read = batch.tokens.input + batch.tokens.cached_input
        yield "Tokens", f"{read:,} in, {batch.tokens.output:,} out"
    if batch.output_file is not None:
        yield "Output", batch.output_file
    if batch.error_file is not None:
        yield "Errors", batch.error_file


def _cost_view(cost: Cost | None) -> dict[str, Any]:
    """The amount and its basis, with `low` and `high` for an inexact estimate."""
    if cost is None or cost.usd is None:
        return {"usd": None, "basis": Basis.UNKNOWN}
    view = {"usd": dollars(cost.usd), "basis": cost.basis}
    if cost.low is None or cost.high is None:
        return view
    return {**view, "low": dollars(cost.low), "high": dollars(cost.high)}


def _error_view(job: Job) -> dict[str, Any] | None:
    if job.status is not Status.FAILED:
        return None
    error, failure = job.error or JobError(), triage(job.error, job.kind)
    return {
        "code": error.code,
        "message": error.message,
        "param": error.param,
        "class": failure.cls,
        "hint": failure.hint,
        "retryable": failure.retryable,
    }


def _words(error: JobError | None) -> str:
    if error is None:
        return "no reason given"
    return ": ".join(filter(None, (error.code, error.message))) or "no reason given"


def _seconds(time: timedelta | None) -> int | None:
    return round(time.total_seconds()) if time is not None else None
