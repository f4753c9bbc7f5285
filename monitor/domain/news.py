"""News: what can be announced, about what, and the sealed message of it for one notifier."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from monitor.domain.model import JobKind, kind_of


class EventType(StrEnum):
    """What news is about: the words that a route's `on` takes."""

    APPEARED = "appeared"
    STARTED = "started"
    PROGRESS = "progress"
    """For cards alone: they follow the progress of a job that runs."""
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


OF_JOBS: Final = tuple(
    event
    for event in EventType
    if event not in (EventType.BUDGET, EventType.SHUTDOWN, EventType.ORG_DOWN, EventType.ORG_UP)
)
"""The events of single jobs."""


class SubjectKind(StrEnum):
    """What a piece of news is about."""

    JOB = "job"
    BATCH = "batch"
    BUDGET = "budget"
    SHUTDOWN = "shutdown"
    ORGANIZATION = "organization"
    DIGEST = "digest"
    GROUP = "group"
    """Several of the others in one message."""
    TEST = "test"


OUTAGE: Final = "outage"
"""The id of an organisation as the subject of outages."""
_PREFIX: Final = {
    SubjectKind.SHUTDOWN: "shutdown:",
    SubjectKind.TEST: "test:",
}
_TYPE: Final = {
    EventType.BUDGET: "finetune.budget.crossed",
    EventType.SHUTDOWN: "finetune.model.shutdown",
    EventType.ORG_DOWN: "finetune.org.down",
    EventType.ORG_UP: "finetune.org.up",
}
_JOB_PREFIX: Final = "job:"
_RESERVED: Final = (*_PREFIX.values(), _JOB_PREFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom news is about. `org` is None where it is about no single organisation."""

    kind: SubjectKind
    org: str | None
    id: str
    """That of a job or batch, `NAME/PERIOD` of a budget, the day of a shutdown, OUTAGE."""

    @property
    def key(self) -> str:
        """What the keys of its deliveries begin with: `ORG/JOB_ID` of a job, `ORG/batch:ID` of a batch.

        Ids are chosen by servers. One that reads like another kind of subject gets a prefix, so that no two subjects
        share a key.
        """
        if self.kind in (SubjectKind.BUDGET, SubjectKind.DIGEST):
            return f"{self.kind}:{self.id}"  # no organisation's name has a colon
        id_ = _PREFIX.get(self.kind, "") + self.id
        if self.kind is SubjectKind.JOB and (self.id == OUTAGE or self.id.startswith(_RESERVED)):
            id_ = _JOB_PREFIX + self.id
        return f"{self.org}/{id_}"

    @property
    def topic(self) -> str:
        """What its key begins with: the organisation, `budget:NAME` or `digest:NAME`."""
        return self.key.split("/", 1)[0]

    def last_seq(self, ids: Iterable[str]) -> int:
        """The highest number among the ids of this subject's news; 0 where there is none."""
        start = f"{self.key}/"
        return max((int(id_.removeprefix(start)) for id_ in ids if id_.startswith(start)), default=0)

    def type_of(self, event: EventType) -> str:
        """The `type` of a message, such as `finetune.job.failed`."""
        return _TYPE.get(event) or f"finetune.{self.kind}.{event}"


def parse_subject(key: str) -> Subject:
    """The subject whose deliveries' keys begin so: the inverse of `Subject.key`."""
    topic, id_ = key.split("/", 1)
    for kind in (SubjectKind.BUDGET, SubjectKind.DIGEST):
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
    """How a message should look."""

    GOOD = "good"
    INFO = "info"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFailure:
    """A template that could not be rendered."""

    template: str
    """Its name."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is announced, before any channel formats it. Its texts come from outside: every channel escapes them."""

    type: str
    """`finetune.job.failed` and so on."""
    at: datetime
    title: str
    severity: Severity
    subject: Subject
    event_type: EventType | None
    """None of a test message, which is no news."""
    facts: tuple[tuple[str, str], ...] = ()
    """Label and value, ready for people."""
    error: str | None = None
    hint: str | None = None
    link: str | None = None
    """The vendor's page."""
    monitor_url: str | None = None
    """Our own page of the subject."""
    data: str = "{}"
    """The webhook's `data`, as JSON text: sent byte for byte on every attempt."""
    channel: str | None = None
    """`#channel`, where that is another than the notifier's own."""
    mention: str | None = None
    """Whom it mentions, in the receiver's notation: written by the operator, and therefore not escaped."""
    route: str | None = None
    """The name of the route that sends it."""
    body: str | None = None
    """What a webhook gets instead of the built-in JSON, where its route has a template for it."""
    template_failure: TemplateFailure | None = None
    """Why it has the built-in words although its route has a template."""


ALONE: Final = "alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What keeps a delivery back before it is sent for the first time."""

    group: str
    """What waits under the same name for the same notifier is sent as one message, unless the name is ALONE."""
    until: datetime | None = None
    """The end of a time in which the notifier is muted."""
    wait: timedelta = timedelta(0)
    """For how long others may join it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A sealed envelope: one message for one notifier, or for one channel of it."""

    subject: Subject
    seq: int
    notifier: str
    message: Message
    hold: Hold | None = None
    card: bool = False
    """It belongs to the card of its subject: the first becomes that card, later ones go below it."""

    @property
    def address(self) -> str:
        """`notifier`, or `notifier#channel`."""
        return self.notifier + (self.message.channel or "")

    @property
    def key(self) -> str:
        """`org/job/seq@address`: the primary key of the outbox and the receiver's idempotency key."""
        return f"{self.subject.key}/{self.seq}@{self.address}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A message that was posted earlier and is edited in place, where the receiver said that it stands."""

    place: str
    """The id of Slack's channel."""
    reference: str
    """The message's id there (Slack's `ts`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardChange:
    """A subject has changed, so that its cards may have to say something else."""

    subject: Subject
    addresses: frozenset[str] | None = None
    """The cards that follow this change; None for all of the subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Something to announce. What has the same id is announced once, ever."""

    subject: Subject
    seq: int
    """Counted up for each subject: the transition of a job, the threshold of a budget, the milestone of a shutdown."""
    judged_by: str | None = None
    """The amount of a budget; of an organisation that is down, when it was seen last."""
    deliveries: tuple[Delivery, ...] = ()

    @property
    def id(self) -> str:
        """`SUBJECT/SEQ`: the same for whoever decides it."""
        return f"{self.subject.key}/{self.seq}"


def json_text(view: Mapping[str, Any]) -> str:
    """What a receiver of JSON gets of a message. Raises ValueError for a number that JSON has no word for."""
    return json.dumps(view, ensure_ascii=False, allow_nan=False)
