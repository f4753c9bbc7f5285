"""Sample messages of every event type, which templates are checked with and which users can display."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from monitor.domain.budgets import Budget, Period, Sum, period_of
from monitor.domain.cards import render_card
from monitor.domain.costs import TunedModel
from monitor.domain.flow import Headway, Reason, Tracked, Transition, TransitionKind, Trouble
from monitor.domain.model import Basis, Cost, FineTuning, Job, JobError, Method, Metrics, Status, Training
from monitor.domain.news import OF_JOBS, EventType, Message, News
from monitor.domain.notices import budget_news, shutdown_news
from monitor.domain.notifier_outages import NotifierBacklog, OutagePolicy, notifier_news, notifier_subject
from monitor.domain.outages import OrgHealthChange, outage_news, outage_subject
from monitor.domain.render import Labelling, moment, render
from monitor.domain.routing import OrgRef, Recipient, Rule
from monitor.domain.stall import Stall, StallReason, Usual
from monitor.domain.verdict import Verdict, VerdictKind

NOW: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
URL: Final = "https://monitor.example.com"
"""The web interface that samples link to unless another is given."""
_ORG: Final = OrgRef(org="research", provider="openai", labels={"team": "search"})
STATUS: Final = {
    EventType.STARTED: Status.RUNNING,
    EventType.PROGRESS: Status.RUNNING,
    EventType.PAUSED: Status.PAUSED,
    EventType.SUCCEEDED: Status.SUCCEEDED,
    EventType.FAILED: Status.FAILED,
    EventType.CANCELLED: Status.CANCELLED,
}
"""The status of a job when an event happens, for events that determine it."""
JOB: Final = Tracked(
    job=Job(
        org="research",
        id="ftjob-sample",
        provider="openai",
        model="gpt-4o-mini-2024-07-18",
        method=Method.SUPERVISED,
        status=Status.RUNNING,
        name="sample",
        created_at=NOW - timedelta(hours=2),
        started_at=NOW - timedelta(hours=1),
        error=JobError(code="server_error", message="The job failed due to an internal error."),
        metadata={"owner": "ana"},
        url="https://platform.openai.com/finetune/ftjob-sample",
        training=Training(latest=Metrics(step=180, steps=400, train_loss=0.8)),
    ),
    seq=3,
    since=NOW - timedelta(hours=1),
    last_activity_at=NOW - timedelta(minutes=1),
    cost=Cost(basis=Basis.ESTIMATED, usd=Decimal("12.50")),
    headway=Headway(finish=NOW + timedelta(hours=2)),
)
"""A sample job in the middle of its run."""
_BARE: Final = Job(
    org="research", id="ftjob-bare", provider="openai", model="", method=Method.UNKNOWN, status=Status.RUNNING
)


def samples(event: EventType, *, monitor_url: str = URL) -> Iterator[Message]:
    """Messages of an event type as they would be sent: one with all possible facts, one with as few as possible."""
    labelling = Labelling(labels=_ORG.labels, monitor_url=monitor_url)
    if event is EventType.PROGRESS:
        yield render_card(JOB, labelling, NOW)
        yield render_card(Tracked(job=_BARE, seq=3, since=NOW), Labelling(), NOW)
        return
    if event in OF_JOBS:
        yield render(*moment_of(event, JOB), event, labelling)
        yield render(*moment_of(event, Tracked(job=_BARE, seq=3, since=NOW)), event, Labelling())
        return
    rule = Rule(on=frozenset({event}), notify=("sample",))
    for news in _notices(event, rule, monitor_url):
        yield from (delivery.message for delivery in news.deliveries)


def moment_of(event: EventType, tracked: Tracked) -> tuple[Transition, Tracked]:
    """A transition with this event type, and the job at that moment."""
    job = replace(tracked.job, status=STATUS.get(event, tracked.job.status))
    then = replace(tracked, job=job)
    if job.status.final and tracked is JOB:
        then = replace(then, job=replace(job, finished_at=NOW, tuning=FineTuning(trained_tokens=300_000)))
    if event is EventType.SUCCEEDED and tracked is JOB:
        tuning = replace(then.job.tuning, fine_tuned_model="ft:gpt-4o-mini:org::sample")
        then = replace(then, job=replace(then.job, tuning=tuning), verdict=_VERDICT)
    if event is EventType.STALLED and tracked is JOB:
        then = replace(then, stalled=True, stall=_STALL)
    kind = _KINDS.get(event, TransitionKind.MOVED)
    before = _BEFORE.get(event, Status.RUNNING)
    transition = Transition(org=job.org, job=job.id, seq=then.seq, at=NOW, kind=kind, before=before, after=job.status)
    return transition, then


_BEFORE: Final = {EventType.APPEARED: None, EventType.STARTED: Status.QUEUED, EventType.RESUMED: Status.PAUSED}
"""The status before an event, where the job was not running."""
_KINDS: Final = {EventType(kind.value): kind for kind in TransitionKind if kind.value in set(EventType)}
"""The kinds of transitions whose event type has the same name."""
_STALL: Final = Stall(
    reason=StallReason.NO_STEP, since=NOW - timedelta(hours=1), usual=Usual(run=timedelta(hours=2), ran=12)
)
_VERDICT: Final = Verdict(
    kind=VerdictKind.OVERFITS,
    text="Overfits since step 240: the validation loss was 0.71 then and is 0.93 at the end.",
    since_step=240,
    best_step=240,
    best_checkpoint="ft:gpt-4o-mini:org::sample:ckpt-step-240",
)


def _notices(event: EventType, rule: Rule, page: str) -> Iterator[News]:
    match event:
        case EventType.BUDGET:
            budget = Budget(name="sample", amount=Decimal(500), period=Period.MONTH)
            to = {"sample": Recipient(event=event, rule=rule)}
            counted, span = Sum(computed=Decimal(430)), period_of(Period.MONTH, NOW)
            news = budget_news(budget, counted, span, recipients=to, notified={}, now=NOW, page=page)
            yield from () if news is None else (news,)
        case EventType.SHUTDOWN:
            day = (NOW + timedelta(days=7)).date()
            ids = ("ft:gpt-4o-mini-2024-07-18:org::a", "ft:gpt-4o-mini-2024-07-18:org::b")
            models = [TunedModel(org="research", id=id_, base="gpt-4o-mini-2024-07-18", shutdown=day) for id_ in ids]
            yield from shutdown_news(_ORG, models, rules=(rule,), notified=(), now=NOW, page=page)
        case EventType.NOTIFIER_DOWN | EventType.NOTIFIER_UP:
            yield from _notifier_outages(event, rule, page)
        case _:
            up = event is EventType.ORG_UP
            trouble = Trouble(reason=Reason.AUTH, text="401: the key is refused")
            health = OrgHealthChange(org=_ORG, up=up, trouble=trouble, last_success=NOW - timedelta(hours=1))
            key, hour_ago = f"{outage_subject('research').key}/1", moment(NOW - timedelta(hours=1))
            full = replace(health, up_since=NOW, ended={Status.SUCCEEDED: 2, Status.FAILED: 1})
            for seen, last in ((full, hour_ago), (replace(health, trouble=None, last_success=None), None)):
                news = outage_news(seen, (rule,), {key: last} if up else {}, NOW, page=page)
                yield from () if news is None else (news,)


def _notifier_outages(event: EventType, rule: Rule, page: str) -> Iterator[News]:
    hour_ago, up = NOW - timedelta(hours=1), event is EventType.NOTIFIER_UP
    notified = {f"{notifier_subject('ops').key}/1": hour_ago.isoformat()} if up else {}
    bare = NotifierBacklog(name="ops", at=NOW, waiting=1, failing_since=hour_ago, last_delivered=NOW if up else None)
    full = replace(bare, waiting=12, reason="unauthorized", answer="403 invalid_token")
    for backlog in (full if up else replace(full, last_delivered=NOW - timedelta(hours=2)), bare):
        news = notifier_news(backlog, (rule,), notified, policy=OutagePolicy(monitor_url=page), now=NOW)
        yield from () if news is None else (news,)
