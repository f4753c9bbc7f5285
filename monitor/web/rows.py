"""Jobs and moments as people read them, on the status page and on the pages of jobs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Final
from urllib.parse import quote, urlsplit

from monitor.domain.flow import Tracked
from monitor.domain.model import Cost, Job, Status
from monitor.domain.pricing import spoken
from monitor.domain.render import moment, span
from monitor.domain.text import ELLIPSIS
from monitor.domain.triage import triage
from monitor.metrics.labels import clean

_EARLY: Final = 0.02  # of the whole: what is done of so little says nothing of the rest


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """A moment: how long ago or from now, and exactly."""

    words: str
    exact: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a job failed: in the provider's words, and what to do about it."""

    kind: str
    hint: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A job as a line of a table. What is not known is None."""

    key: str
    """Of the element, so that a page that is shown again finds it."""
    name: str
    id: str
    org: str
    model: str
    tuned: str | None
    status: str
    stalled: bool
    since: When
    finish: When | None
    progress: float | None
    steps: str | None
    time: str | None
    cost: str | None
    page: str
    link: str | None
    failure: Failure | None
    spark: tuple[str, str] | None


def row(tracked: Tracked, now: datetime, spark: tuple[str, str] | None = None) -> Row:
    """The line of this job."""
    job = tracked.job
    latest = job.training.latest
    return Row(
        key=f"job-{blake2b(f'{job.org}/{job.id}'.encode(errors='replace'), digest_size=6).hexdigest()}",
        name=clean(job.name or "", 80),
        id=clean(job.id, 80),
        org=clean(job.org, 64),
        model=clean(job.model, 80),
        tuned=clean(job.fine_tuned_model, 120) if job.fine_tuned_model else None,
        status=job.status.value,
        stalled=tracked.stalled,
        since=ago(end(tracked) if job.status.final else tracked.since, now),
        finish=when(finish(job, now), now),
        progress=job.progress,
        steps=f"step {latest.step:,} of {latest.steps:,}" if latest.step is not None and latest.steps else None,
        time=span(job.run_time) if job.run_time is not None else None,
        cost=money(tracked.cost),
        page=address(job),
        link=https(job.url),
        failure=failure(job),
        spark=spark,
    )


def failure(job: Job) -> Failure | None:
    """Why it failed, if it did."""
    if job.status is not Status.FAILED:
        return None
    found = triage(job.error)
    said = (job.error.message, job.error.code) if job.error is not None else ()
    seen = (cut(words, 300) for words in said if words)  # a message may have nothing that can be seen
    return Failure(kind=found.cls.value, hint=found.hint, error=next(filter(None, seen), ""))


def cut(text: str, limit: int) -> str:
    """At most `limit` harmless characters of a sentence; where there are more, the last one says so."""
    shown = clean(text, limit + 1)
    return shown if len(shown) <= limit else shown[: limit - 1].rstrip() + ELLIPSIS


def finish(job: Job, now: datetime) -> datetime | None:
    """When it will be done: as the provider says, else by the pace so far. None when there is no saying."""
    if job.status.final:
        return None
    if job.estimated_finish is not None:
        return job.estimated_finish if job.estimated_finish > now else None
    began, done = job.started_at, job.progress
    if job.status is not Status.RUNNING or began is None or began > now or done is None or not _EARLY <= done < 1:
        return None
    return now + (now - began) * ((1 - done) / done)


def address(job: Job) -> str:
    """The page of a job, as seen from the status page."""
    return f"jobs/{segment(job.org)}/{segment(job.id)}"


def segment(text: str) -> str:
    """One step of a path. A step of dots alone would be taken for a direction: no server is ever asked for it."""
    return quote(text, safe="", errors="replace")


def https(url: str | None) -> str | None:
    """The link, if it is one that a click may follow: https, a host, and nothing that is not printable."""
    if url is None or len(url) > 2048 or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme == "https" and parts.hostname and "@" not in parts.netloc else None


def end(tracked: Tracked) -> datetime:
    """When a job that is over ended; where that is not told, when we saw it."""
    return tracked.job.finished_at or tracked.since


def money(cost: Cost | None) -> str | None:
    """What it costs, where that is known."""
    return spoken(cost) if cost is not None and cost.usd is not None else None


def when(at: datetime | None, now: datetime) -> When | None:
    """The moment, where there is one."""
    return ago(at, now) if at is not None else None


def ago(at: datetime, now: datetime) -> When:
    """The moment as seen from now."""
    words = f"{span(now - at)} ago" if at <= now else f"in {span(at - now)}"
    return When(words=words, exact=moment(at) or "")
