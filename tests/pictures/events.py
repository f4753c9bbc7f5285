"""The messages of the pictures: one of every event, made by the rules that make them, and those that are of many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from monitor.config.templates import TemplateSource
from monitor.domain.budgets import Budget, Period, Sum, period_of
from monitor.domain.bundle import bundle
from monitor.domain.cards import render_card
from monitor.domain.costs import Spending, TunedModel
from monitor.domain.digests import Digest, DigestPeriod, Times, digest_news
from monitor.domain.flow import Headway, Reason, Tracked, Transition, TransitionKind, Trouble
from monitor.domain.model import (
    Basis,
    Batch,
    Cost,
    FailureClass,
    FineTuning,
    Job,
    JobError,
    Method,
    Metrics,
    Status,
    TokenCount,
    Training,
)
from monitor.domain.news import Delivery, EventType, Message, News, Severity, Subject, SubjectKind
from monitor.domain.notices import budget_news, budget_recipients, shutdown_news
from monitor.domain.notifier_outages import NotifierBacklog, OutagePolicy, notifier_news
from monitor.domain.outages import OrgHealthChange, outage_news
from monitor.domain.render import Labelling, render
from monitor.domain.routing import OrgRef, Rule
from monitor.domain.stall import Stall, StallReason, Usual
from monitor.domain.templates import MessageTemplate, apply_template
from monitor.domain.verdict import Verdict, VerdictKind

NOW: Final = datetime(2026, 11, 27, 14, 32, 5, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
URL: Final = "https://monitor.example.com"
ORG: Final = OrgRef(org="research", provider="openai", labels={"team": "search"})
LABELLING: Final = Labelling(labels=ORG.labels, monitor_url=URL)
RULE: Final = Rule(on=frozenset(EventType), notify=("ml",))
BASE: Final = "gpt-4o-mini-2024-07-18"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One message and what it shows."""

    name: str
    message: Message
    repeated: bool = False
    edit: bool = False
    """It is what a card is edited to."""


def _job(**over: Any) -> Job:
    fields: dict[str, Any] = {
        "org": ORG.org,
        "id": "ftjob-Ab3dE9xQ2LkZ",
        "provider": ORG.provider,
        "model": BASE,
        "method": Method.SUPERVISED,
        "status": Status.RUNNING,
        "name": "support-bot",
        "created_at": NOW - timedelta(hours=1, minutes=40),
        "started_at": NOW - timedelta(hours=1, minutes=34),
        "url": "https://platform.openai.com/finetune/ftjob-Ab3dE9xQ2LkZ",
        "training": Training(latest=Metrics(step=252, steps=560, train_loss=0.8123, valid_loss=0.9317)),
    }
    return Job(**fields | over)


ESTIMATE: Final = Cost(basis=Basis.ESTIMATED, usd=Decimal("12.40"))
PRICE: Final = Cost(basis=Basis.COMPUTED, usd=Decimal("11.86"))


def _tracked(job: Job, **over: Any) -> Tracked:
    fields: dict[str, Any] = {"seq": 3, "since": NOW - HOUR, "last_activity_at": NOW - timedelta(minutes=1)}
    fields["cost"] = PRICE if job.status is Status.SUCCEEDED else ESTIMATE if not job.status.final else None
    return Tracked(job=job, **fields | over)


def _told(
    event: EventType, of: Tracked, kind: TransitionKind = TransitionKind.MOVED, before: Status | None = Status.RUNNING
) -> Message:
    job = of.job
    transition = Transition(org=job.org, job=job.id, seq=of.seq, at=NOW, kind=kind, before=before, after=job.status)
    return render(transition, of, event, LABELLING)


def _ended(status: Status, **over: Any) -> Job:
    tuning = FineTuning(fine_tuned_model=f"ft:{BASE}:acme:support-bot:9xYz", trained_tokens=1_240_000)
    done = Training(latest=Metrics(step=560, steps=560, train_loss=0.6107, valid_loss=0.7021))
    given = {"tuning": tuning, "training": done} if status is Status.SUCCEEDED else {}
    return _job(status=status, finished_at=NOW, **given | over)


