"""Formats jobs, times and costs for people, on the status page and on job pages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final
from urllib.parse import quote, urlsplit

from monitor.domain.flow import Tracked
from monitor.domain.model import Basis, Batch, Cost, Job, Metrics, Status
from monitor.domain.pricing import format_cost
from monitor.domain.render import from_now, moment, span
from monitor.domain.text import ELLIPSIS
from monitor.domain.triage import triage
from monitor.metrics.labels import clean

GONE: Final = "gone"
"""The displayed status of a job that its provider no longer knows."""
_EXPIRES_SOON: Final = timedelta(hours=3)  # batches have 24 hours
_SEEN_SOON: Final = timedelta(minutes=10)  # a final job first seen this soon after its creation has ended just now


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """A time: relative to now, and exactly where that is known."""

    words: str
    exact: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureText:
    """Why a job failed: its class, the provider's message, and what to do about it."""

    kind: str
    hint: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job as a row of a table. Unknown values are None."""

    key: str
    """The id of the HTML element, by which an updated page finds the row."""
    name: str
    id: str
    org: str
    model: str
    tuned: str | None
    batch: bool
    """Whether it is a batch of requests."""
    status: str
    final: bool
    stalled: bool
    since: When | None
    """How long it has had its status, or when it ended."""
    finish: When | None
    progress: float | None
    steps: str | None
    """The progress in steps or requests."""
    expires: When | None
    """When a batch that is not final expires, if that is soon or past."""
    run_time: str | None
    cost: str | None
    cost_range: str | None
    page: str
    link: str | None
    failure: FailureText | None
    spark: tuple[str, str] | None


def job_row(tracked: Tracked, now: datetime, spark: tuple[str, str] | None = None) -> JobRow:
    """Format a job as a row."""
    job = tracked.job
    cost, cost_range = money(tracked.cost)
    return JobRow(
        key=f"job-{blake2b(f'{job.org}/{job.id}'.encode(errors='replace'), digest_size=6).hexdigest()}",
        name=clean(job.name or "", 80),
        id=clean(job.provider_id, 80),
        org=clean(job.org, 64),
        model=clean(job.model, 80),
        tuned=clean(job.result_model, 120) if job.result_model else None,
        batch=job.batch is not None,
        status=status(tracked),
        final=job.status.final,
        stalled=tracked.stalled and tracked.active,
        since=_since(tracked, now),
        finish=finish(tracked, now) if tracked.active else None,
        progress=job.progress,
        steps=_requests(job.batch) if job.batch is not None else _steps(job.training.latest),
        expires=expiry(job, now),
        run_time=span(job.run_time) if job.run_time is not None else None,
        cost=cost,
        cost_range=cost_range,
        page=address(job),
        link=https(job.url),
        failure=failure(job),
        spark=spark,
    )


def _steps(latest: Metrics) -> str | None:
    return f"step {latest.step:,} of {latest.steps:,}" if latest.step is not None and latest.steps else None


def _requests(batch: Batch) -> str | None:
    if batch.total is None:
        return None
    refused = f", {batch.failed:,} failed" if batch.failed else ""
    return f"{(batch.completed or 0) + (batch.failed or 0):,} of {batch.total:,} requests{refused}"


def expiry(job: Job, now: datetime) -> When | None:
    """When a batch that is not final expires, if that is within 3 hours."""
    at = job.batch.expires_at if job.batch is not None and not job.status.final else None
    return when(at, now) if at is not None and at - now <= _EXPIRES_SOON else None


def status(tracked: Tracked) -> str:
    """The job's status, or `gone`."""
    return tracked.job.status.value if tracked.active or tracked.job.status.final else GONE


def ended_at(tracked: Tracked) -> datetime | None:
    """When a final or gone job ended.

    Where the provider gives no time, it is when we saw the end. None if the job was final already at first sight,
    unless we saw it soon after its creation.
    """
    job = tracked.job
    if job.finished_at is not None or not job.status.final:
        return job.finished_at or tracked.since
    at_first_sight = tracked.seq == 1
    soon = job.created_at is not None and tracked.since - job.created_at <= _SEEN_SOON
    return None if at_first_sight and not soon else tracked.since


def _since(tracked: Tracked, now: datetime) -> When | None:
    """How long the job has had its status; `for at least` if it already had it when it was first seen."""
    if not tracked.active:
        return when(ended_at(tracked), now)
    job = tracked.job
    known_since = job.started_at if job.status is Status.RUNNING else None
    if job.status in {Status.VALIDATING, Status.QUEUED} and tracked.seq == 1:
        known_since = job.created_at
    since = min(known_since or tracked.since, now)
    entered = tracked.ran_at is not None or tracked.seq > 1 + tracked.stalled  # a stall takes a sequence number, too
    how = "for" if known_since is not None or entered else "for at least"
    return When(words=f"{how} {span(now - since)}", exact=moment(since) or "")


def failure(job: Job) -> FailureText | None:
    """Why a job failed; None for a job that did not."""
    if job.status is not Status.FAILED:
        return None
    found = triage(job.error, job.kind)
    texts = (job.error.message, job.error.code) if job.error is not None else ()
    shown = (cut(text, 300) for text in texts if text)  # a message may consist of invisible characters only
    return FailureText(kind=found.cls.value, hint=found.hint, error=next(filter(None, shown), ""))


def cut(text: str, limit: int) -> str:
    """At most `limit` printable characters, with an ellipsis at the end where text was cut."""
    shown = clean(text, limit + 1)
    return shown if len(shown) <= limit else shown[: limit - 1].rstrip() + ELLIPSIS


def finish(tracked: Tracked, now: datetime) -> When | None:
    """When an active job will finish, by the provider's estimate or its pace of steps; None if that is unknown."""
    done = tracked.job.progress
    if done is not None and done >= 1:
        return When(words="finishing")
    at = tracked.expected_finish(now)
    return When(words="overdue", exact=moment(at) or "") if at is not None and at <= now else when(at, now)


def address(job: Job) -> str:
    """The relative URL of a job's page, from the status page."""
    return f"jobs/{segment(job.org)}/{segment(job.id)}"


def segment(text: str) -> str:
    """A text as one percent-encoded path segment.

    Segments of dots only are resolved by browsers and never reach the server.
    """
    return quote(text, safe="", errors="replace")


def https(url: str | None) -> str | None:
    """The URL if it is safe as a link: https with a host, no user name, printable characters only. None otherwise."""
    if url is None or len(url) > 2048 or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme == "https" and parts.hostname and "@" not in parts.netloc else None


def money(cost: Cost | None) -> tuple[str | None, str | None]:
    """The cost and, for an estimate, its range; None if it is unknown."""
    if cost is None or cost.usd is None:
        return None, None
    if cost.low is None or cost.high is None:
        return format_cost(cost), None
    low, high = (format_cost(Cost(basis=Basis.COMPUTED, usd=usd)) for usd in (cost.low, cost.high))
    return format_cost(replace(cost, low=None, high=None)), f"{low} to {high}"


def when(at: datetime | None, now: datetime) -> When | None:
    """A time relative to `now`; None for None."""
    return When(words=from_now(at, now), exact=moment(at) or "") if at is not None else None
