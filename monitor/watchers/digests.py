"""Announces each issue of a digest once, when it is due by local time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from cronsim import CronSim

from monitor.clock import Clock
from monitor.domain.digests import LATEST, Digest, DigestPeriod, Times, baseline, digest_news, digest_subject
from monitor.domain.flow import Tracked
from monitor.domain.news import News
from monitor.domain.routing import OrgRef
from monitor.log import get_logger
from monitor.store import CostStore, Leases, Outbox, Reader
from monitor.watchers.repeat import repeat

log = get_logger()

_NAME: Final = ":digests"  # the name of its lease; no organisation's name contains a colon
_PAGE: Final = 500  # jobs


def times_of(digest: Digest, now: datetime) -> Times:
    """The latest period of a digest that is over.

    When clocks change, a local time that is skipped counts as the moment of the change, and one that occurs twice
    counts once.
    """
    soon = now.astimezone(digest.zone) + timedelta(minutes=2)
    ticks = (tick.astimezone(UTC) for tick in CronSim(digest.cron, soon, reverse=True))
    end, start, before = islice((tick for tick in ticks if tick <= now), 3)
    return Times(before=before, start=start, end=end)


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestWatcher:
    """Watches all digests."""

    digests: tuple[Digest, ...]
    orgs: tuple[OrgRef, ...]
    costs: CostStore
    reader: Reader
    outbox: Outbox
    leases: Leases
    clock: Clock
    page: str = ""
    """The URL of the status page; empty: messages do not link to it."""
    interval: float = 10.0
    """Seconds between two checks."""

    async def run(self, first: float = 0.0) -> None:
        """Check for ever, beginning in `first` seconds."""
        await repeat(self._step, self.clock, first=first, watcher="digests")

    async def check_once(self, now: datetime) -> tuple[str, ...]:
        """One step. Returns the ids of the issues that it announced. Raises StoreError."""
        due = [(digest, times_of(digest, now)) for digest in self.digests]
        marks = [baseline(digest, times.end) for digest, times in due]
        notified = await self.outbox.notified([mark.subject.topic for mark in marks])
        missing = [issue for issue, mark in zip(due, marks, strict=True) if mark.id not in notified]
        if not missing or not await self.leases.take(_NAME):
            return ()
        known = {id_.partition("/")[0] for id_ in notified}
        news = [
            await self._news(digest, times, known=digest_subject(digest, times.end).topic in known, now=now)
            for digest, times in missing
        ]
        sent = frozenset(issue.id for issue in news if issue.deliveries)
        return tuple(id_ for id_ in await self.outbox.announce(news) if id_ in sent)

    async def _step(self) -> float:
        for id_ in await self.check_once(self.clock.now()):
            log.info("digest.announced", news=id_)
        return self.interval

    async def _news(self, digest: Digest, times: Times, *, known: bool, now: datetime) -> News:
        """The issue; only its baseline if the digest is new or the issue was due too long ago."""
        if not known or now - times.end > LATEST:
            return baseline(digest, times.end)
        names = [org.org for org in self.orgs]
        spent = await self.costs.spent(times.before, names)
        period = DigestPeriod(
            ended=await self._ended(times),
            active=spent.active,
            spendings=spent.spendings,
            models=await self.costs.tuned_models(names),
        )
        return digest_news(digest, times, period, self.orgs, page=self.page)

    async def _ended(self, times: Times) -> list[Tracked]:
        found: list[Tracked] = []
        after: str | None = None
        while True:
            page = await self.reader.finished_before(times.end, limit=_PAGE, after=after)
            within = [tracked for tracked in page.items if (tracked.ended_at or tracked.since) >= times.start]
            found += (tracked for tracked in within if tracked.job.status.final)
            after = page.next
            if after is None or len(within) < len(page.items):
                return found
