"""What answers people: the status page and the pages of jobs. Rendered in worker threads, read from the store."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import anyio
from aiohttp import hdrs, web
from anyio import to_thread

from monitor.domain.flow import Tracked
from monitor.domain.model import Training
from monitor.domain.snapshot import Snapshot
from monitor.metrics.health import Health
from monitor.store import Reader
from monitor.web import jobpage, page, query
from monitor.web.accepting import accepts_gzip
from monitor.web.drawing import spark
from monitor.web.look import POLICY
from monitor.web.sharing import Shared
from monitor.web.wish import Wish, wished

_DEAD_LETTERS: Final = 10
_POINTS: Final = 40  # of a small curve
_MEASUREMENTS: Final = 1000
_EVENTS: Final = 50
_MOST_SPARKS: Final = 500  # what was drawn first goes first

Spark = tuple[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the status page is made of, as of one moment."""

    snapshot: Snapshot
    retention: timedelta
    """How far back its jobs reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRoutes:
    """The methods are aiohttp handlers."""

    reader: Reader
    health: Health
    look: Callable[[], Awaitable[Seen]]
    now: Callable[[], datetime]
    parked: Callable[[], frozenset[str]]
    """The notifiers that are out of use."""
    shared: Shared
    threads: anyio.CapacityLimiter
    _sparks: dict[tuple[str, str], tuple[Training, Spark]] = field(default_factory=dict)
    """Small curves, and what was known of the training when they were drawn."""

    async def status(self, request: web.Request) -> web.Response:
        """The status page, or what is inside it for a page that is there already."""
        wish, fragment, packed = wished(request.query), "fragment" in request.query, _packed(request)

        async def make() -> bytes:
            return await self._status(wish, fragment=fragment, packed=packed)

        return _html(await self.shared.get(("page", wish, fragment, packed), make), packed=packed)

    async def job(self, request: web.Request) -> web.Response:
        """One job, with a page of its events."""
        given = query.only(request.query, "fragment", "after")
        org, job_id = request.match_info["org"], request.match_info["job_id"]
        fragment, packed = "fragment" in given, _packed(request)
        file = await self.reader.job(org, job_id)
        if file is None:
            gone = partial(jobpage.gone, org, job_id, self.now(), fragment=fragment)
            # a page that is open already shows it, as the news that it is
            return await self._rendered(gone, packed=packed, status=200 if fragment else 404)
        events = await self.reader.events(org, job_id, limit=_EVENTS, after=given.get("after"))
        measured = await self.reader.story(org, job_id, _MEASUREMENTS)
        story = jobpage.Story(file=file, measured=measured, events=events, first="after" not in given, at=self.now())
        return await self._rendered(partial(jobpage.render, story, fragment=fragment), packed=packed)

    async def _rendered(self, render: Callable[[], bytes], *, packed: bool, status: int = 200) -> web.Response:
        """A page, made in a worker thread."""
        content = await to_thread.run_sync(lambda: _pack(render(), packed=packed), limiter=self.threads)
        return _html(content, packed=packed, status=status)

    async def _status(self, wish: Wish, *, fragment: bool, packed: bool) -> bytes:
        seen = await self.look()
        selection = await to_thread.run_sync(page.select, seen.snapshot, wish, limiter=self.threads)
        dead = await self.reader.deliveries(state="dead", limit=_DEAD_LETTERS)
        sparks = await self._drawn(selection.active.shown)
        beside = page.Beside(sparks=sparks, dead=dead.items, parked=self.parked(), retention=seen.retention)
        health = self.health.copy()

        def show() -> bytes:
            html = page.render(seen.snapshot, health, wish=wish, selection=selection, beside=beside, fragment=fragment)
            return _pack(html, packed=packed)

        return await to_thread.run_sync(show, limiter=self.threads)

    async def _drawn(self, jobs: tuple[Tracked, ...]) -> page.Sparks:
        """The small curves of these jobs; those whose training went on are drawn anew."""
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
        return False  # nothing was measured yet
    return drawn is None or drawn[0] != training


def _packed(request: web.Request) -> bool:
    return accepts_gzip(",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, [])))


def _pack(html: bytes, *, packed: bool) -> bytes:
    return gzip.compress(html, compresslevel=1, mtime=0) if packed else html


def _html(content: bytes, *, packed: bool, status: int = 200) -> web.Response:
    headers = {"Content-Security-Policy": POLICY, hdrs.VARY: "Accept-Encoding"}
    if packed:
        headers[hdrs.CONTENT_ENCODING] = "gzip"
    return web.Response(body=content, status=status, content_type="text/html", charset="utf-8", headers=headers)
