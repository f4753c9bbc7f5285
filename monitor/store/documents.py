"""Converts values to columns and back: JSON documents, milliseconds since 1970 (UTC), and cursors."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, TypeVar

import msgspec

from monitor.domain.costs import Spending
from monitor.domain.event_ids import NONE_YET
from monitor.domain.flow import Tracked, Transition, TransitionKind
from monitor.domain.model import NO_TUNING, FineTuning, JobEvent, Status, span
from monitor.domain.news import EventType, Message, Severity, Subject, SubjectKind, TemplateFailure
from monitor.store.errors import BadCursor

T = TypeVar("T")
Row = dict[str, Any]
"""A row to be written, by column."""
Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer that a column can hold."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
UNKNOWN_TIME: Final = 0
"""An unknown time in a column that is sorted by. It comes before all known times."""

_encode = msgspec.json.Encoder().encode
_tracked = msgspec.json.Decoder(Tracked).decode
_event = msgspec.json.Decoder(JobEvent).decode
_spending = msgspec.json.Decoder(Spending).decode
_labels = msgspec.json.Decoder(tuple[tuple[str, str], ...]).decode


def to_ms(at: datetime) -> int:
    """Milliseconds since 1970, rounded down."""
    return (at - _EPOCH) // _MILLISECOND


def to_ms_up(at: datetime) -> int:
    """Milliseconds since 1970, rounded up, for inclusive upper limits."""
    return -((_EPOCH - at) // _MILLISECOND)


def from_ms(ms: int) -> datetime:
    """The time, aware and in UTC."""
    return _EPOCH + ms * _MILLISECOND


def maybe_moment(ms: int | None) -> datetime | None:
    """The time, or None."""
    return None if ms is None else from_ms(ms)


def write(value: Message | JobEvent | Spending | tuple[tuple[str, str], ...]) -> str:
    """The value as JSON text."""
    return _encode(value).decode()


def write_tracked(tracked: Tracked) -> str:
    """The job as JSON text without `recent_ids`, which follow from the stored events."""
    return _encode(replace(tracked, recent_ids=NONE_YET) if tracked.recent_ids else tracked).decode()


class _FlatTracked(msgspec.Struct, frozen=True, kw_only=True):
    """A job as versions before schema 0018 wrote it: with the fields of its fine-tuning part among its own."""

    job: FineTuning


_flat = msgspec.json.Decoder(_FlatTracked).decode


def read_tracked(doc: str) -> Tracked:
    """Read a job that this or an older version wrote. Missing fields get their defaults; unknown ones are ignored."""
    tracked = _tracked(doc)
    if tracked.job.tuning is not NO_TUNING:
        return tracked
    # The default itself, and not one that is equal to it: the document has no such part.
    return replace(tracked, job=replace(tracked.job, tuning=_flat(doc).job))


class _JobTimes(msgspec.Struct, frozen=True, kw_only=True):
    status: Status
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


class _TrackedTimes(msgspec.Struct, frozen=True, kw_only=True):
    job: _JobTimes


_times = msgspec.json.Decoder(_TrackedTimes).decode


def read_times(doc: str) -> tuple[timedelta | None, timedelta | None]:
    """The queue time of a job, and its run time if it succeeded. The rest of the document is not decoded."""
    job = _times(doc).job
    ran = span(job.started_at, job.finished_at) if job.status is Status.SUCCEEDED else None
    return span(job.created_at, job.started_at), ran


def read_event(doc: str) -> JobEvent:
    """Read an event that this or an older version wrote."""
    return _event(doc)


def read_spending(doc: str) -> Spending:
    """Read a training cost that this or an older version wrote."""
    return _spending(doc)


class _StoredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as stored. Its subject is in other columns, and older documents call the event type `word`."""

    type: str
    at: datetime
    title: str
    severity: Severity
    event_type: EventType | None = None
    word: EventType | None = None
    facts: tuple[tuple[str, str], ...] = ()
    error: str | None = None
    hint: str | None = None
    link: str | None = None
    monitor_url: str | None = None
    data: str = "{}"
    channel: str | None = None
    mention: str | None = None
    route: str | None = None
    body: str | None = None
    template_failure: TemplateFailure | None = None


_message = msgspec.json.Decoder(_StoredMessage).decode


def read_message(doc: str, subject: Subject) -> Message | None:
    """Read a message that this or an older version wrote; None if the document is damaged."""
    try:
        stored = _message(doc)
    except msgspec.MsgspecError:
        return None
    event_type = stored.event_type or stored.word
    fields = {name: getattr(stored, name) for name in stored.__struct_fields__ if name not in ("event_type", "word")}
    return Message(**fields, subject=subject, event_type=event_type)


def subject_of(row: Any) -> Subject:
    """The subject of a row of the outbox or of the cards."""
    return Subject(kind=SubjectKind(row.subject_kind), org=row.org or None, id=row.subject_id)


def transition_of(row: Any) -> Transition:
    """The transition in a row."""
    return Transition(
        org=row.org,
        job=row.job,
        seq=row.seq,
        at=from_ms(row.at),
        kind=TransitionKind(row.kind),
        before=Status(row.before) if row.before is not None else None,
        after=Status(row.after),
        resumed=bool(row.resumed),
        restarted=bool(row.restarted),
    )


def read_labels(doc: str) -> tuple[tuple[str, str], ...]:
    """Read the labels of a counter."""
    return _labels(doc)


def cursor(*place: int | str) -> str:
    """An opaque cursor for a position in a listing."""
    return base64.urlsafe_b64encode(_encode(place)).decode().rstrip("=")


def place(text: str, shape: type[T]) -> T:
    """The position that a cursor encodes, as a value of type `shape`. Raises BadCursor."""
    try:
        plain: Any = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(plain, type=shape)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise BadCursor("the cursor is invalid") from error
