"""A real store and real couriers that deliver to receivers over real HTTP."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio

from monitor import notifiers
from monitor.clock import Clock, SystemClock
from monitor.courier import Courier, DeliveryPolicy, Lanes
from monitor.domain.flow import Change
from monitor.domain.news import Delivery, EventType, Message, Severity, job_subject
from monitor.metrics.process import ProcessMetrics
from monitor.notifiers import NotifierSettings, SlackSettings, WebhookSettings
from monitor.secret import Redactor
from monitor.store import DeliverySummary, Stores, opened
from tests.faults.targets import Target

SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BRISK = DeliveryPolicy(timeout=0.5, retry_base=0.1, retry_max=0.4, max_age=timedelta(hours=72))


def hook(name: str, target: Target, **over: Any) -> WebhookSettings:
    """A webhook notifier for the target."""
    return WebhookSettings.model_validate(
        {"name": name, "type": "webhook", "url": target.url, "secret": SIGNING, **over}
    )


def slack(name: str, target: Target) -> SlackSettings:
    """A Slack notifier with an incoming webhook."""
    return SlackSettings.model_validate({"name": name, "type": "slack", "webhook_url": target.url})


def bot(name: str, target: Target, channel: str = "#c") -> SlackSettings:
    """A Slack notifier with a bot token."""
    return SlackSettings.model_validate(
        {"name": name, "type": "slack", "token": "xoxb-1-abcdefghijkl", "channel": channel, "api_url": target.url}
    )


@dataclass
class Couriers:
    """A real store and real couriers over real HTTP."""

    store: Stores
    own: ProcessMetrics
    clock: Clock
    version: int = 0
    sent: Counter[str] = field(default_factory=Counter)

    async def enqueue(self, *jobs: str, to: tuple[str, ...], **over: Any) -> None:
        """Add a delivery for each job and notifier, in one transaction."""
        envelopes = tuple(
            Delivery(subject=job_subject("research", job), seq=1, notifier=name, message=message(job, **over))
            for job in jobs
            for name in to
        )
        await self.store.jobs.commit(
            Change(org="research", based_on=self.version, at=self.clock.now(), deliveries=envelopes)
        )
        self.version += 1

    async def posted(self, state: str | None = None) -> list[DeliverySummary]:
        """The newest 500 deliveries."""
        return list((await self.store.reader.deliveries(state=state, limit=500)).items)

    async def states(self, notifier: str) -> Counter[str]:
        """How many deliveries of a notifier are in each state."""
        found: Counter[str] = Counter()
        after = None
        while True:
            page = await self.store.reader.deliveries(limit=500, after=after)
            found.update(one.state for one in page.items if one.notifier == notifier)
            if page.next is None:
                return found
            after = page.next


@asynccontextmanager
async def running_couriers(
    folder: Path, *settings: NotifierSettings, policy: DeliveryPolicy = BRISK, clock: Clock | None = None
) -> AsyncIterator[Couriers]:
    """Start couriers for these notifiers."""
    of, redactor, lanes, own = clock or SystemClock(), Redactor(), Lanes(), ProcessMetrics()
    own.watch(["research"], [one.name for one in settings])
    async with (
        opened(f"sqlite:///{folder / 'monitor.db'}", clock=of) as store,
        notifiers.session() as session,
        notifiers.session(keep=True) as kept,
    ):
        couriers = Couriers(store, own, of)
        async with anyio.create_task_group() as tasks:
            for one in settings:
                courier = Courier(
                    outbox=store.outbox,
                    notifier=notifiers.build(
                        one, session=session, kept=kept, redactor=redactor, timeout=policy.timeout
                    ),
                    clock=of,
                    owner="me",
                    policy=policy,
                    jitter=random.Random(1).random,
                    lanes=lanes,
                    metrics=own,
                    grace=0.1,
                )
                tasks.start_soon(courier.run)
            yield couriers
            tasks.cancel_scope.cancel()


def message(job: str, **over: Any) -> Message:
    """The message of a failed job."""
    fields: dict[str, Any] = {
        "type": "finetune.job.failed",
        "at": SystemClock().now(),
        "title": f"{job} failed",
        "severity": Severity.BAD,
        "subject": job_subject("research", job),
        "event_type": EventType("failed"),
        "facts": (("Model", "gpt-4o-mini"),),
        "error": "server_error: it broke",
        "data": '{"org":"research","job":{"id":"' + job + '"}}',
    }
    return Message(**{**fields, **over})
