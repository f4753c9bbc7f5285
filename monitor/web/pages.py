"""The handlers of the status page and the job pages, which are rendered in worker threads."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import anyio
from aiohttp import hdrs, web
from anyio import to_thread

from monitor.domain.flow import Tracked
from monitor.domain.health import Health
from monitor.domain.model import Status, Training
from monitor.domain.snapshot import Snapshot
from monitor.store import BadCursor, Reader
from monitor.web import job_page, query, status_page
from monitor.web.drawing import spark
from monitor.web.job_rows import GONE, ended_at
from monitor.web.page_query import PER_PAGE, EarlierJobs, PageQuery, parse_page_query
from monitor.web.single_flight import SingleFlight
from monitor.web.style import POLICY

_DEAD_LETTERS: Final = 10
_POINTS: Final = 40  # of a sparkline
_MEASUREMENTS: Final = 1000
_EVENTS: Final = 50
_MOST_SPARKS: Final = 500  # cached; the oldest is dropped first
_SEARCH_STEP: Final = 50  # jobs per query when older jobs are searched
_SEARCH_STEPS: Final = 20  # queries for one page; the next page continues from there
_FINISHED: Final = frozenset({"", GONE, *(status.value for status in Status if status.final)})

Spark = tuple[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRoutes:
    """The handlers of the pages."""

    reader: Reader
    health: Health
    read_snapshot: Callable[[], Awaitable[Snapshot]]
    window: Callable[[], timedelta]
    """How far back the ended jobs of a snapshot reach."""
    now: Callable[[], datetime]
    suspended: Callable[[], frozenset[str]]
    """The suspended notifiers, whose receivers reject us permanently."""
    shared: SingleFlight
    threads: anyio.CapacityLimiter
    _sparks: dict[tuple[str, str], tuple[Training, Spark]] = field(default_factory=dict)
    """Cached sparklines by organisation and job id, with the training state that they were drawn from."""

    async def status(self, request: web.Request) -> web.Response:
        """GET /: the status page, or with `fragment` only the part that an open page replaces."""
        wanted, fragment, gzipped = parse_page_query(request.query), "fragment" in request.query, _gzipped(request)

        async def make() -> bytes:
            return await self._status(wanted, fragment=fragment, gzipped=gzipped)

        return _html(await self.shared.get(("page", wanted, fragment, gzipped), make), gzipped=gzipped)

    async def job(self, request: web.Request) -> web.Response:
        """GET /jobs/{org}/{job_id}: one job with a page of its events."""
        given = query.only(request.query, "fragment", "after")
        org, job_id = request.match_info["org"], request.match_info["job_id"]
        fragment, gzipped = "fragment" in given, _gzipped(request)
        file = await self.reader.job(org, job_id)
        if file is None:
            missing = partial(job_page.render_missing, org, job_id, self.now(), fragment=fragment)
            # an open page shows the fragment, which says that the job is gone
            return await self._rendered(missing, gzipped=gzipped, status=200 if fragment else 404)
        health = self.health.orgs.get(org)
        story = job_page.JobStory(
            file=file,
            labels=dict(health.labels) if health is not None else {},
            measured=await self.reader.story(org, job_id, _MEASUREMENTS),
            events=await self.reader.events(org, job_id, limit=_EVENTS, after=given.get("after")),
            first="after" not in given,
            at=self.now(),
        )
        return await self._rendered(partial(job_page.render, story, fragment=fragment), gzipped=gzipped)

    async def _rendered(self, render: Callable[[], bytes], *, gzipped: bool, status: int = 200) -> web.Response:
        """Render a page in a worker thread."""
        content = await to_thread.run_sync(lambda: _compress(render(), gzipped=gzipped), limiter=self.threads)
        return _html(content, gzipped=gzipped, status=status)

    async def _status(self, wanted: PageQuery, *, fragment: bool, gzipped: bool) -> bytes:
        window, snapshot = self.window(), await self.read_snapshot()
        selection = await to_thread.run_sync(status_page.select, snapshot, wanted, limiter=self.threads)
        extras = status_page.PageExtras(
            sparks=await self._drawn(selection.active.shown),
            earlier=await self._earlier(wanted, snapshot.at - window),
            dead=(await self.reader.deliveries(state="dead", limit=_DEAD_LETTERS)).items,
            suspended=self.suspended(),
            window=window,
        )
        health = self.health.seen(snapshot.watching, snapshot.at)

        def show() -> bytes:
            html = status_page.render(
                snapshot, health, query=wanted, selection=selection, extras=extras, fragment=fragment
            )
            return _compress(html, gzipped=gzipped)

        return await to_thread.run_sync(show, limiter=self.threads)

    async def _earlier(self, wanted: PageQuery, before: datetime) -> EarlierJobs:
        """A page of the jobs that finished before the window. A search reads at most 1000 jobs."""
        if wanted.status not in _FINISHED:
            return EarlierJobs()
        found: list[Tracked] = []
        most, cursor, last = PER_PAGE["ended"], wanted.older or None, None
        for _ in range(_SEARCH_STEPS):
            try:
                step = _SEARCH_STEP if wanted.filters else most - len(found)
                listing = await self.reader.finished_before(before, limit=step, after=cursor)
            except BadCursor:  # people type URLs
                return await self._earlier(replace(wanted, older=""), before)
            found += (one for one in listing.items if one.job.org in self.health.orgs and wanted.matches(one))
            cursor, last = listing.next, listing.items[-1] if listing.items else None
            if cursor is None or len(found) >= most:
                break
        cut_off = cursor is not None and len(found) < most and last is not None
        return EarlierJobs(
            shown=tuple(found),
            newest=wanted.address(older="") if wanted.older else None,
            older=wanted.address(older=cursor) if cursor is not None else None,
            until=(ended_at(last) or last.job.created_at) if cut_off and last is not None else None,
        )

    async def _drawn(self, jobs: tuple[Tracked, ...]) -> status_page.Sparks:
        """The sparklines of these jobs; those whose training progressed are drawn again."""
        trainings = {(one.job.org, one.job.id): one.job.training for one in jobs}
        stale = [place for place, training in trainings.items() if _outdated(self._sparks.get(place), training)]
        if stale:
            samples = await self.reader.samples(stale, _POINTS)
            drawn = await to_thread.run_sync(
                lambda: {place: spark(events) for place, events in samples.items()}, limiter=self.threads
            )
            self._sparks.update({place: (trainings[place], curve) for place, curve in drawn.items()})
            for place in list(self._sparks)[:-_MOST_SPARKS]:
                del self._sparks[place]
        return {place: self._sparks[place][1] for place in trainings if place in self._sparks}


def _outdated(drawn: tuple[Training, Spark] | None, training: Training) -> bool:
    if training.latest.step is None:
        return False  # no metrics yet
    return drawn is None or drawn[0] != training


def _gzipped(request: web.Request) -> bool:
    return query.accepts_gzip(",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, [])))


def _compress(html: bytes, *, gzipped: bool) -> bytes:
    return gzip.compress(html, compresslevel=1, mtime=0) if gzipped else html


def _html(content: bytes, *, gzipped: bool, status: int = 200) -> web.Response:
    headers = {"Content-Security-Policy": POLICY, hdrs.VARY: "Accept-Encoding"}
    if gzipped:
        headers[hdrs.CONTENT_ENCODING] = "gzip"
    return web.Response(body=content, status=status, content_type="text/html", charset="utf-8", headers=headers)
