"""Polls one organisation: reads its job lists, jobs that are missing in them, and event streams."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

import anyio
import structlog

from monitor.domain.event_ids import NONE_YET, RecentIds
from monitor.domain.flow import Known, Observation
from monitor.domain.model import Checkpoint, Job, JobEvent, JobKind, kind_of, listed_id, provider_id, stored_id
from monitor.providers.base import JobList, Listing, Malformed, NotFound, Page, Provider, Request, Response, SourceError
from monitor.source.client import Client
from monitor.source.poll import ListRead, Poll, Revisits, Stream, stream
from monitor.source.transport import Answer
from monitor.source.walk import CursorRefused, Endless, Order, PagingRefused, pages

T = TypeVar("T")

log = structlog.get_logger()

_REFUSED: Final = frozenset({400, 404, 410, 422})  # answers of servers to a cursor whose item is gone
_REFUSALS: Final = 3  # polls with refused cursors in a row, after which the readable pages count as the whole list
_KEPT: Final = 1024 * 1024  # bytes: the largest page that is kept for comparison
_FEW_EVENTS: Final = 12  # new events of a read up to which the next one begins with a short page
_NO_STREAMS: Final = 3  # jobs in a row without an event stream, after which none is requested
_AGAIN: Final = 3600.0  # seconds until one is requested again


@dataclass(slots=True)
class _ListMemory:
    """The state of a job list between two polls."""

    start: Request | None = None
    """The request at which a list with the oldest job first continues; None for its first page."""
    order: Order = Order.UNKNOWN
    request: Request | None = None
    digest: bytes = b""
    page: Page[Job] | None = None
    """The last first page: its request, the digest of its answer (empty if none was read), and the parsed page unless
    the provider remembers the items."""
    ahead: tuple[Answer, bytes] | None = None
    """The newest answer to that request with its digest, which was compared, but not parsed yet."""
    alone: bool = False
    """Whether that page was the only one that was read."""
    provider_now: datetime | None = None
    """The time of the last answer by the provider's clock."""
    answered_at: float = 0.0
    """When that answer arrived, in monotonic seconds."""
    finals: int = 0
    """The number of finalized jobs when they were last reduced to outlines."""
    skipped: int = 0
    refused: int = 0
    """The number of consecutive polls in which the server refused its own cursors."""


@dataclass(slots=True)
class _StreamMemory:
    """The state of an event stream between two reads."""

    start: Request | None = None
    """The request at which a stream with the oldest event first continues; None for its first page."""
    order: Order = Order.UNKNOWN
    digest: bytes = b""
    ids: RecentIds = NONE_YET
    """A digest of the last first page, and the ids of its events, which may not be stored yet."""
    few: bool = False
    """Whether few new events are expected, judging by the last read."""
    span: int = 0
    """The number of events that a read goes through to find the new ones."""