VERDICT: Final = Verdict(
    kind=VerdictKind.OVERFITS,
    text="Overfits since step 240: the validation loss was 0.71 then and is 0.93 at the end.",
    since_step=240,
    best_step=240,
    best_checkpoint=f"ft:{BASE}:acme:support-bot:9xYz:ckpt-step-240",
)
USUAL: Final = Usual(queue=timedelta(minutes=21), queued=40, run=timedelta(hours=1, minutes=25), ran=38)


def _stalled(reason: StallReason, *, status: Status = Status.RUNNING, **over: Any) -> Tracked:
    stall = Stall(
        reason=reason, since=NOW - timedelta(hours=1, minutes=5), usual=USUAL, promised=NOW - timedelta(minutes=50)
    )
    waits = {"started_at": None, "training": Training()} if status is not Status.RUNNING else {}
    return _tracked(_job(status=status, **waits), stalled=True, stall=stall, **over)


def jobs() -> Iterator[Scene]:
    """What happens to one job."""
    queued = _tracked(_job(status=Status.QUEUED, started_at=None, training=Training(), created_at=NOW))
    yield Scene(name="appeared", message=_told(EventType.APPEARED, queued, TransitionKind.APPEARED, None))
    started = _tracked(_job(created_at=NOW - timedelta(minutes=6), started_at=NOW, training=Training()))
    yield Scene(name="started", message=_told(EventType.STARTED, started, before=Status.QUEUED))
    running = _tracked(_job(), headway=Headway(finish=NOW + timedelta(hours=1, minutes=8)))
    yield Scene(name="progress", message=render_card(running, LABELLING, NOW), edit=True)
    yield Scene(name="paused", message=_told(EventType.PAUSED, _tracked(_job(status=Status.PAUSED))))
    yield Scene(name="resumed", message=_told(EventType.RESUMED, running, before=Status.PAUSED))
    no_step = _stalled(StallReason.NO_STEP)
    yield Scene(name="stalled: no step", message=_told(EventType.STALLED, no_step, TransitionKind.STALLED))
    silent = _stalled(StallReason.SILENT)
    yield Scene(name="stalled: no sign of life", message=_told(EventType.STALLED, silent, TransitionKind.STALLED))
    slipping = _stalled(StallReason.SLIPPING, headway=Headway(finish=NOW + timedelta(hours=3)))
    yield Scene(
        name="stalled: its expected finish keeps moving back",
        message=_told(EventType.STALLED, slipping, TransitionKind.STALLED),
    )
    waiting = _stalled(StallReason.QUEUED, status=Status.QUEUED)
    yield Scene(name="stalled: queued for too long", message=_told(EventType.STALLED, waiting, TransitionKind.STALLED))
    checked = _stalled(StallReason.SILENT, status=Status.VALIDATING)
    yield Scene(
        name="stalled while its file is being validated",
        message=_told(EventType.STALLED, checked, TransitionKind.STALLED),
    )
    yield Scene(name="moving", message=_told(EventType.MOVING, running, TransitionKind.MOVING))
    yield Scene(name="gone", message=_told(EventType.GONE, replace(running, missing=9), TransitionKind.GONE))


