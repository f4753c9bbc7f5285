"""The settings of routes, mute times and digests: who is notified of what, and when."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, model_validator

from monitor.config.budgets import Amount
from monitor.config.durations import Duration, between
from monitor.config.parts import JobMatch, Part, Word, Words, listed
from monitor.domain.digests import Digest
from monitor.domain.model import FailureClass, JobKind, Method, Status
from monitor.domain.mutes import MuteTime, Window
from monitor.domain.news import EventType
from monitor.domain.routing import DEFAULT_ON, AllowedChannel, Match, MentionFrom, NotifyFrom, Rule
from monitor.domain.templates import MessageTemplate
from monitor.domain.text import NAME

Name = Annotated[str, Field(pattern=NAME)]


def _one_or(kind: Any) -> BeforeValidator:
    """A validator that accepts a single value in place of a list, with a matching JSON schema."""
    return BeforeValidator(listed, json_schema_input_type=kind | tuple[kind, ...])


Ons = Annotated[tuple[EventType, ...], Field(min_length=1), _one_or(EventType)]


class RouteMatch(JobMatch):
    """Conditions on jobs. All given conditions must be met; without any, every job matches."""

    kind: Annotated[tuple[JobKind, ...], _one_or(JobKind)] = ()
    """Kinds of jobs."""
    method: Annotated[tuple[Method, ...], _one_or(Method)] = ()
    """Methods of training."""
    status: Annotated[tuple[Status, ...], _one_or(Status)] = ()
    """Statuses of the job when the event happens."""
    error_class: Annotated[tuple[FailureClass, ...], _one_or(FailureClass)] = ()
    """Classes of failures. Jobs that did not fail do not match."""
    cost_at_least: Amount | None = None
    """The least cost in US dollars, estimated or computed. Jobs of unknown cost do not match."""

    @property
    def match(self) -> Match:
        """The conditions as a domain value."""
        return replace(
            super().match,
            kinds=frozenset(self.kind),
            methods=frozenset(self.method),
            statuses=frozenset(self.status),
            error_classes=frozenset(self.error_class),
            cost_at_least=self.cost_at_least,
        )


def _zone(name: object) -> ZoneInfo:
    if not isinstance(name, str):
        raise ValueError("should be the name of a time zone, such as Europe/Berlin")  # noqa: TRY004 - see `_minute`
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        raise ValueError("no time zone has this name; a valid name is Europe/Berlin") from None


def _minute(text: object) -> time:
    """Parse a time of day. 24:00 is midnight at the end of the day."""
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError('should be a time such as "22:00", in quotes')  # pydantic collects ValueErrors only
    return time(int(found[1]), int(found[2])) if found[1] else time(0)


_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")
Zone = Annotated[ZoneInfo, PlainValidator(_zone, json_schema_input_type=str)]
Minute = Annotated[time, PlainValidator(_minute, json_schema_input_type=Annotated[str, Field(pattern=_TIME.pattern)])]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_DAYS: Final = get_args(Day)


class WindowSettings(Part):
    """A daily window in local time."""

    days: Annotated[tuple[Day, ...], Field(min_length=1), _one_or(Day)] = _DAYS
    """The days of the week on which it begins."""
    start: Annotated[Minute, Field(alias="from")]
    """When it begins, such as `"22:00"`."""
    end: Annotated[Minute, Field(alias="to")]
    """When it ends. A time that is not after `from` is on the next day; `"24:00"` is midnight."""

    @property
    def window(self) -> Window:
        """The window as a domain value."""
        return Window(days=frozenset(map(_DAYS.index, self.days)), start=self.start, end=self.end)


class MuteTimeSettings(Part):
    """Windows in which notifications are held back. They are sent as one message at the end."""

    timezone: Zone
    """The time zone of `windows`, such as `Europe/Berlin`."""
    windows: Annotated[tuple[WindowSettings, ...], Field(min_length=1, max_length=50)]
    """The windows. If they overlap, notifications are sent when the last of them ends."""
    passing: Annotated[tuple[EventType, ...], _one_or(EventType), Field(alias="except")] = ()
    """Events that are sent at once nevertheless."""

    def mute_time(self, name: str) -> MuteTime:
        """The mute time as a domain value."""
        windows = tuple(window.window for window in self.windows)
        return MuteTime(name=name, zone=self.timezone, windows=windows, passing=frozenset(self.passing))


class NotifyFromSettings(Part):
    """Recipients that a job names in its own metadata."""

    metadata: Word
    """The metadata key. Its value lists notifiers, or channels such as `slack:#team-nlp`, separated by commas or
    spaces."""
    allow: Annotated[Words, Field(min_length=1)]
    """The allowed values: names of notifiers, and patterns of channels such as `slack:#team-*`, where `slack` is the
    name of a Slack notifier with a token, or stands for the only one."""

    def resolved(self, bots: Iterable[str]) -> NotifyFrom:
        """The setting as a domain value. `bots` are the names of notifiers that can post to any channel."""
        posting = tuple(bots)
        parts = [word.partition(":") for word in self.allow]
        return NotifyFrom(
            key=self.metadata,
            notifiers=frozenset(name for name, colon, _ in parts if not colon),
            channels=tuple(
                AllowedChannel(prefix=prefix, notifier=prefix if prefix in posting else posting[0], pattern=pattern)
                for prefix, colon, pattern in parts
                if colon
            ),
        )


class MentionFromSettings(Part):
    """Mentions that a job selects by its own metadata."""

    metadata: Word
    """The metadata key. Its value is looked up in `map`; nobody is mentioned if it is not there."""
    map: Annotated[Mapping[Word, Word], Field(min_length=1)]
    """Mentions by value of the metadata key, in the receiver's notation, such as `<@U012AB3CD>`."""

    @property
    def mention_from(self) -> MentionFrom:
        """The setting as a domain value."""
        return MentionFrom(key=self.metadata, mentions=self.map)


