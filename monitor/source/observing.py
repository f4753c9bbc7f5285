"""Looks at one organisation: its list, what is missing in it, and the event streams of what changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

import anyio
import structlog

from monitor.domain.flow import Known, Observation
from monitor.domain.model import Job, JobEvent
from monitor.providers.base import Dialect, Malformed, NotFound, Page, Request, Response, SourceError
from monitor.source.asking import Asking
from monitor.source.look import Look, Stream, stream
from monitor.source.transport import Answer
from monitor.source.walk import CursorRefused, Endless, Refused, pages

T = TypeVar("T")

log = structlog.get_logger()

_REFUSED: Final = frozenset({400, 404, 410, 422})  # what servers say to a cursor whose item is gone
_REFUSALS: Final = 3  # looks in a row, after which it is believed that more is not to be had
_KEPT: Final = 1024 * 1024  # bytes of a first page that is kept to be compared


@dataclass(slots=True)
class _FirstPage:
    """The first page of the job list as it last came, and what it meant."""

    answer: Answer | None = None
    page: Page[Job] | None = None
    skipped: int = 0
    refused: int = 0
    """Looks in a row in which the server refused its own cursors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(Asking):
    """One organisation at its provider: what is to be seen there."""

    dialect: Dialect
    lookback: timedelta
    """How far back the first look goes."""
    deadline: float = 60.0
    """Seconds for one look, all of it."""
    _last: _FirstPage = field(default_factory=_FirstPage, init=False, repr=False)

    async def observe(self, known: Known, now: datetime) -> Observation:
        """Look at the job list, at jobs that are missing in it, and at the event streams of what changed.

        Raises SourceError when the list was not read: nothing may be concluded then. What went wrong after that is
        the observation's trouble, and what it has is sound.
        """
        look = Look(known=known, now=now, lookback=self.lookback)
        with anyio.move_on_after(self.deadline) as scope:
            await self._list(look)
            await self._each(look, look.absent(), self._find)
            await self._each(look, look.streams(), self._listen)
        if scope.cancelled_caught:
            look.late(self.deadline)
        return look.observation(self.org)

    async def tail(self, known: Known, job_ids: Sequence[str], now: datetime) -> Observation:
        """Look at event streams alone. Jobs that are not known are left out."""
        look = Look(known=known, now=now, lookback=self.lookback, listing=False)
        streams = [stream(known.jobs[job_id]) for job_id in job_ids if job_id in known.jobs]
        with anyio.move_on_after(self.deadline) as scope:
            await self._each(look, streams, self._listen)
        if scope.cancelled_caught:
            look.late(self.deadline)
        return look.observation(self.org)

    async def check(self) -> None:
        """Ask for one page of jobs. Raises SourceError."""
        await self._first_page()

    async def _list(self, look: Look) -> None:
        try:
            async with aclosing(pages(self._jobs, most=self.limits.max_pages)) as walk:
                async for page in walk:
                    look.listed = look.take(page) or look.listed
                    if look.listed and not look.another():
                        break
        except SourceError as error:
            self._broken(look, error)
        else:
            self._last.refused = 0
        look.listed = True

    def _broken(self, look: Look, error: SourceError) -> None:
        """What a walk that did not come to its end means. Raises the error where nothing can be concluded from it."""
        if look.listed:  # behind what is known: the jobs that are not found there are asked for one by one
            if not isinstance(error, Endless):
                look.note(error)
        elif isinstance(error, Refused):
            self._last.refused += 1
            # What is reported now, no later walk goes behind: a server that has only a bad moment is asked again.
            accepted = look.first or self._last.refused >= _REFUSALS
            look.endless(error) if accepted else look.broken_off(error)
        elif isinstance(error, Endless):
            look.endless(error)
        else:
            look.broken_off(error)

    async def _find(self, look: Look, job_id: str) -> None:
        """Ask for a job that is not on the list."""
        try:
            job = await self.ask(self.dialect.get_job(job_id), partial(self.dialect.read_job, self.org))
        except NotFound:
            look.missing.add(job_id)
            return
        if job.id != job_id:
            raise Malformed("asked for one job, the server answered with another")
        look.found(job)

    async def _listen(self, look: Look, wanted: Stream) -> None:
        """Read an event stream, newest first, until what is known or to its beginning."""
        events: dict[str, JobEvent] = {}
        whole = True
        try:
            if self.dialect.has_events:
                whole = await self._events(wanted, events)
        except Endless as error:
            look.note(error)
            whole = wanted.whole  # more cannot be had: an ended job has to be settled some time
        except NotFound:
            # Copies of the API may have no event streams; but one that was there does not go away.
            if wanted.recent:
                raise
        look.reads.append(wanted.read(events, whole=whole))

    async def _events(self, wanted: Stream, events: dict[str, JobEvent]) -> bool:
        """Collect the events of a stream. True when it was read to its beginning."""
        read = partial(self._events_page, wanted.job)
        async with aclosing(pages(read, most=self.limits.max_event_pages)) as walk:
            async for page in walk:
                for event in page.items:
                    events.setdefault(event.id, event)
                if not wanted.whole and any(event.id in wanted.recent for event in page.items):
                    return False
        return True

    async def _each(self, look: Look, items: Iterable[T], work: Callable[[Look, T], Awaitable[None]]) -> None:
        """Do this for every item, a few at a time, for as long as the provider bears it."""
        queue = iter(items)

        async def worker() -> None:
            for item in queue:
                if look.halted:
                    return
                try:
                    await work(look, item)
                except SourceError as error:
                    look.note(error)

        async with anyio.create_task_group() as group:
            for _ in range(self.limits.concurrency):
                group.start_soon(worker)

    async def _jobs(self, after: str | None) -> Page[Job]:
        if after is None:
            return await self._first_page()
        return await self._page(self.dialect.list_jobs(after), partial(self.dialect.read_jobs, self.org), after)

    async def _first_page(self) -> Page[Job]:
        """The newest jobs. An answer that is the same as the last one is not read again."""
        answer = await self.answer(self.dialect.list_jobs(None))
        last = self._last
        if last.page is not None and last.answer is not None and answer.same(last.answer):
            return last.page
        page = await self.understood(answer, partial(self.dialect.read_jobs, self.org))
        if page.skipped > last.skipped:
            log.warning("jobs.not_understood", org=self.org, count=page.skipped)
        last.skipped = page.skipped
        last.answer, last.page = (answer, page) if len(answer.body) <= _KEPT else (None, None)
        return page

    async def _events_page(self, job_id: str, after: str | None) -> Page[JobEvent]:
        request = self.dialect.list_events(job_id, after)
        return await self._page(request, partial(self.dialect.read_events, self.org, job_id), after)

    async def _page(self, request: Request, read: Callable[[Response], Page[T]], after: str | None) -> Page[T]:
        answer = await self.answer(request)
        if after is not None and answer.status in _REFUSED:
            raise CursorRefused(f"{answer.status}: the server does not know where to go on")
        return await self.understood(answer, read)
