"""Numbers committed changes, so that readers can wait for them and ask what has changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

import anyio

from monitor.domain.flow import Tracked
from monitor.domain.model import Status

_REMEMBERED: Final = 1000

Place = tuple[str, str]
"""An organisation and the id of one of its jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """Something that has changed. Readers that show it must read it again."""

    topic: Literal["job", "delivery"]
    org: str
    job: str
    status: Status | None = None
    """The new status of a job; None for deliveries."""


class Changes:
    """The changes that this process has committed. Only the latest are remembered."""

    def __init__(self) -> None:
        self.count = 0
        """Number of changes so far."""
        self.deliveries = 0
        """Number of deliveries that were enqueued so far."""
        self._latest: deque[Touched] = deque(maxlen=_REMEMBERED)
        self._changed = anyio.Event()
        self._enqueued = anyio.Event()

    async def wait(self, mark: int) -> None:
        """Wait until `count` differs from `mark`."""
        while self.count == mark:
            await self._changed.wait()

    async def wait_enqueued(self, mark: int) -> None:
        """Wait until `deliveries` differs from `mark`."""
        while self.deliveries == mark:
            await self._enqueued.wait()

    def since(self, mark: int) -> tuple[Touched, ...] | None:
        """What has changed since `count` was `mark`, oldest first; None if that is no longer remembered."""
        missed = self.count - mark
        if missed > len(self._latest):
            return None
        return tuple(islice(self._latest, len(self._latest) - missed, None))

    def jobs(self, tracked: Iterable[Tracked]) -> None:
        """Note that these jobs were stored."""
        self._add(Touched(topic="job", org=one.job.org, job=one.job.id, status=one.job.status) for one in tracked)

    def settled(self, jobs: Iterable[Place]) -> None:
        """Note that deliveries of these jobs were sent, dead-lettered or requeued."""
        self._add(Touched(topic="delivery", org=org, job=job) for org, job in dict.fromkeys(jobs))

    def enqueued(self, count: int) -> None:
        """Note that `count` deliveries have become pending."""
        if count:
            self.deliveries += count
            self._enqueued.set()
            self._enqueued = anyio.Event()

    def elsewhere(self) -> None:
        """Note that another replica has changed something."""
        self._latest.clear()
        self.count += 1
        self._wake()
        self.enqueued(1)

    def _add(self, touched: Iterable[Touched]) -> None:
        before = self.count
        for one in touched:
            self._latest.append(one)
            self.count += 1
        if self.count != before:
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