class RouteSettings(Part):
    """Which notifiers are notified of which events. Every matching route applies, up to one with `continue: false`."""

    name: Name | None = None
    """A unique name for `notify explain` and `finetune_route_notifications_total`."""
    match: RouteMatch = RouteMatch()
    """Which jobs it applies to; by default every job."""
    on: Ons = tuple(sorted(DEFAULT_ON))
    """The event types that it applies to."""
    notify: Annotated[Words, Field(min_length=1)] = ()
    """Names of notifiers. Each gets one message per event, however many routes match."""
    notify_from: NotifyFromSettings | None = None
    """Lets a job name recipients besides those in `notify`."""
    mention_from: MentionFromSettings | None = None
    """Lets a job select who is mentioned."""
    group_wait: Annotated[Duration, AfterValidator(between("100ms", "1h"))] | None = None
    """Notifications to one notifier within this time are sent as one message, except to PagerDuty and Alertmanager,
    which do their own grouping."""
    mute: Words = ()
    """Names of `mute_times` during which its notifications are held back."""
    template: Word | None = None
    """The name of one of `templates`, which its messages are rendered with."""
    proceed: Annotated[bool, Field(alias="continue")] = True
    """Whether later routes are considered if this one matches."""

    @model_validator(mode="after")
    def _leads_somewhere(self) -> RouteSettings:
        if not self.notify and self.notify_from is None:
            raise ValueError("needs notify, or notify_from")
        return self

    def rule(
        self,
        bots: Iterable[str],
        mutes: Mapping[str, MuteTime],
        templates: Mapping[str, MessageTemplate],
        *,
        alone: frozenset[str],
        cards: frozenset[str],
    ) -> Rule:
        """The route as a domain value.

        `bots` are the names of notifiers that can post to any channel, `alone` those whose receivers do the grouping,
        and `cards` those that keep a card for each job.
        """
        return Rule(
            name=self.name,
            match=self.match.match,
            on=frozenset(self.on),
            notify=self.notify,
            notify_from=self.notify_from.resolved(bots) if self.notify_from is not None else None,
            mention_from=self.mention_from.mention_from if self.mention_from is not None else None,
            group_wait=self.group_wait or timedelta(0),
            mutes=tuple(mutes[name] for name in self.mute),
            alone=alone,
            cards=cards,
            template=templates[self.template] if self.template is not None else None,
            last=not self.proceed,
        )


def _cron(text: str) -> str:
    if len(text.split()) != 5:
        raise ValueError("should have five fields: minute, hour, day, month, day of the week")
    try:
        CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:  # raised also for an expression that never matches a day
        raise ValueError(f'is not a valid cron expression ({error}); a valid one is "0 9 * * MON"') from None
    return text


class DigestSettings(Part):
    """A regular report of ended, failed and running jobs, of costs, and of models that are shut down soon."""

    name: Name
    """A unique name."""
    cron: Annotated[str, AfterValidator(_cron)]
    """When it is sent: minute, hour, day, month and day of the week, in local time. It covers the time since the
    previous one."""
    timezone: Zone
    """The time zone of `cron`, such as `Europe/Berlin`."""
    notify: Annotated[Words, Field(min_length=1)]
    """Names of notifiers."""
    match: JobMatch = JobMatch()
    """Which jobs it covers; by default all."""

    @property
    def digest(self) -> Digest:
        """The digest as a domain value."""
        return Digest(name=self.name, cron=self.cron, zone=self.timezone, notify=self.notify, match=self.match.match)