@dataclass(slots=True)
class _Memory:
    lists: list[_ListMemory] = field(default_factory=list)
    streams: dict[str, _StreamMemory] = field(default_factory=dict)
    without_stream: set[str] = field(default_factory=set)
    """Jobs without an event stream, since a stream was last found."""
    streams_after: float = 0.0
    """No stream is requested before this moment, in monotonic seconds."""
    revisits: Revisits = field(default_factory=Revisits)
    readings: int = 0
    """How often the lists were read and not found as they were before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Reads the jobs of one organisation at its provider."""

    client: Client
    provider: Provider
    lookback: timedelta
    """How far back ended jobs are read at first sight."""
    deadline: float = 60.0
    """Seconds for a whole poll."""
    _memory: _Memory = field(default_factory=_Memory, init=False, repr=False)

    @property
    def kinds(self) -> frozenset[JobKind]:
        """The kinds of jobs that are watched."""
        return frozenset(each.kind for each in self.provider.jobs)

    @property
    def org(self) -> str:
        """The organisation, as the configuration names it."""
        return self.client.org

    @property
    def reading(self) -> int:
        """The number of the last reading of the lists. An unchanged list has the number of the reading it equals."""
        return self._memory.readings

    async def observe(
        self, known: Known, now: datetime, recheck: Collection[str] = (), *, settled: bool = False
    ) -> Observation:
        """Read the job lists, and the active jobs that are missing in them.

        `settled` says that the known state agrees with the lists as they were last read. If they are unchanged, byte
        for byte, nothing is parsed or reported. `recheck` names gone jobs that are requested again, and finalized ones
        that are reported even if their status is unchanged.

        Raises SourceError if no list was read, from which nothing can be concluded. A later failure becomes the trouble
        of the observation, whose contents are valid all the same.
        """
        self._lighten(known)
        poll = Poll(known=known, now=now, lookback=self.lookback, recheck=frozenset(recheck))
        async with self._in_time(poll):
            poll.unchanged = settled and await self._unchanged(poll)
            if not poll.unchanged:
                await self._list(poll)
                await self._each(poll, poll.absent(), self._find)
            if any(wanted.revisited for wanted in self.provider.jobs):
                await self._each(poll, self._memory.revisits.due(poll.active, same=poll.unchanged), self._revisit)
            if not poll.unchanged:
                await self._each(poll, poll.summaries(), self._detail)
        if not poll.unchanged:  # finalized jobs stay listed, but their streams are not read again
            self._forget_streams(known.jobs.keys() | (poll.jobs.keys() - known.final.keys()))
        return poll.observation(self.org)

    def _forget_streams(self, kept: Collection[str]) -> None:
        streams = self._memory.streams
        for job_id in streams.keys() - kept:
            del streams[job_id]

    @asynccontextmanager
    async def _in_time(self, poll: Poll) -> AsyncIterator[None]:
        """End a poll at its deadline, and keep what it has found by then."""
        deadline = asyncio.timeout(self.deadline)
        try:
            async with deadline:
                yield
        except TimeoutError:
            if not deadline.expired():
                raise
            poll.late(self.deadline)

    def has_read(self, job_id: str) -> bool:
        """Whether this process has read the event stream of a job before, so that only new events are to be read."""
        return job_id in self._memory.streams

    def _lighten(self, known: Known) -> None:
        """Reduce remembered jobs that are finalized to outlines, to save memory.

        Most jobs are, and nothing else of them is used while they are listed unchanged.
        """
        ids: dict[str, str] = {}
        outlines: dict[str, Job] = {}

        def light(job: Job) -> Job:
            if known.final.get(job.id) is not job.status:
                return job
            return outlines.setdefault(job.id, job.outline(ids[job.id]))

        for wanted, memory in zip(self.provider.jobs, self._memory.lists, strict=False):  # at first, no list was read
            if not memory.digest or memory.finals == len(known.final):
                continue
            memory.finals = len(known.final)
            ids = ids or {id_: id_ for id_ in known.final}
            if wanted.pages.lighten is not None:
                wanted.pages.lighten(light)
            if memory.page is not None:
                memory.page = replace(memory.page, items=tuple(map(light, memory.page.items)))

    async def tail(self, known: Known, job_ids: Sequence[str], now: datetime) -> Observation:
        """Read only event streams, those of ended jobs to their beginning. Unknown jobs are left out."""
        poll = Poll(known=known, now=now, lookback=self.lookback, listing=False)
        for memory in self._memory.lists:
            if memory.provider_now is not None:
                passed = self.client.clock.monotonic() - memory.answered_at
                poll.by_provider(memory.provider_now + timedelta(seconds=passed))
        streams = [stream(known.jobs[job_id]) for job_id in job_ids if job_id in known.jobs]
        async with self._in_time(poll):
            await self._each(poll, streams, self._read_stream)
        unread = frozenset(wanted.job for wanted in streams) - poll.begun
        return replace(poll.observation(self.org), unread=unread)

    async def check(self) -> None:
        """Request one page of each job list. Raises SourceError."""
        for wanted in self.provider.jobs:
            await self.client.page(wanted.pages.first, wanted.pages.read)

    async def checkpoints(self, job_id: str) -> tuple[Checkpoint, ...]:
        """The newest checkpoints of a job; none if the provider does not list them. Raises SourceError."""
        if self.provider.checkpoints is None:
            return ()
        listing = self.provider.checkpoints(job_id)
        return (await self.client.page(listing.first, listing.read)).items

    async def _unchanged(self, poll: Poll) -> bool:
        """Whether the lists are the same as at the last poll, byte for byte."""
        wanted, memories = self.provider.jobs, self._memory.lists
        if len(memories) < len(wanted) or not all(memory.alone for memory in memories):
            return False
        same = True
        for job_list, memory in zip(wanted, memories, strict=True):
            if memory.request is None:
                return False
            try:
                answer = await self._continued(memory.request, job_list.pages.first)
            except SourceError as error:
                if len(wanted) == 1 and not isinstance(error, CursorRefused):
                    raise
                return False  # one of several lists has failed: the others are read as usual
            memory.ahead = answer, _digest(memory.request, answer)
            same = same and memory.ahead[1] == memory.digest
            memory.provider_now, memory.answered_at = answer.date, self.client.clock.monotonic()
            poll.by_provider(memory.provider_now)
        if same:
            poll.listed = True
            for memory in memories:
                memory.ahead = None
        return same

    async def _list(self, poll: Poll) -> None:
        self._memory.readings += 1
        memories = self._memory.lists
        memories += (_ListMemory() for _ in self.provider.jobs[len(memories) :])
        reads = []
        for wanted, memory in zip(self.provider.jobs, memories, strict=True):
            reads.append(ListRead(order=memory.order))
            await self._list_one(poll, wanted, memory, reads[-1])
            poll.by_provider(memory.provider_now)
        poll.all_listed(reads)
        if poll.absent():  # absent jobs have to be requested at the next poll too, even if the lists do not change
            for memory in memories:
                memory.alone = False

    async def _list_one(self, poll: Poll, wanted: JobList, memory: _ListMemory, read: ListRead) -> None:
        start = None if poll.first else memory.start
        fetch = partial(self._jobs, wanted.pages, memory, poll.known, start or wanted.pages.first)
        last, read_pages = start, 0
        memory.alone = False
        try:
            walk = pages(fetch, wanted.pages.first, most=self.client.limits.max_pages, start=start)
            async with aclosing(walk):
                async for request, page in walk:
                    last = request
                    read_pages += 1
                    read.reached = poll.take(read, page) or read.reached
                    if read.reached and not poll.first and not poll.another():
                        break
        except SourceError as error:
            self._broken(poll, memory, read, error)
        else:
            memory.alone = read_pages == 1 and memory.request == last
            memory.refused = 0
            memory.order = read.order
            memory.start = last if read.order is Order.OLDEST_FIRST else None
        read.reached = read.reached or read.error is None

    def _broken(self, poll: Poll, memory: _ListMemory, read: ListRead, error: SourceError) -> None:
        """Note an error that ended the reading of a list."""
        memory.start = None
        if read.reached:  # the error concerns pages after known jobs; absent jobs are requested one by one
            if not isinstance(error, Endless):
                poll.note(error)
        elif isinstance(error, PagingRefused):
            memory.refused += 1
            # Later polls do not go beyond the jobs that are reported now, so a server with a passing fault gets
            # another chance first.
            accepted = poll.first or memory.refused >= _REFUSALS
            poll.endless(read, error) if accepted else poll.broken_off(read, error)
        elif isinstance(error, Endless):
            poll.endless(read, error)
        else:
            poll.broken_off(read, error)

    async def _jobs(
        self, listing: Listing[Job], memory: _ListMemory, known: Known, start: Request, request: Request
    ) -> Page[Job]:
        """A page of jobs. If the first page is unchanged, it is not parsed again."""
        ahead, memory.ahead = memory.ahead, None
        if ahead is not None and request == memory.request:
            answer, digest = ahead
        else:
            answer = await self._continued(request, listing.first)
            digest = _digest(request, answer) if request == start else b""
        memory.provider_now, memory.answered_at = answer.date, self.client.clock.monotonic()
        if memory.page is not None and digest and digest == memory.digest:
            return memory.page
        page = await self._understood(request, answer, listing.read)
        if known.lists:
            page = replace(page, items=tuple(_as_stored(job, known) for job in page.items))
        if request == start:
            skipped = sum(page.skipped.values())
            if skipped > memory.skipped:
                log.warning("jobs.not_understood", org=self.org, count=skipped, reasons=dict(page.skipped))
            memory.skipped = skipped
            if not memory.digest or listing.lighten is None:
                memory.finals = 0
            memory.request, memory.digest = request, digest
            # With `lighten`, the provider keeps the items.
            memory.page = page if listing.lighten is None and len(answer.body) <= _KEPT else None
        return page

    async def _find(self, poll: Poll, job_id: str) -> None:
        """Request a job that is not on its list."""
        for wanted, asked in self._lists(job_id, poll.known):
            try:
                job = _as_stored(await self.client.call(wanted.one(asked)), poll.known)
            except NotFound:
                continue
            if job.id != job_id:
                raise Malformed("the server answered with another job than the requested one")
            poll.found(job)
            return
        poll.missing.add(job_id)

    async def _revisit(self, poll: Poll, job_id: str) -> None:
        """Request an active job by itself. If its status differs from the list, the list is out of date."""
        for wanted, asked in self._lists(job_id, poll.known):
            if wanted.revisited:
                with suppress(NotFound, Malformed):  # not every server can show a single job
                    found = _as_stored(await self.client.call(wanted.one(asked)), poll.known)
                    if found.id == job_id:
                        agrees = found.status is poll.status(job_id)
                        self._memory.revisits.answered(job_id, agrees=agrees)
                        if not agrees:
                            poll.jobs[job_id] = found

    async def _detail(self, poll: Poll, job: Job) -> None:
        """Request an ended job whose list does not say how it ended. After a failure, it is requested again later."""
        for wanted, asked in self._lists(job.id, poll.known):
            try:
                found = _as_stored(await self.client.call(wanted.one(asked)), poll.known)
            except NotFound:  # the server has no details
                found = replace(job, summary_only=False)
            if found.id == job.id and found.status is job.status:
                poll.jobs[job.id] = found

    def _lists(self, job_id: str, known: Known) -> Iterator[tuple[JobList, str]]:
        """The lists that may contain a job, each with the id that it has there."""
        id_, kind = listed_id(job_id, known.lists), kind_of(job_id)
        lists = [each for each in self.provider.jobs if each.kind is kind]
        prefix = next((each.prefix for each in lists if each.prefix and id_.startswith(each.prefix)), "")
        asked = provider_id(id_).removeprefix(prefix)
        return ((each, asked) for each in lists if each.prefix == prefix)

    async def _read_stream(self, poll: Poll, wanted: Stream) -> None:
        """Read an event stream up to known events, or to its end."""
        poll.begun.add(wanted.job)
        events = self.provider.events
        memory, now = self._memory, self.client.clock.monotonic()
        if events is None or kind_of(wanted.job) is JobKind.BATCH or (now < memory.streams_after and not wanted.recent):
            poll.reads.append(wanted.read({}, whole=True))
            return
        found: dict[str, JobEvent] = {}
        last = memory.streams.setdefault(wanted.job, _StreamMemory())
        # Known events may only be left out once the order of the stream is known.
        newest_first = last.order is Order.NEWEST_FIRST
        left_out = wanted.recent if newest_first and not wanted.whole else ()
        listing = events(wanted.job, left_out, bool(left_out) and last.few)
        try:
            whole = await self._events(wanted, listing, last, found)
        except Endless as error:
            poll.note(error)
            whole = wanted.whole  # no more can be read, and an ended job has to be finalized at some point
        except NotFound:
            # Copies of the API may have no event streams, but an existing stream does not disappear.
            if wanted.recent:
                raise
            whole = True
            memory.without_stream.add(wanted.job)
            if len(memory.without_stream) >= _NO_STREAMS:
                memory.streams_after = now + _AGAIN
        else:
            memory.without_stream.clear()
        read = wanted.read(found, whole=whole, order=last.order, span=last.span)
        last.few = len(read.events) <= _FEW_EVENTS
        poll.reads.append(read)

    async def _events(
        self, wanted: Stream, listing: Listing[JobEvent], memory: _StreamMemory, found: dict[str, JobEvent]
    ) -> bool:
        """Collect the events of a stream. Returns True if it was read to its end, False if up to known events."""
        start = memory.start if wanted.recent and not wanted.whole else None
        fetch = partial(self._events_page, listing, memory, wanted, start or listing.first)
        order, last, end, reached_known, passed = memory.order, None, start, False, 0
        walk = pages(fetch, listing.first, most=self.client.limits.max_event_pages, start=start)
        async with aclosing(walk):
            async for request, page in walk:
                end = request
                order = _order(order, last, page.items)
                last = next((event.at for event in reversed(page.items) if event.at is not None), last)
                events = len(page.items) + page.known
                passed = max(passed, events) if order is Order.NEWEST_FIRST else passed + events
                for event in page.items:
                    found.setdefault(event.id, event)
                memory.order, memory.span = order, max(memory.span, passed)
                if page is _UNCHANGED:
                    return False
                reached_known = reached_known or page.known > 0 or _known(wanted, page.items)
                if not wanted.whole and order is Order.NEWEST_FIRST and reached_known:
                    return False
        memory.start = end if order is Order.OLDEST_FIRST else None
        return wanted.whole or (start is None and not reached_known)

    async def _events_page(
        self, listing: Listing[JobEvent], memory: _StreamMemory, wanted: Stream, start: Request, request: Request
    ) -> Page[JobEvent]:
        """A page of events; `_UNCHANGED` if it is the first page, is unchanged, and has only known events."""
        answer = await self._continued(request, listing.first)
        if request != start:
            return await self._understood(request, answer, listing.read)
        digest = _digest(request, answer)
        if digest == memory.digest and not wanted.whole and wanted.recent.hold(memory.ids):
            memory.ids = NONE_YET
            return _UNCHANGED
        page = await self._understood(request, answer, listing.read)
        settled = page.next is None or memory.order is Order.NEWEST_FIRST
        memory.digest = digest if settled else b""
        memory.ids = RecentIds.of((event.id for event in page.items), len(page.items)) if settled else NONE_YET
        return page

    async def _each(self, poll: Poll, items: Iterable[T], work: Callable[[Poll, T], Awaitable[None]]) -> None:
        """Call `work` for every item, a few at a time, until the poll is halted. Errors are noted."""
        wanted = list(items)
        if not wanted:
            return
        queue = iter(wanted)

        async def worker() -> None:
            for item in queue:
                if poll.halted:
                    return
                try:
                    await work(poll, item)
                except SourceError as error:
                    poll.note(error)

        async with anyio.create_task_group() as group:
            for _ in range(min(self.client.limits.concurrency, len(wanted))):
                group.start_soon(worker)

    async def _continued(self, request: Request, first: Request) -> Answer:
        """The answer to a request for a page. Raises CursorRefused if the server does not know the cursor."""
        answer = await self.client.answer(request)
        if request != first and answer.status in _REFUSED:
            raise CursorRefused(f"{answer.status}: the server does not know where to continue")
        return answer

    async def _understood(
        self, request: Request, answer: Answer, read: Callable[[Request, Response], Page[T]]
    ) -> Page[T]:
        return self.client.counted(await self.client.understood(answer, partial(read, request)))


