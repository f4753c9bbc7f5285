"""News: event types, subjects, messages, and the deliveries that bring a message to a notifier."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from monitor.domain.model import JobKind, kind_of


class EventType(StrEnum):
    """The event types of news, which are the words that a route's `on` accepts."""

    APPEARED = "appeared"
    STARTED = "started"
    PROGRESS = "progress"
    """Progress of a running job. Only cards follow it."""
    PAUSED = "paused"
    RESUMED = "resumed"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STALLED = "stalled"
    MOVING = "moving"
    GONE = "gone"
    BUDGET = "budget"
    SHUTDOWN = "shutdown"
    ORG_DOWN = "org_down"
    ORG_UP = "org_up"
    NOTIFIER_DOWN = "notifier_down"
    NOTIFIER_UP = "notifier_up"


_NOT_OF_JOBS: Final = frozenset(
    {
        *(EventType.BUDGET, EventType.SHUTDOWN, EventType.ORG_DOWN, EventType.ORG_UP),
        *(EventType.NOTIFIER_DOWN, EventType.NOTIFIER_UP),
    }
)
OF_JOBS: Final = tuple(event for event in EventType if event not in _NOT_OF_JOBS)
"""The event types that concern a single job."""
LASTING: Final = (EventType.STALLED, EventType.PAUSED, EventType.ORG_DOWN, EventType.NOTIFIER_DOWN)
"""The event types that begin a state, which lasts until there is other news of the same subject."""


class SubjectKind(StrEnum):
    """What kind of thing news is about."""

    JOB = "job"
    BATCH = "batch"
    BUDGET = "budget"
    SHUTDOWN = "shutdown"
    ORGANIZATION = "organization"
    NOTIFIER = "notifier"
    DIGEST = "digest"
    GROUP = "group"
    """Several subjects in one message. Its id is the key of the first delivery with the number of the others."""
    TEST = "test"


