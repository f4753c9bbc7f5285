"""A job's life between a real store and a Slack for tests: what polls see is decided, committed, sent and edited."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp

from monitor import notifiers
from monitor.courier import Courier, Lanes
from monitor.courier.cards import CardEditor
from monitor.domain.decide import Policy, decide
from monitor.domain.flow import EventsRead, Known, Observation
from monitor.domain.model import Job, JobError, Status
from monitor.domain.render import Labelling
from monitor.domain.routing import Rule
from monitor.notifiers import HttpNotifier, NotifierSettings
from monitor.notifiers.chart import draw
from monitor.notifiers.slack import SlackSettings
from monitor.secret import Redactor
from monitor.store import Stores, opened
from tests.builders import NOON, job, measured, on
from tests.courier.parts import POLICY, Hands, Tallied
from tests.slack import TOKEN, Workspace, workspace

EVERYTHING = on(
    "appeared", "started", "progress", "paused", "resumed", "succeeded", "failed", "cancelled", "stalled", "moving"
)
RULE = Rule(on=EVERYTHING, notify=("ml",), cards=frozenset({"ml"}))
LABELLING = Labelling(monitor_url="https://monitor.example.com")


def bot(of: Workspace, name: str = "ml", **over: Any) -> SlackSettings:
    """Slack by token."""
    fields = {"channel": "#fine-tuning", "token": TOKEN, "api_url": of.url}
    return SlackSettings.model_validate({"name": name, "type": "slack", **fields, **over})


@dataclass(kw_only=True)
class Life:
    """One job, `ftjob-1`, and whoever tells of it. Time goes on by hand."""

    store: Stores
    clock: Hands
    slack: Workspace
    courier: Courier
    editor: CardEditor
    policy: Policy
    metrics: Tallied
    job: Job = field(default_factory=lambda: job(status=Status.QUEUED, name="support-bot"))

    async def poll(self, **over: Any) -> None:
        """A poll sees the job, with what is new of it."""
        self.job = replace(self.job, **over)
        await self._commit(Observation(org="research", at=self.clock.now(), jobs=(self.job,)))

    async def step(self, number: int, steps: int = 100, loss: float = 1.0) -> None:
        """Its events are read: it has done this step."""
        event = measured(number, steps, at=self.clock.now(), train_loss=loss)
        read = EventsRead(job=self.job.id, events=(event,), whole=False)
        await self._commit(Observation(org="research", at=self.clock.now(), reads=(read,), listed=False))

    async def silence(self) -> None:
        """Its events are read, and there is nothing new."""
        read = EventsRead(job=self.job.id, events=(), whole=False)
        await self._commit(Observation(org="research", at=self.clock.now(), reads=(read,), listed=False))

    async def finalize(self) -> None:
        """All its events are read after its end: nothing more is asked about it."""
        self.clock.move(15)
        read = EventsRead(job=self.job.id, events=(), whole=True)
        await self._commit(Observation(org="research", at=self.clock.now(), reads=(read,), listed=False))

    async def _commit(self, seen: Observation) -> None:
        known: Known = await self.store.jobs.known("research")
        await self.store.jobs.commit(decide(known, seen, self.policy))

    async def tell(self, seconds: float = 5.0) -> None:
        """So much time, in which whoever has something to send or edit does it."""
        until = self.clock.monotonic() + seconds
        while self.clock.monotonic() < until:
            busy = [await self.courier.drain_once(), await self.editor.edit_once()]
            self.clock.move(1.2 if any(busy) else min(max(until - self.clock.monotonic(), 0.1), 10.0))

    async def fail(self) -> None:
        """It ends."""
        error = JobError(code="server_error", message="The job failed due to an internal error")
        await self.poll(status=Status.FAILED, finished_at=self.clock.now(), error=error)


@dataclass(kw_only=True)
class Desk:
    """A store and a Slack, and who works between them: again after each restart."""

    folder: Path
    slack: Workspace
    clock: Hands = field(default_factory=Hands)
    metrics: Tallied = field(default_factory=Tallied)
    rule: Rule = RULE
    settings: NotifierSettings | None = None

    @asynccontextmanager
    async def life(self, of: Job | None = None) -> AsyncIterator[Life]:
        """Until the process ends."""
        path = self.folder / "monitor.db"
        async with opened(f"sqlite:///{path}", clock=self.clock) as store, notifiers.session() as session:
            life = self._life(store, session)
            if of is not None:
                life.job = of
            if not path.with_suffix(".seen").exists():  # nothing is news at first sight
                await life._commit(Observation(org="research", at=self.clock.now()))
                path.with_suffix(".seen").touch()
            yield life

    def _life(self, store: Stores, session: aiohttp.ClientSession) -> Life:
        notifier = notifiers.build(
            self.settings or bot(self.slack), session=session, redactor=Redactor(), timeout=POLICY.timeout
        )
        assert isinstance(notifier, HttpNotifier)
        shared: dict[str, Any] = {
            "clock": self.clock,
            "owner": "me",
            "policy": POLICY,
            "jitter": lambda: 1.0,
            "metrics": self.metrics,
        }
        lanes = Lanes()
        return Life(
            store=store,
            clock=self.clock,
            slack=self.slack,
            courier=Courier(outbox=store.outbox, notifier=notifier, lanes=lanes, **shared),
            editor=CardEditor(
                store=store.cards,
                notifier=notifier,
                lanes=lanes,
                labellings={"research": LABELLING},
                rules=(self.rule,),
                curves=store.jobs.curves,
                draw=draw,
                **shared,
            ),
            policy=Policy(rules=(self.rule,), labelling=LABELLING, stall_after={Status.RUNNING: timedelta(hours=1)}),
            metrics=self.metrics,
        )


@asynccontextmanager
async def desk(folder: Path, **over: Any) -> AsyncIterator[Desk]:
    """A Slack whose clock is ours."""
    clock = Hands(at=NOON)
    async with workspace(Workspace(now=clock.monotonic)) as slack:
        yield Desk(folder=folder, slack=slack, clock=clock, **over)
