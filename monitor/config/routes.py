"""The settings of routes: who is notified of what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from monitor.config.budgets import Amount
from monitor.config.parts import JobMatch, Part, Word, Words, listed
from monitor.domain.model import FailureClass, JobKind, Method, Status
from monitor.domain.news import EventType
from monitor.domain.routing import DEFAULT_ON, AllowedChannel, Match, MentionFrom, NotifyFrom, Rule

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
_T = TypeVar("_T")
_Some = Annotated[tuple[_T, ...], BeforeValidator(listed, json_schema_input_type=_T | tuple[_T, ...])]
Ons = Annotated[
    tuple[EventType, ...],
    Field(min_length=1),
    BeforeValidator(listed, json_schema_input_type=EventType | tuple[EventType, ...]),
]


class RouteMatch(JobMatch):
    """Which jobs a route is for. What is not given matches everything; all that is given must hold."""

    kind: _Some[JobKind] = ()
    """Kinds of jobs."""
    method: _Some[Method] = ()
    """Methods of training."""
    status: _Some[Status] = ()
    """Statuses of the job when the event happens."""
    error_class: _Some[FailureClass] = ()
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
    """Which notifiers hear of which transitions. All routes are looked at, up to one with `continue: false`."""

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
    proceed: Annotated[bool, Field(alias="continue")] = True
    """False: where this route matches, those behind it are not looked at."""

    @model_validator(mode="after")
    def _leads_somewhere(self) -> RouteSettings:
        if not self.notify and self.notify_from is None:
            raise ValueError("needs notify, or notify_from")
        return self

    def rule(self, bots: Iterable[str]) -> Rule:
        """This route as the domain understands it. `bots` are the notifiers that can post to any channel."""
        return Rule(
            name=self.name,
            match=self.match.match,
            on=frozenset(self.on),
            notify=self.notify,
            notify_from=self.notify_from.resolved(bots) if self.notify_from is not None else None,
            mention_from=self.mention_from.mention_from if self.mention_from is not None else None,
            last=not self.proceed,
        )