def _as_stored(job: Job, known: Known) -> Job:
    """The job with the id that it has in the known state."""
    id_ = stored_id(job.id, known.lists)
    return job if id_ == job.id else replace(job, id=id_)


def _digest(request: Request, answer: Answer) -> bytes:
    """A digest of an answer. Keeping whole answers would take megabytes."""
    head = f"{request.path} {request.params} {answer.status} {answer.encoding}\n"
    digest = hashlib.blake2b(head.encode(), digest_size=16)
    digest.update(answer.body)
    return digest.digest()


_UNCHANGED: Final[Page[JobEvent]] = Page(items=())


def _known(wanted: Stream, events: Sequence[JobEvent]) -> bool:
    return any(event.id in wanted.recent for event in events)


def _order(order: Order, last: datetime | None, events: Sequence[JobEvent]) -> Order:
    """The order by the times of the events; if these are all the same, as in a burst of a second, by their steps."""
    found = order.with_times([last, *(event.at for event in events)])
    if found is not Order.UNKNOWN:
        return found
    steps = [event.metrics.step for event in events if event.metrics is not None and event.metrics.step is not None]
    if steps and steps == sorted(steps) and steps[0] < steps[-1]:
        return Order.OLDEST_FIRST
    return Order.NEWEST_FIRST if steps and steps == sorted(steps, reverse=True) and steps[0] > steps[-1] else found
