"""Which things readers would see differently now: the latest committed changes, numbered, to be waited for."""

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
    """What has changed, by name: whoever shows it reads it anew."""

    topic: Literal["job", "delivery"]
    org: str
    job: str
    status: Status | None = None
    """Of a job, where it is now."""


class Changes:
    """The changes this process has committed, of which the latest are remembered."""

    def __init__(self) -> None:
        self.count = 0
        self.deliveries = 0
        """How many deliveries were enqueued."""
        self._latest: deque[Touched] = deque(maxlen=_REMEMBERED)
        self._changed = anyio.Event()
        self._enqueued = anyio.Event()

    async def wait(self, mark: int) -> None:
        """Wait until `count` is another number than `mark`."""
        while self.count == mark:
            await self._changed.wait()

    async def wait_enqueued(self, mark: int) -> None:
        """Wait until `deliveries` is another number than `mark`."""
        while self.deliveries == mark:
            await self._enqueued.wait()

    def since(self, mark: int) -> tuple[Touched, ...] | None:
        """What changed since `count` was `mark`, oldest first; None where that is more than is remembered."""
        missed = self.count - mark
        if missed > len(self._latest):
            return None
        return tuple(islice(self._latest, len(self._latest) - missed, None))

    def jobs(self, tracked: Iterable[Tracked]) -> None:
        """These jobs are stored."""
        self._add(Touched(topic="job", org=one.job.org, job=one.job.id, status=one.job.status) for one in tracked)

    def settled(self, jobs: Iterable[Place]) -> None:
        """Deliveries of these jobs were sent or dead-lettered, or wait again."""
        self._add(Touched(topic="delivery", org=org, job=job) for org, job in dict.fromkeys(jobs))

    def enqueued(self, count: int) -> None:
        """So many deliveries wait that did not before."""
        if count:
            self.deliveries += count
            self._enqueued.set()
            self._enqueued = anyio.Event()

    def elsewhere(self) -> None:
        """Another replica has changed something."""
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