def ends() -> Iterator[Scene]:
    """How a job or a batch ends."""
    yield Scene(name="succeeded", message=_told(EventType.SUCCEEDED, _tracked(_ended(Status.SUCCEEDED))))
    last = Training(latest=Metrics(step=560, steps=560, train_loss=0.2104, valid_loss=0.9312))
    poor = _tracked(replace(_ended(Status.SUCCEEDED), training=last), verdict=VERDICT)
    yield Scene(name="succeeded, but overfits", message=_told(EventType.SUCCEEDED, poor))
    error = JobError(
        code="server_error", message="The job failed due to an internal error.", failure=FailureClass.PROVIDER
    )
    failed = _tracked(_ended(Status.FAILED, error=error))
    yield Scene(name="failed", message=_told(EventType.FAILED, failed))
    file = JobError(
        code="invalid_training_file",
        message="The job failed due to an invalid training file. Line 17: messages[2] has no role.",
        param="training_file",
        failure=FailureClass.FILE,
    )
    invalid = _tracked(_ended(Status.FAILED, started_at=None, training=Training(), error=file))
    mentioned = replace(_told(EventType.FAILED, invalid, before=Status.VALIDATING), mention="<@U012AB3CD>")
    yield Scene(name="failed, with a mention, after an earlier response was lost", message=mentioned, repeated=True)
    yield Scene(name="cancelled", message=_told(EventType.CANCELLED, _tracked(_ended(Status.CANCELLED))))
    corrected = _told(EventType.SUCCEEDED, _tracked(_ended(Status.SUCCEEDED)), TransitionKind.CORRECTED, Status.FAILED)
    yield Scene(name="succeeded, as a correction", message=corrected)
    yield Scene(name="succeeded: a batch", message=_told(EventType.SUCCEEDED, _tracked(_batch(Status.SUCCEEDED))))
    template = MessageTemplate(
        name="short",
        title=TemplateSource(text="{{ job.name or job.id }} is ready"),
        text=TemplateSource(text="{{ facts.Model }} after {{ job.run_seconds|duration }}, ${{ job.cost.usd }}"),
    )
    yield Scene(
        name="succeeded, by a template",
        message=apply_template(template, _told(EventType.SUCCEEDED, _tracked(_ended(Status.SUCCEEDED)))),
    )


def _batch(status: Status) -> Job:
    done = Batch(
        endpoint="/v1/responses",
        total=1000,
        completed=990,
        failed=10,
        input_file="file-in",
        output_file="file-Ok3x9",
        error_file="file-Er7q2",
        expires_at=NOW + DAY,
        tokens=TokenCount(input=400_000, cached_input=100_000, output=90_000),
    )
    return _job(
        id="batch:batch_68a1", status=status, name="nightly eval", method=Method.UNKNOWN, batch=done, finished_at=NOW,
        training=Training(), url="https://platform.openai.com/batches/batch_68a1",
    )  # fmt: skip


def others() -> Iterator[Scene]:
    """What is of no single job."""
    budget = Budget(name="search", amount=Decimal(500), period=Period.MONTH)
    for spent, name in ((410, "budget at 80%"), (512, "budget used up")):
        counted = Sum(computed=Decimal(spent) - Decimal("32.50"), estimated=Decimal("32.50"), unknown_jobs=1)
        told = budget_news(
            budget, counted, period_of(budget.period, NOW), recipients=budget_recipients(budget, (ORG,), (RULE,)),
            notified={}, now=NOW, page=URL,
        )  # fmt: skip
        yield Scene(name=name, message=_only(told))
    for days, name in ((30, "shutdown in 30 days"), (0, "shutdown today")):
        for told in shutdown_news(ORG, _models(days), rules=(RULE,), notified=(), now=NOW, page=URL):
            yield Scene(name=name, message=_only(told))
    trouble = Trouble(reason=Reason.AUTH, text="401: Incorrect API key provided: sk-…4f2a.")
    seen = NOW - timedelta(minutes=16)
    down = OrgHealthChange(org=ORG, up=False, last_success=seen, trouble=trouble)
    yield Scene(name="organisation down", message=_only(outage_news(down, (RULE,), {}, NOW, page=URL)))
    ended = {Status.SUCCEEDED: 2, Status.FAILED: 1}
    up = OrgHealthChange(org=ORG, up=True, up_since=NOW, ended=ended)
    notified = {"research/outage/1": (NOW - timedelta(minutes=41)).isoformat()}
    yield Scene(name="organisation up", message=_only(outage_news(up, (RULE,), notified, NOW, page=URL)))
    for backlog, since, name in (
        (
            _backlog(waiting=12, failing_since=seen, reason="unauthorized", answer="403 invalid_token"),
            {},
            "notifier down",
        ),
        (_backlog(waiting=3, last_delivered=NOW), {"notifier:ops/outage/1": seen.isoformat()}, "notifier up"),
    ):
        yield Scene(
            name=name,
            message=_only(notifier_news(backlog, (RULE,), since, policy=OutagePolicy(monitor_url=URL), now=NOW)),
        )
    yield Scene(name="digest", message=_digest())
    yield Scene(name="test message", message=_test())


