"""Cards: one message per job and channel, edited in place so that it shows the job's current state.

A delivery is an event: it is rendered once, and sent in order and at least once. A card is state: each edit renders
the newest stored state of the job.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Final

from monitor.domain.flow import Tracked, Transition, TransitionKind
from monitor.domain.model import Basis, Cost, Status
from monitor.domain.news import CardChange, EventType, Message, Severity, job_subject, json_text
from monitor.domain.pricing import format_cost
from monitor.domain.render import Labelling, clock_time, describe, measurements, payload
from monitor.domain.routing import Rule, matches, route
from monitor.domain.templates import MessageTemplate, apply_template

EDIT_GAP: Final = timedelta(minutes=1)
"""The shortest time between two edits of a card."""
_CELLS: Final = 20
_SHOWN: Final = {
    Status.RUNNING: "is running",
    Status.VALIDATING: "is being validated",
    Status.QUEUED: "is queued",
    Status.PAUSED: "is paused",
    Status.CANCELLING: "is being cancelled",
    Status.UNKNOWN: "has an unknown status",
}
_ENDS: Final = {status: EventType(status.value) for status in Status if status.final}
_REPLACED: Final = frozenset({"Progress", "Cost", "Stalled since", "Expected finish"})
"""Facts of a notification that a card replaces: their text is true only at the moment of the notification."""


def card_changes(
    was: Tracked | None, now: Tracked, transition: Transition | None, rules: Iterable[Rule], labels: Mapping[str, str]
) -> Iterator[CardChange]:
    """The cards that may have to be edited because a job has changed.

    All cards of the job if it has a new transition or is over; otherwise those that a rule on `progress` names.
    """
    keeping = [rule for rule in rules if rule.cards]
    if was is None or now == was or not keeping:
        return
    job = now.job
    subject = job_subject(job.org, job.id)
    if transition is not None or job.status.final:
        yield CardChange(subject=subject)
        return
    applies = partial(matches, job=job, labels=labels, cost=now.cost)
    if following := frozenset(route((EventType.PROGRESS,), keeping, applies, metadata=job.metadata)):
        yield CardChange(subject=subject, addresses=following)


def card_template(
    tracked: Tracked, to: str, rules: Iterable[Rule], labels: Mapping[str, str]
) -> MessageTemplate | None:
    """The template of the card at an address: that of the rule that sends there what the card shows, or else of the
    first rule that leads there."""
    keeping = [rule for rule in rules if rule.keeps_card(to)]
    applies, metadata = partial(matches, job=tracked.job, labels=labels, cost=tracked.cost), tracked.job.metadata
    routed = route((_event(tracked),), keeping, applies, metadata=metadata)
    if to in routed:
        return routed[to].rule.template
    leading = (rule for rule in keeping if to in rule.addresses(metadata) and applies(rule.match))
    return next((rule.template for rule in leading), None)


def render_card(
    tracked: Tracked, labelling: Labelling, now: datetime, template: MessageTemplate | None = None
) -> Message:
    """The card of a job. The card of a finished job has the content of the notification of its end."""
    message = replace(_stands(tracked, labelling, now), data=json_text(payload(_seen(tracked), tracked, labelling)))
    return apply_template(template, message) if template is not None else message


def _event(tracked: Tracked) -> EventType:
    return _ENDS.get(tracked.job.status, EventType.STALLED if tracked.stalled else EventType.PROGRESS)


def _seen(tracked: Tracked) -> Transition:
    """The transition to its current status. The status before is not known any more."""
    job, kind = tracked.job, TransitionKind.STALLED if tracked.stalled else TransitionKind.MOVED
    return Transition(
        org=job.org, job=job.id, seq=tracked.seq, at=tracked.since, kind=kind, before=None, after=job.status
    )


def _stands(tracked: Tracked, labelling: Labelling, now: datetime) -> Message:
    job, event = tracked.job, _event(tracked)
    message = describe(job_subject(job.org, job.id), tracked, event, labelling, at=tracked.since)
    if job.status.final:
        return message
    if event is EventType.PROGRESS or tracked.gone:
        shown = "is gone from the provider" if tracked.gone else _SHOWN[job.status]
        severity = Severity.WARNING if tracked.gone or job.status is Status.PAUSED else Severity.INFO
        message = replace(message, title=f"{job.name or job.provider_id} {shown}", severity=severity)
    kept = (fact for fact in message.facts if fact[0] not in _REPLACED)
    return replace(message, facts=(*_progress(tracked, now), *kept, *_cost(tracked)))


def appearance(message: Message) -> str:
    """A hash of everything that is visible of a message: two messages with the same hash look the same."""
    shown = (message.title, message.severity, message.facts, message.error, message.hint)
    text = json.dumps([*shown, message.link, message.monitor_url])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def progress_bar(progress: float) -> str:
    """A progress bar for a fraction from 0 to 1: `█████████░░░░░░░░░░░ 45%`."""
    done = min(max(int(progress * _CELLS), 0), _CELLS)
    return f"{'█' * done}{'░' * (_CELLS - done)} {int(progress * 100)}%"


def _progress(tracked: Tracked, now: datetime) -> Iterator[tuple[str, str]]:
    job, latest = tracked.job, tracked.job.training.latest
    if job.progress is not None:
        yield "Progress", progress_bar(job.progress)
    if latest.step is not None:
        yield "Step", f"{latest.step:,} of {latest.steps:,}" if latest.steps else f"{latest.step:,}"
    yield from measurements(latest)
    if (finish := tracked.expected_finish(now)) is not None and finish > now:
        yield "Expected finish", clock_time(finish, now)
    if tracked.stall is not None:
        yield "Stalled since", clock_time(tracked.stall.since, now)


def _cost(tracked: Tracked) -> Iterator[tuple[str, str]]:
    """The cost; of an estimate, also the share that corresponds to the progress so far."""
    cost, progress = tracked.cost, tracked.job.progress
    if cost is None:
        return
    if cost.usd is None or cost.computed is not None or progress is None:
        yield "Cost", format_cost(cost)
        return
    so_far = Cost(basis=Basis.ESTIMATED, usd=cost.usd * Decimal(str(round(progress, 4))))
    yield "Cost so far", f"{format_cost(so_far)} of {format_cost(cost)}"
