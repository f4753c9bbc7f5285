"""The settings of routes: who is notified of what."""

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
    """One stands for a list of one; the schema says so."""
    return BeforeValidator(listed, json_schema_input_type=kind | tuple[kind, ...])


Ons = Annotated[tuple[EventType, ...], Field(min_length=1), _one_or(EventType)]


class RouteMatch(JobMatch):
    """Which jobs a route is for. What is not given matches everything; all that is given must hold."""

    kind: Annotated[tuple[JobKind, ...], _one_or(JobKind)] = ()
    """Kinds of jobs."""
    method: Annotated[tuple[Method, ...], _one_or(Method)] = ()
    """Methods of training."""
    status: Annotated[tuple[Status, ...], _one_or(Status)] = ()
    """Statuses of the job when the event happens."""
    error_class: Annotated[tuple[FailureClass, ...], _one_or(FailureClass)] = ()
    """Why the job failed; jobs that did not fail do not match."""
    cost_at_least: Amount | None = None
    """US dollars, estimated or computed; jobs whose cost is not known do not match."""

    @property
    def match(self) -> Match:
        """The same as the domain understands it."""
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
        raise ValueError("no time zone has this name; Europe/Berlin is one") from None


def _minute(text: object) -> time:
    """A time of the day; 24:00 is the next midnight."""
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
    """A part of some days, in local time."""

    days: Annotated[tuple[Day, ...], Field(min_length=1), _one_or(Day)] = _DAYS
    """The days on which it begins."""
    start: Annotated[Minute, Field(alias="from")]
    """When it begins, such as `"22:00"`."""
    end: Annotated[Minute, Field(alias="to")]
    """When it ends; where that is not after `from`, on the next day. `"24:00"` is midnight."""

    @property
    def window(self) -> Window:
        """The same as the domain understands it."""
        return Window(days=frozenset(map(_DAYS.index, self.days)), start=self.start, end=self.end)


class MuteTimeSettings(Part):
    """When notifications are held back; what was held back comes as one message at the end."""

    timezone: Zone
    """Whose local time `windows` are in, such as `Europe/Berlin`."""
    windows: Annotated[tuple[WindowSettings, ...], Field(min_length=1, max_length=50)]
    """What is held back is sent when no window holds any more."""
    passing: Annotated[tuple[EventType, ...], _one_or(EventType), Field(alias="except")] = ()
    """Events that are sent at once all the same."""

    def mute_time(self, name: str) -> MuteTime:
        """The same as the domain understands it."""
        windows = tuple(each.window for each in self.windows)
        return MuteTime(name=name, zone=self.timezone, windows=windows, passing=frozenset(self.passing))


class NotifyFromSettings(Part):
    """A job's own metadata names who is notified."""

    metadata: Word
    """The key whose value names notifiers, or channels as `slack:#team-nlp`, separated by commas or spaces."""
    allow: Annotated[Words, Field(min_length=1)]
    """Whom it may name: notifiers, and patterns of channels such as `slack:#team-*`, where `slack` is a notifier with a
    token, or stands for the only one."""

    def resolved(self, bots: Iterable[str]) -> NotifyFrom:
        """The same as the domain understands it. `bots` are the notifiers that can post to any channel."""
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
    """A job's own metadata names who is mentioned."""

    metadata: Word
    """The key whose value is looked up in `map`; what is not there mentions nobody."""
    map: Annotated[Mapping[Word, Word], Field(min_length=1)]
    """Mentions in the receiver's notation, such as `<@U012AB3CD>`, by value."""

    @property
    def mention_from(self) -> MentionFrom:
        """The same as the domain understands it."""
        return MentionFrom(key=self.metadata, mentions=self.map)


class RouteSettings(Part):
    """Which notifiers get which transitions. All routes are considered, up to one with `continue: false`."""

    name: Name | None = None
    """For `notify explain` and `finetune_route_notifications_total`; unique."""
    match: RouteMatch = RouteMatch()
    """Which jobs it is for; every job by default."""
    on: Ons = tuple(sorted(DEFAULT_ON))
    """Which transitions it is for."""
    notify: Annotated[Words, Field(min_length=1)] = ()
    """Names of notifiers. Each gets one message per transition, however many routes match."""
    notify_from: NotifyFromSettings | None = None
    """Lets the job say who is notified, besides those of `notify`."""
    mention_from: MentionFromSettings | None = None
    """Lets the job say who is mentioned."""
    group_wait: Annotated[Duration, AfterValidator(between("100ms", "1h"))] | None = None
    """What comes within it to one notifier is one message. PagerDuty and Alertmanager group by themselves."""
    mute: Words = ()
    """Names of `mute_times` in which it holds back what it sends, until they end."""
    template: Word | None = None
    """One of `templates`, in whose words it is said."""
    proceed: Annotated[bool, Field(alias="continue")] = True
    """False: where this route matches, later routes are not considered."""

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
        """This route as the domain understands it.

        `bots` are the notifiers that can post to any channel, `alone` those whose receivers group by themselves,
        `cards` those that keep a card for each job.
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
    except CronSimError as error:  # also where no such day ever comes
        raise ValueError(f'is no cron expression ({error}); "0 9 * * MON" is one') from None
    return text


class DigestSettings(Part):
    """A regular report: what ended and failed, what it cost, what runs, what is about to stop."""

    name: Name
    """Unique."""
    cron: Annotated[str, AfterValidator(_cron)]
    """When it is due, by the local time of `timezone`: minute, hour, day, month, day of the week. It is of what
    happened since the time before."""
    timezone: Zone
    """Such as `Europe/Berlin`."""
    notify: Annotated[Words, Field(min_length=1)]
    """Names of notifiers."""
    match: JobMatch = JobMatch()
    """Which jobs it is about; all by default."""

    @property
    def digest(self) -> Digest:
        """The same as the domain understands it."""
        return Digest(name=self.name, cron=self.cron, zone=self.timezone, notify=self.notify, match=self.match.match)
