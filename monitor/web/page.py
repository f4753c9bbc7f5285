"""The status page: a snapshot in words, for people. Works without scripts; text from outside stays text."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib import resources
from typing import Any, Final
from urllib.parse import quote, urlsplit

import jinja2
from markupsafe import Markup

from monitor import __version__
from monitor.domain.flow import Tracked
from monitor.domain.message import moment, span
from monitor.domain.model import Cost, Status
from monitor.domain.pricing import spoken
from monitor.domain.snapshot import Snapshot
from monitor.domain.triage import triage
from monitor.metrics.health import Health, OrgHealth
from monitor.metrics.labels import clean
from monitor.web import money

_MOST_ACTIVE: Final = 200
_MOST_ENDED: Final = 50
_STYLE: Final = resources.files("monitor.web").joinpath("page.css").read_text(encoding="utf-8")
_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; img-src data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """A moment: how long ago or from now, and exactly."""

    words: str
    exact: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A job as a line of a table. What is not known is None."""

    name: str
    id: str
    org: str
    model: str
    tuned: str | None
    status: str
    stalled: bool
    since: When
    progress: float | None
    steps: str | None
    time: str | None
    cost: str | None
    api: str
    link: str | None
    failure: str | None
    hint: str | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Org:
    """An organisation as a line."""

    name: str
    provider: str
    labels: tuple[str, ...]
    state: str
    """`up`, `down` or `new`."""
    last_success: When | None
    next_poll: When | None
    trouble: str | None
    active: int


def render(snapshot: Snapshot, health: Health) -> bytes:
    """The page as UTF-8. Called in a worker thread."""
    now = snapshot.at
    active = [tracked for tracked in snapshot.jobs if not tracked.job.status.final]
    ended = sorted((tracked for tracked in snapshot.jobs if tracked.job.status.final), key=_end, reverse=True)
    endings, more_endings = money.endings(snapshot)
    text = _template().render(
        version=__version__,
        at=moment(now),
        style=Markup(_STYLE),  # noqa: S704 - our own file; CSP names its digest
        tiles=_tiles(snapshot),
        orgs=sorted((_org(org, snapshot) for org in health.orgs.values()), key=lambda org: org.state != "down"),
        active=[_row(tracked, now) for tracked in active[:_MOST_ACTIVE]],
        ended=[_row(tracked, now) for tracked in ended[:_MOST_ENDED]],
        more_active=sum(n for (_, status), n in snapshot.counts.items() if not status.final)
        - len(active[:_MOST_ACTIVE]),
        more_ended=max(len(ended) - _MOST_ENDED, 0),
        outbox=_outbox(snapshot, health),
        budgets=money.budgets(health, snapshot),
        accounts=money.accounts(health, snapshot),
        endings=endings,
        more_endings=more_endings,
    )
    return text.encode("utf-8", "replace")


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    """Compiled once, by the first who looks."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("monitor.web", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def _tiles(snapshot: Snapshot) -> list[tuple[str, int, str]]:
    ended = [tracked.job.status for tracked in snapshot.jobs if tracked.job.status.final]
    active = sum(count for (_, status), count in snapshot.counts.items() if not status.final)
    waiting = sum(backlog.pending for backlog in snapshot.backlogs)
    failed = ended.count(Status.FAILED)
    return [
        ("Active jobs", active, "running" if active else ""),
        ("Succeeded lately", ended.count(Status.SUCCEEDED), ""),
        ("Failed lately", failed, "failed" if failed else ""),
        ("Waiting notifications", waiting, ""),
    ]


def _org(org: OrgHealth, snapshot: Snapshot) -> Org:
    return Org(
        name=clean(org.org, 64),
        provider=clean(org.provider, 64),
        labels=tuple(clean(f"{key}: {value}", 128) for key, value in org.labels.items()),
        state={True: "up", False: "down", None: "new"}[org.up],
        last_success=_when(min(org.last_success, snapshot.at) if org.last_success else None, snapshot.at),
        next_poll=_when(org.next_poll_at, snapshot.at),
        trouble=clean(org.trouble.text, 300) if org.trouble is not None else None,
        active=sum(count for (name, status), count in snapshot.counts.items() if name == org.org and not status.final),
    )


def _row(tracked: Tracked, now: datetime) -> Row:
    job = tracked.job
    failed = job.status is Status.FAILED
    latest = job.training.latest
    return Row(
        name=clean(job.name or "", 80),
        id=clean(job.id, 80),
        org=clean(job.org, 64),
        model=clean(job.model, 80),
        tuned=clean(job.fine_tuned_model, 120) if job.fine_tuned_model else None,
        status=job.status.value,
        stalled=tracked.stalled,
        since=_ago(_end(tracked) if job.status.final else tracked.since, now),
        progress=job.progress,
        steps=f"step {latest.step:,} of {latest.steps:,}" if latest.step is not None and latest.steps else None,
        time=span(job.run_time) if job.run_time is not None else None,
        cost=_cost(tracked.cost),
        api=f"api/v1/jobs/{_segment(job.org)}/{_segment(job.id)}",
        link=https(job.url),
        failure=triage(job.error).cls.value if failed else None,
        hint=triage(job.error).hint if failed else None,
        error=clean(job.error.message or job.error.code or "", 300) if failed and job.error is not None else None,
    )


def _outbox(snapshot: Snapshot, health: Health) -> list[dict[str, Any]]:
    backlogs = {backlog.notifier: backlog for backlog in snapshot.backlogs}
    names: Iterable[str] = dict.fromkeys((*health.notifiers, *backlogs))
    return [
        {
            "name": clean(name, 64),
            "pending": backlogs[name].pending if name in backlogs else 0,
            "oldest": _when(backlogs[name].oldest, snapshot.at) if name in backlogs else None,
        }
        for name in names
    ]


def https(url: str | None) -> str | None:
    """The link, if it is one that a click may follow: https, a host, and nothing that is not printable."""
    if url is None or len(url) > 2048 or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme == "https" and parts.hostname and "@" not in parts.netloc else None


def _segment(text: str) -> str:
    return quote(text, safe="", errors="replace")


def _end(tracked: Tracked) -> datetime:
    return tracked.job.finished_at or tracked.since


def _cost(cost: Cost | None) -> str | None:
    return spoken(cost) if cost is not None and cost.usd is not None else None


def _when(at: datetime | None, now: datetime) -> When | None:
    return _ago(at, now) if at is not None else None


def _ago(at: datetime, now: datetime) -> When:
    words = f"{span(now - at)} ago" if at <= now else f"in {span(at - now)}"
    return When(words=words, exact=moment(at) or "")
