"""Values for tests, one line each, with sensible defaults."""

from __future__ import annotations

from dataclasses import fields as fields_of
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from monitor.domain.event_ids import RecentIds
from monitor.domain.flow import EventsRead, Known, Observation, Tracked
from monitor.domain.model import EventKind, FineTuning, Job, JobEvent, Method, Metrics, Status, Training
from monitor.domain.news import EventType
from monitor.providers.openai.naming import NAMING

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
_OF_TUNING = {one.name for one in fields_of(FineTuning)}


def job(id: str = "ftjob-1", status: Status = Status.RUNNING, **over: Any) -> Job:  # noqa: A002 - the field's name
    """A supervised job of the organisation `research`, created an hour before noon. `tuning` is given by its fields."""
    fields: dict[str, Any] = {
        "org": "research",
        "provider": "openai",
        "model": "gpt-4o-mini-2024-07-18",
        "method": Method.SUPERVISED,
        "raw_status": status.value,
        "created_at": NOON - HOUR,
    }
    model = over.get("model", "")
    if NAMING.is_tuned(model):
        fields["base_model"] = NAMING.base_model(model)
    tuning = FineTuning(**{name: over.pop(name) for name in _OF_TUNING & over.keys()})
    return Job(id=id, status=status, **{"tuning": tuning, **fields, **over})


def tracked(of: Job | None = None, **over: Any) -> Tracked:
    """A job that was seen two minutes before noon."""
    fields: dict[str, Any] = {"seq": 1, "since": NOON - 2 * MINUTE, "last_activity_at": NOON - 2 * MINUTE}
    if "since" not in over and over.get("last_activity_at") is not None:
        over["since"] = min(fields["since"], over["last_activity_at"])
    recent = RecentIds.of(over.pop("recent", ()))
    return Tracked(job=of or job(), recent_ids=recent, **{**fields, **over})


def known(*jobs: Tracked, version: int = 1, **over: Any) -> Known:
    """What was known of `research`, whose first sight was a month before noon."""
    over.setdefault("horizon", NOON - 30 * DAY)
    return Known(org="research", version=version, jobs={one.job.id: one for one in jobs}, **over)


def seen(*jobs: Job, at: datetime = NOON, reads: tuple[EventsRead, ...] = (), **over: Any) -> Observation:
    """What a poll of `research` saw."""
    return Observation(org="research", at=at, jobs=jobs, reads=reads, **over)


def event(id: str, at: datetime = NOON, message: str = "…", **over: Any) -> JobEvent:  # noqa: A002 - the field's name
    """One event of the job `ftjob-1`."""
    fields: dict[str, Any] = {"org": "research", "job": "ftjob-1", "level": "info"}
    return JobEvent(id=id, at=at, message=message, **{**fields, **over})


def started(at: datetime, id: str = "ev-started") -> JobEvent:  # noqa: A002 - the field's name
    """The event that says that training has begun."""
    return event(id, at, "Fine-tuning job started", kind=EventKind.STARTED)


def measured(step: int, steps: int = 100, at: datetime = NOON, **over: Any) -> JobEvent:
    """A metrics event."""
    return event(
        f"ev-{step}", at, f"Step {step}", kind=EventKind.METRICS, metrics=Metrics(step=step, steps=steps, **over)
    )


def read(*events: JobEvent, job_id: str = "ftjob-1", whole: bool = False) -> EventsRead:
    """A reading of one job's event stream, newest first as providers list it."""
    return EventsRead(job=job_id, events=events[::-1], whole=whole)


def tuned(of: Job, **over: Any) -> Job:
    """The job with other fields of its fine-tuning part."""
    return replace(of, tuning=replace(of.tuning, **over))


def trained(of: Job, **over: Any) -> Job:
    """The job with other figures of its training."""
    return replace(of, training=Training(**over))


def on(*events: str) -> frozenset[EventType]:
    """What a rule is on."""
    return frozenset(map(EventType, events))
