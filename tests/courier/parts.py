"""A courier with a real store and a clock and a target of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import anyio.lowlevel

from monitor.clock import Clock
from monitor.courier import Courier, DeliveryPolicy, Lanes
from monitor.domain.flow import Change
from monitor.domain.news import Delivery, EventType, Message, Severity, job_subject
from monitor.notifiers.base import Attempt, FailureKind, Receipt, SendError
from monitor.store import Outbox, Stores, opened
from tests.builders import NOON
from tests.fakes import Waits

HOUR = 3600.0
POLICY = DeliveryPolicy(timeout=15.0, retry_base=4.0, retry_max=600.0, max_age=timedelta(hours=72))


@dataclass
class Hands(Waits):
    """A clock that is moved by hand, and by whoever sleeps on it."""

    at: datetime = NOON
    ticks: float = 1000.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.ticks

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.ticks += seconds

    async def sleep(self, seconds: float) -> None:
        self.move(max(seconds, 0.0))
        await anyio.lowlevel.checkpoint()


@dataclass
class Tallied:
    """Counters as plain numbers."""

    sent_: Counter[str] = field(default_factory=Counter)
    routed_: Counter[str] = field(default_factory=Counter)
    failed_: Counter[tuple[str, str]] = field(default_factory=Counter)
    dead_: Counter[tuple[str, str]] = field(default_factory=Counter)
    cards: Counter[str] = field(default_factory=Counter)
    suspended: dict[str, bool] = field(default_factory=dict)
    templates_failed: Counter[str] = field(default_factory=Counter)

    def sent(self, notifier: str, seconds: float) -> None:  # noqa: ARG002 - the protocol's
        self.sent_[notifier] += 1

    def template_failed(self, template: str) -> None:
        self.templates_failed[template] += 1

    def routed(self, route: str) -> None:
        self.routed_[route] += 1

    def failed(self, notifier: str, reason: str) -> None:
        self.failed_[notifier, reason] += 1

    def dead(self, notifier: str, reason: str) -> None:
        self.dead_[notifier, reason] += 1

    def card(self, notifier: str, result: str) -> None:  # noqa: ARG002 - the protocol's
        self.cards[result] += 1

    def set_suspended(self, notifier: str, suspended: bool) -> None:
        self.suspended[notifier] = suspended


Answer = Callable[[Attempt], Awaitable[None]]


@dataclass
class Scripted:
    """A target that does what it is told: None is success, an error is raised, a function is called."""

    script: list[SendError | Answer | None] = field(default_factory=list)
    always: SendError | Answer | None = None
    name: str = "ops"
    lane: str = "lane"
    min_gap: float = 0.0
    idempotent: bool = True
    tried: list[Attempt] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)

    def preview(self, message: Message, attempt: Attempt) -> str:  # noqa: ARG002 - the protocol's
        return message.title

    async def send(self, message: Message, attempt: Attempt) -> Receipt:
        assert attempt.key.split("/")[1] in message.title
        self.tried.append(attempt)
        self.messages.append(message)
        said = self.script.pop(0) if self.script else self.always
        if isinstance(said, SendError):
            raise said
        if said is not None:
            await said(attempt)
        return Receipt(reference="1.2")

    async def check(self) -> None:
        raise NotImplementedError

    @property
    def keys(self) -> list[str]:
        return [attempt.key for attempt in self.tried]


def error(failure: FailureKind, reason: str = "why", retry_after: float | None = None) -> SendError:
    return SendError(failure, reason, "it says no", retry_after=retry_after)


@dataclass
class Office:
    """A store, a clock and the couriers that share them."""

    store: Stores
    clock: Hands = field(default_factory=Hands)
    metrics: Tallied = field(default_factory=Tallied)
    lanes: Lanes = field(default_factory=Lanes)
    _version: int = 0

    def courier(self, notifier: Scripted, *, outbox: Outbox | None = None, grace: float = 8.0) -> Courier:
        return Courier(
            outbox=outbox or self.store.outbox,
            notifier=notifier,
            clock=self.clock,
            owner="me",
            policy=POLICY,
            jitter=lambda: 1.0,
            lanes=self.lanes,
            metrics=self.metrics,
            grace=grace,
        )

    async def enqueue(
        self, *jobs: str, notifier: str = "ops", seqs: Iterable[int] = (1,), message: Message | None = None
    ) -> None:
        """One envelope for each of the jobs and numbers."""
        envelopes = tuple(
            Delivery(subject=job_subject("research", job), seq=seq, notifier=notifier, message=message or letter(job))
            for job in jobs
            for seq in seqs
        )
        await self.store.jobs.commit(
            Change(org="research", based_on=self._version, at=self.clock.now(), deliveries=envelopes)
        )
        self._version += 1

    async def states(self) -> dict[str, str]:
        """Every envelope's state and reason by its key, without the organisation."""
        page = await self.store.reader.deliveries(limit=500)
        return {
            one.key.removeprefix("research/"): one.state if one.reason is None else f"{one.state} {one.reason}"
            for one in page.items
        }


@asynccontextmanager
async def office(path: Path, *, due_by: Clock | None = None) -> AsyncIterator[Office]:
    """An office with an empty outbox, whose deliveries fall due by its own clock if by no other."""
    clock = Hands()
    async with opened(f"sqlite:///{path / 'monitor.db'}", clock=due_by or clock) as store:
        yield Office(store, clock)


def letter(job: str) -> Message:
    return Message(
        type="finetune.job.failed",
        at=NOON,
        title=f"{job} failed",
        severity=Severity.BAD,
        subject=job_subject("research", job),
        event_type=EventType("failed"),
    )


async def step(of: Office, courier: Courier) -> int:
    """One step of a courier, now."""
    return await courier.drain_once()