OUTAGE: Final = "outage"
"""The subject id of news that an organisation is down or up, and the end of that of a notifier."""
_OF_NO_ORG: Final = (SubjectKind.BUDGET, SubjectKind.DIGEST, SubjectKind.NOTIFIER)
_PREFIX: Final = {
    SubjectKind.SHUTDOWN: "shutdown:",
    SubjectKind.TEST: "test:",
}
_TYPE: Final = {
    EventType.BUDGET: "finetune.budget.crossed",
    EventType.SHUTDOWN: "finetune.model.shutdown",
    EventType.ORG_DOWN: "finetune.org.down",
    EventType.ORG_UP: "finetune.org.up",
    EventType.NOTIFIER_DOWN: "finetune.notifier.down",
    EventType.NOTIFIER_UP: "finetune.notifier.up",
}
_JOB_PREFIX: Final = "job:"
_RESERVED: Final = (*_PREFIX.values(), _JOB_PREFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What news is about. `org` is None if it concerns no single organisation."""

    kind: SubjectKind
    org: str | None
    id: str
    """The id of a job or batch, `NAME/PERIOD` of a budget or digest, the day of a shutdown, OUTAGE, or `NAME/OUTAGE` of
    a notifier."""

    @property
    def key(self) -> str:
        """The prefix of its delivery keys, such as `ORG/JOB_ID` for a job and `ORG/batch:ID` for a batch.

        Providers choose the ids of jobs. An id that looks like another kind of subject gets the prefix `job:`, so that
        no two subjects share a key.
        """
        if self.kind is SubjectKind.GROUP:
            return self.id
        if self.kind in _OF_NO_ORG:
            return f"{self.kind}:{self.id}"  # no organisation's name has a colon
        id_ = _PREFIX.get(self.kind, "") + self.id
        if self.kind is SubjectKind.JOB and (self.id == OUTAGE or self.id.startswith(_RESERVED)):
            id_ = _JOB_PREFIX + self.id
        return f"{self.org}/{id_}"

    @property
    def topic(self) -> str:
        """The first part of its key: the organisation, or `budget:NAME`, `digest:NAME` or `notifier:NAME`."""
        return self.key.split("/", 1)[0]

    def last_seq(self, ids: Iterable[str]) -> int:
        """The highest sequence number among those `ids` of news that belong to this subject; 0 if there is none."""
        start = f"{self.key}/"
        return max((int(id_.removeprefix(start)) for id_ in ids if id_.startswith(start)), default=0)

    def outage_since(self, notified: Mapping[str, str | None]) -> datetime | None:
        """The moment stored with its latest news if that has an odd number, which announces an outage; else None."""
        seq = self.last_seq(notified)
        at = notified.get(f"{self.key}/{seq}") if seq % 2 else None
        return datetime.fromisoformat(at) if at is not None else None

    def type_of(self, event: EventType) -> str:
        """The `type` of a message, such as `finetune.job.failed`."""
        return _TYPE.get(event) or f"finetune.{self.kind}.{event}"


def parse_subject(key: str) -> Subject:
    """The subject with this key: the inverse of `Subject.key`."""
    topic, id_ = key.split("/", 1)
    for kind in _OF_NO_ORG:
        if topic.startswith(f"{kind}:"):
            return Subject(kind=kind, org=None, id=key.removeprefix(f"{kind}:"))
    if id_ == OUTAGE:
        return Subject(kind=SubjectKind.ORGANIZATION, org=topic, id=id_)
    for kind, prefix in _PREFIX.items():
        if id_.startswith(prefix):
            return Subject(kind=kind, org=topic, id=id_.removeprefix(prefix))
    return job_subject(topic, id_.removeprefix(_JOB_PREFIX))


def job_subject(org: str, job_id: str) -> Subject:
    """A fine-tuning job or a batch as the subject of news."""
    kind = SubjectKind.BATCH if kind_of(job_id) is JobKind.BATCH else SubjectKind.JOB
    return Subject(kind=kind, org=org, id=job_id)


class Severity(StrEnum):
    """How urgent a message is, which decides how it looks."""

    GOOD = "good"
    INFO = "info"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFailure:
    """A template that could not be rendered."""

    template: str
    """The name of the template."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """The content of a notification before a channel formats it. Its texts are untrusted, and channels escape them."""

    type: str
    """The type for receivers, such as `finetune.job.failed`."""
    at: datetime
    title: str
    severity: Severity
    subject: Subject
    event_type: EventType | None
    """None for tests, digests and groups of notifications."""
    facts: tuple[tuple[str, str], ...] = ()
    """Labels and values for display."""
    error: str | None = None
    hint: str | None = None
    link: str | None = None
    """The page of the subject at the provider."""
    monitor_url: str | None = None
    """The page of the subject in this program's web interface."""
    data: str = "{}"
    """The `data` of the webhook as JSON text, sent unchanged on every attempt."""
    channel: str | None = None
    """The target `#channel` if it is not the notifier's own."""
    mention: str | None = None
    """Whom to mention, in the receiver's notation. The operator writes it, so that it is not escaped."""
    route: str | None = None
    """The name of the route that sends it."""
    body: str | None = None
    """The body that a webhook gets instead of the built-in JSON, if the route has a template for it."""
    template_failure: TemplateFailure | None = None
    """Why the message has the built-in text although its route has a template."""


ALONE: Final = "alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why a delivery waits before its first attempt: a mute time, or others that may join its group."""

    group: str
    """Deliveries that wait in the same group for the same notifier are sent as one message, unless it is ALONE."""
    until: datetime | None = None
    """The end of the mute time."""
    wait: timedelta = timedelta(0)
    """How long others may join the group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message for one notifier, or for one channel of it. Its content never changes."""

    subject: Subject
    seq: int
    notifier: str
    message: Message
    hold: Hold | None = None
    card: bool = False
    """Whether it belongs to the card of its subject: the first one becomes the card, later ones are replies to it."""

    @property
    def address(self) -> str:
        """`NOTIFIER`, or `NOTIFIER#CHANNEL`."""
        return self.notifier + (self.message.channel or "")

    @property
    def key(self) -> str:
        """`SUBJECT/SEQ@ADDRESS`: the primary key of the outbox and the receiver's idempotency key."""
        return f"{self.subject.key}/{self.seq}@{self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The location of a posted message that is edited in place, as the receiver returned it."""

    place: str
    """The receiver's id of the channel."""
    reference: str
    """The receiver's id of the message in that channel (in Slack, its `ts`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardChange:
    """A change of a subject after which its cards may have to be edited."""

    subject: Subject
    addresses: frozenset[str] | None = None
    """The addresses whose cards may have to be edited; None for all cards of the subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Something to announce. News with the same id is announced only once."""

    subject: Subject
    seq: int
    """A number that grows per subject, such as the transition of a job, the threshold of a budget in thousandths, or
    the milestone of a shutdown."""
    judged_by: str | None = None
    """The amount of a budget, or since when an organisation or a notifier is down; None for other news."""
    deliveries: tuple[Delivery, ...] = ()

    @property
    def id(self) -> str:
        """`SUBJECT/SEQ`, which every replica computes alike."""
        return f"{self.subject.key}/{self.seq}"


_SECTIONS: Final = {
    SubjectKind.BUDGET: "#costs",
    SubjectKind.SHUTDOWN: "#shutdowns",
    SubjectKind.ORGANIZATION: "#orgs",
    SubjectKind.NOTIFIER: "#notifiers",
}
"""The sections of the status page by kind of subject. Jobs have pages of their own."""


def with_page(message: Message, base: str) -> Message:
    """The message with the URL of its section of the status page at `base`, also in its data; as it is without base."""
    if not base:
        return message
    url = f"{base}/{_SECTIONS.get(message.subject.kind, '')}"
    return replace(message, monitor_url=url, data=json_text({**json.loads(message.data), "monitor_url": url}))


def json_text(view: Mapping[str, Any]) -> str:
    """The JSON text of a payload. Raises ValueError for NaN and infinite numbers, which JSON does not have."""
    return json.dumps(view, ensure_ascii=False, allow_nan=False)