def _backlog(**over: Any) -> NotifierBacklog:
    fields: dict[str, Any] = {"name": "ops", "at": NOW, "last_delivered": NOW - timedelta(minutes=47)}
    return NotifierBacklog(**fields | over)


def _only(news: News | None) -> Message:
    assert news is not None
    return replace(news.deliveries[0].message, mention=None)


def _models(days: int) -> list[TunedModel]:
    day = NOW.date() + timedelta(days=days)
    older = ("gpt-3.5-turbo-0125", "gpt-4o-mini-2024-07-18")
    return [
        TunedModel(org="research", id=f"ft:{base}:acme:bot-{number}:9x{number}", base=base, shutdown=day)
        for number, base in enumerate((older[0], older[0], older[1], older[0]), start=1)
    ]


def _digest() -> Message:
    digest = Digest(name="weekly", cron="0 9 * * MON", zone=ZoneInfo("Europe/Berlin"), notify=("ml",))
    times = Times(before=NOW - 14 * DAY, start=NOW - 7 * DAY, end=NOW)
    quota = JobError(code="insufficient_quota", message="…", failure=FailureClass.QUOTA)
    server = JobError(code="server_error", message="…", failure=FailureClass.PROVIDER)
    failed = [
        _tracked(_job(id=f"f{number}", name=name, status=Status.FAILED, error=error))
        for number, (name, error) in enumerate(
            [("router", server), ("ranker", server), ("intent", server), ("faq", server), ("legal-qa", quota)]
        )
    ]
    succeeded = [_tracked(_job(id=f"s{number}", status=Status.SUCCEEDED)) for number in range(23)]
    spent = [
        Spending(
            org="research", job=f"s{number}", provider="openai", at=NOW - timedelta(days=number), model=BASE,
            method=Method.SUPERVISED, base_model=BASE, fine_tuned_model=None, metadata={}, usd=Decimal("10.25"),
        )
        for number in (1, 2, 3, 9, 10)
    ]  # fmt: skip
    active = [_tracked(_job(id=f"a{number}")) for number in range(2)]
    period = DigestPeriod(ended=[*succeeded, *failed], active=active, spendings=spent, models=_models(20))
    return _only(digest_news(digest, times, period, [ORG], page=URL))


def _test() -> Message:
    return Message(
        type="finetune.test",
        at=NOW,
        title="Test message: notifications arrive",
        severity=Severity.INFO,
        subject=Subject(kind=SubjectKind.TEST, org="finetune-monitor", id="test"),
        event_type=None,
        facts=(("Notifier", "ml"), ("Sent by", "finetune-monitor")),
        data='{"notifier": "ml"}',
    )


def many() -> Iterator[Scene]:
    """Several in one message."""
    failed = JobError(
        code="server_error", message="The job failed due to an internal error.", failure=FailureClass.PROVIDER
    )
    ended = [
        _told(
            EventType.FAILED if number % 7 == 3 else EventType.SUCCEEDED,
            _tracked(
                _ended(
                    Status.FAILED if number % 7 == 3 else Status.SUCCEEDED,
                    id=f"ftjob-{number}",
                    name=f"sweep-lr-{number:02}",
                    error=failed if number % 7 == 3 else None,
                )
            ),
        )
        for number in range(1, 13)
    ]
    yield Scene(name="twelve jobs that ended together", message=_together(ended))
    trouble = Trouble(reason=Reason.UNAVAILABLE, text="503: upstream connect error")
    orgs = [OrgRef(org=name, provider="openai") for name in ("research", "growth", "legal", "search", "support", "lab")]
    down = OrgHealthChange(org=ORG, up=False, last_success=NOW - timedelta(minutes=16), trouble=trouble)
    downs = [_only(outage_news(replace(down, org=org), (RULE,), {}, NOW, page=URL)) for org in orgs]
    yield Scene(name="a provider is down for six organisations", message=_together(downs))
    yield Scene(name="held back during the night", message=_together([ended[0], ended[2], downs[0]]))


def _together(messages: list[Message]) -> Message:
    return bundle([Delivery(subject=one.subject, seq=3, notifier="ml", message=one) for one in messages])


GROUPS: Final = {"jobs": jobs, "ends": ends, "others": others, "many": many}
