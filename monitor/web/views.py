"""Values of the domain as the JSON API shows them. Pure, and called in a worker thread where there are many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

import msgspec

from monitor.domain.flow import Tracked, Transition, Trouble
from monitor.domain.model import JobEvent
from monitor.domain.render import job_view, moment
from monitor.metrics.health import AccountHealth, Health, OrgHealth
from monitor.store import DeliverySummary, JobFile, Listing

T = TypeVar("T")
View = dict[str, Any]


def page(listing: Listing[T], view: Callable[[T], View]) -> bytes:
    """One page of a list, and the cursor of the next."""
    return encoded([view(item) for item in listing.items], listing.next)


def encoded(shown: View | list[View], following: str | None = None) -> bytes:
    """An answer: `data`, and for lists `next`."""
    answer = {"data": shown, "next": following} if isinstance(shown, list) else {"data": shown}
    return msgspec.json.encode(answer)


def job(tracked: Tracked, health: Health) -> View:
    """A job as in notifications, with where it belongs and how we see it."""
    org = health.orgs.get(tracked.job.org)
    return {
        "org": tracked.job.org,
        "provider": tracked.job.provider,
        "labels": dict(org.labels) if org is not None else {},
        **job_view(tracked.job, tracked.cost),
        "since": moment(tracked.since),
        "stalled": tracked.stalled,
        "estimated_finish": moment(tracked.job.estimated_finish),
    }


def job_file(file: JobFile, health: Health) -> View:
    """A job and what became of it."""
    return {
        **job(file.tracked, health),
        "transitions": [transition(one) for one in file.transitions],
        "deliveries": [delivery(one) for one in file.deliveries],
    }


def transition(of: Transition) -> View:
    """A transition as in notifications."""
    return {
        "id": of.id,
        "seq": of.seq,
        "kind": of.kind,
        "from": of.before,
        "to": of.after,
        "observed_at": moment(of.at),
    }


def event(of: JobEvent) -> View:
    """One line of a job's event stream; of its metrics what it said."""
    said = asdict(of.metrics) if of.metrics is not None else {}
    return {
        "id": of.id,
        "at": moment(of.at),
        "level": of.level,
        "kind": of.kind,
        "message": of.message,
        "metrics": {name: value for name, value in said.items() if value is not None} or None,
    }


def delivery(of: DeliverySummary) -> View:
    """An envelope of the outbox, without its content."""
    return {
        "key": of.key,
        "notifier": of.notifier,
        "org": of.org,
        "job": of.job,
        "seq": of.seq,
        "type": of.type,
        "title": of.title,
        "state": of.state,
        "attempts": of.attempts,
        "created_at": moment(of.created_at),
        "due_at": moment(of.due_at),
        "settled_at": moment(of.settled_at),
        "reason": of.reason,
        "answer": of.answer,
    }


def organisation(of: OrgHealth, books: AccountHealth | None) -> View:
    """How the watching of one organisation goes, and the reading of its books, where they are read."""
    return {
        "org": of.org,
        "provider": of.provider,
        "labels": dict(of.labels),
        "up": of.up,
        "last_success": moment(of.last_success),
        "next_poll_at": moment(of.next_poll_at),
        "trouble": _trouble(of.trouble),
        "books": None
        if books is None
        else {
            "last_success": moment(books.last_success),
            "next_read_at": moment(books.next_read_at),
            "trouble": _trouble(books.trouble),
        },
    }


def _trouble(trouble: Trouble | None) -> Mapping[str, str] | None:
    return None if trouble is None else {"reason": trouble.reason, "text": trouble.text}
