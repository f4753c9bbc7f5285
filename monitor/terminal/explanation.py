"""Explains routes: which match a job, why others do not, and who is notified of which event in which way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from itertools import groupby
from typing import Any

from rich.text import Text

from monitor.config import Settings
from monitor.domain.durations import format_duration
from monitor.domain.flow import Tracked
from monitor.domain.model import Job
from monitor.domain.mutes import MuteTime
from monitor.domain.news import OF_JOBS, EventType
from monitor.domain.render import clock_time, moment
from monitor.domain.routing import Recipient, Rule, matches, mismatches, route
from monitor.domain.samples import STATUS
from monitor.terminal.output import GOOD, inert

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The routes of a configuration as they apply to one job."""

    settings: Settings
    tracked: Tracked
    labels: Mapping[str, str]
    """The labels of the job's organisation."""
    now: datetime

    @property
    def lines(self) -> Iterator[Text]:
        """One line per route with whether it matches, then one per event with its recipients."""
        rules = self.settings.rules
        for number, rule in enumerate(rules, start=1):
            why = mismatches(rule.match, self.tracked.job, self.labels, self.tracked.cost)
            verdict = (f"does not match: {inert(', '.join(why), 1000)}", "dim") if why else ("matches", GOOD)
            yield Text.assemble(f"route {number}{f' {inert(rule.name)}' if rule.name else ''}  ", verdict)
            whom = ", ".join(map(inert, rule.addresses(self.tracked.job.metadata))) or "nobody"
            yield Text(f"  on {' '.join(_in_order(rule.on))} → {whom}")
            yield from (Text(f"  {note}") for note in self._notes(rule))
        yield Text("" if rules else "There are no routes.\n")
        wide = max(map(len, OF_JOBS))
        for event in OF_JOBS:
            shown = [self._shown(to, recipient) for to, recipient in self.routed(event).items()]
            yield Text.assemble(f"{event:<{wide}}  ", ", ".join(shown) or ("nobody", "dim"))

    @property
    def view(self) -> dict[str, Any]:
        """The same as one JSON object; `why` is empty for a route that matches."""
        job, routed = self.tracked.job, {event: self.routed(event) for event in OF_JOBS}
        return {
            "org": job.org,
            "job": job.id,
            "routes": [self._route_view(number, rule) for number, rule in enumerate(self.settings.rules, start=1)],
            "recipients": {event: [*recipients] for event, recipients in routed.items()},
            "deliveries": {
                event: [self._delivery_view(to, recipient) for to, recipient in recipients.items()]
                for event, recipients in routed.items()
            },
        }

    def routed(self, event: EventType) -> Mapping[str, Recipient]:
        """The recipients of this event, if it happened now, by notifier address."""
        job = at(event, self.tracked.job)
        applies = lambda match: matches(match, job, self.labels, self.tracked.cost)  # noqa: E731 - one use, one line
        return route((event,), self.settings.rules, applies, metadata=job.metadata, now=self.now)

    def manners(self, to: str, recipient: Recipient) -> list[str]:
        """How a delivery differs from a plain message: card, held back, combined, template, mention."""
        rule, hold = recipient.rule, recipient.hold
        until = hold.until if hold is not None else None
        possible = [
            (rule.keeps_card(to), "in the thread of its card"),
            (until is not None, f"held back until {clock_time(until or self.now, self.now)}"),
            (hold is not None and bool(hold.wait), f"with others within {format_duration(rule.group_wait)}"),
            (rule.template is not None, f"template {rule.template.name if rule.template is not None else ''}"),
            (recipient.mention is not None, f"mentions {inert(recipient.mention)}"),
        ]
        return [text for applies, text in possible if applies]

    def _shown(self, to: str, recipient: Recipient) -> str:
        manners = self.manners(to, recipient)
        if not manners:
            return inert(to)
        return f"{inert(to)} ({'; '.join([f'route {self._number(recipient.rule)}', *manners])})"

    def _number(self, rule: Rule) -> int:
        return self.settings.rules.index(rule) + 1

    def _notes(self, rule: Rule) -> Iterator[str]:
        """What the job's metadata adds, how messages are sent, and whether later routes are skipped."""
        metadata = self.tracked.job.metadata
        if rule.notify_from is not None:
            named, refused = rule.notify_from.read(metadata)
            whom = ", ".join(map(inert, named)) or "nobody who is allowed"
            yield f"metadata {inert(rule.notify_from.key)} names {whom}"
            if refused:
                yield f"not allowed: {', '.join(map(inert, refused))}"
        if rule.mention_from is not None:
            mention = rule.mention_from.read(metadata)
            yield f"metadata {inert(rule.mention_from.key)} mentions {inert(mention) if mention else 'nobody'}"
        yield from self._rules_of_sending(rule)
        if rule.last:
            yield "if it matches, later routes are not considered"

    def _rules_of_sending(self, rule: Rule) -> Iterator[str]:
        if kept := [to for to in rule.addresses(self.tracked.job.metadata) if rule.keeps_card(to)]:
            yield f"one message per job, edited in place: {', '.join(map(inert, kept))}"
        if rule.group_wait:
            alone = [name for name in rule.notify if name in rule.alone]
            but = f", except to {', '.join(alone)}, which do their own grouping" if alone else ""
            wait = format_duration(rule.group_wait)
            yield f"notifications to one notifier within {wait} are sent as one message{but}"
        for mute in rule.mutes:
            yield f"muted during {mute.name}: {self._muted(mute)}"
        if rule.template is not None:
            yield f"rendered with the template {rule.template.name}:"
            template = self.settings.templates[rule.template.name]
            for part, text in (("title", template.title), ("text", template.text), ("body", template.body)):
                if text is not None:
                    yield f"  {part:<5}  {inert(text, 300)}"

    def _muted(self, mute: MuteTime) -> str:
        """The configured windows of a mute time, the events that pass, and whether it is active now."""
        windows = ", ".join(
            f"{_days(window.days)} {window.start:%H:%M}–{f'{window.end:%H:%M}' if window.end > time.min else '24:00'}"
            for window in mute.windows
        )
        passing = f", except {' '.join(_in_order(mute.passing))}" if mute.passing else ""
        ends = mute.ends(self.now)
        now = f"now, until {clock_time(ends, self.now)}" if ends is not None else "not now"
        return f"{windows} ({mute.zone.key}){passing}; {now}"

    def _route_view(self, number: int, rule: Rule) -> dict[str, Any]:
        why = mismatches(rule.match, self.tracked.job, self.labels, self.tracked.cost)
        metadata = self.tracked.job.metadata
        view = {"route": number, "matches": not why, "why": why, "on": _in_order(rule.on), "continue": not rule.last}
        return view | {
            "name": rule.name,
            "notify": [*rule.addresses(metadata)],
            "not_allowed": [*rule.notify_from.read(metadata)[1]] if rule.notify_from is not None else [],
            "mention": rule.mention_from.read(metadata) if rule.mention_from is not None else None,
            "cards": [to for to in rule.addresses(metadata) if rule.keeps_card(to)],
            "group_wait": format_duration(rule.group_wait) if rule.group_wait else None,
            "mute": [mute.name for mute in rule.mutes],
            "template": rule.template.name if rule.template is not None else None,
        }

    def _delivery_view(self, to: str, recipient: Recipient) -> dict[str, Any]:
        rule, hold = recipient.rule, recipient.hold
        return {
            "to": to,
            "route": self._number(rule),
            "card": rule.keeps_card(to),
            "held_until": moment(hold.until) if hold is not None else None,
            "group_wait": format_duration(hold.wait) if hold is not None and hold.wait > timedelta(0) else None,
            "template": rule.template.name if rule.template is not None else None,
            "mention": recipient.mention,
        }


def at(event: EventType, job: Job) -> Job:
    """The job with the status that it has when the event happens."""
    status = STATUS.get(event)
    return replace(job, status=status) if status is not None else job


def _in_order(events: Iterable[EventType]) -> list[EventType]:
    return sorted(events, key=[*EventType].index)


def _days(days: Iterable[int]) -> str:
    """Weekdays as text: `daily`, `sat sun`, or `mon–fri` for a run of three or more."""
    ordered = sorted(days)
    if len(ordered) == len(_DAYS):
        return "daily"
    runs = [[day for _, day in run] for _, run in groupby(enumerate(ordered), lambda item: item[1] - item[0])]
    words = [
        f"{_DAYS[run[0]]}–{_DAYS[run[-1]]}" if len(run) > 2 else " ".join(_DAYS[day] for day in run) for run in runs
    ]
    return " ".join(words)
