"""`/v1/fine_tuning/jobs` and what is below it, and the endpoint that it replaced."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from monitor.simulator import errors
from monitor.simulator.checkpoints import checkpoint_id, checkpoint_json, listed
from monitor.simulator.door import Door, read_json
from monitor.simulator.job import Job, view
from monitor.simulator.orgs import Caller, Org
from monitor.simulator.paging import page, read_cut
from monitor.simulator.simulation import Simulation
from monitor.simulator.timeline import event_id, event_json, events

_JOBS = "/v1/fine_tuning/jobs"


@dataclass(frozen=True)
class JobRoutes:
    """The fine-tuning API over a simulation."""

    simulation: Simulation

    def routes(self, door: Door) -> list[web.AbstractRouteDef]:
        """Every route, guarded."""
        job = _JOBS + "/{job}"
        return [
            web.get(_JOBS, door.guard(self.list_jobs)),
            web.post(_JOBS, door.guard(self.create)),
            web.get(job, door.guard(self.retrieve)),
            web.get(f"{job}/events", door.guard(self.events)),
            web.get(f"{job}/checkpoints", door.guard(self.checkpoints)),
            web.post(f"{job}/cancel", door.guard(self.cancel)),
            web.post(f"{job}/pause", door.guard(self.pause)),
            web.post(f"{job}/resume", door.guard(self.resume)),
            web.route("*", "/v1/fine-tunes", _retired),
            web.route("*", "/v1/fine-tunes/{rest:.*}", _retired),
        ]

    async def create(self, request: web.Request, caller: Caller) -> web.Response:
        job = self.simulation.create_job(caller, await read_json(request))
        return web.json_response(view(job, job.created_at))

    async def list_jobs(self, request: web.Request, caller: Caller) -> web.Response:
        wanted = _wanted(request.query)
        jobs = [job for job in self.simulation.jobs(caller.org) if wanted(job.spec.metadata)]
        shown, more = page(jobs, read_cut(request.query, default=20), name=lambda job: job.id)
        now = self.simulation.now()
        return web.json_response({"object": "list", "data": [view(job, now) for job in shown], "has_more": more})

    async def retrieve(self, request: web.Request, caller: Caller) -> web.Response:
        return self._shown(self._job(request, caller))

    async def events(self, request: web.Request, caller: Caller) -> web.Response:
        job = self._job(request, caller)
        told = events(job, self.simulation.now())[::-1]
        shown, more = page(told, read_cut(request.query, default=20), name=lambda event: event_id(job, event))
        found = [event_json(job, event) for event in shown]
        return web.json_response({"object": "list", "data": found, "has_more": more})

    async def checkpoints(self, request: web.Request, caller: Caller) -> web.Response:
        job = self._job(request, caller)
        kept = listed(job, self.simulation.now())[::-1]
        shown, more = page(kept, read_cut(request.query, default=10), name=lambda each: checkpoint_id(job, each[0]))
        found = [checkpoint_json(job, step, name) for step, name in shown]
        ends = {"first_id": found[0]["id"] if found else None, "last_id": found[-1]["id"] if found else None}
        return web.json_response({"object": "list", "data": found, **ends, "has_more": more})

    async def cancel(self, request: web.Request, caller: Caller) -> web.Response:
        return self._edited(request, caller, self.simulation.cancel)

    async def pause(self, request: web.Request, caller: Caller) -> web.Response:
        return self._edited(request, caller, self.simulation.pause)

    async def resume(self, request: web.Request, caller: Caller) -> web.Response:
        return self._edited(request, caller, self.simulation.resume)

    def _job(self, request: web.Request, caller: Caller) -> Job:
        return self.simulation.job(caller.org, request.match_info["job"])

    def _edited(self, request: web.Request, caller: Caller, edit: Callable[[Org, str], Job]) -> web.Response:
        return self._shown(edit(caller.org, request.match_info["job"]))

    def _shown(self, job: Job) -> web.Response:
        return web.json_response(view(job, self.simulation.now()))


def _wanted(query: Mapping[str, str]) -> Callable[[Mapping[str, str] | None], bool]:
    """Whether a job's metadata fits `metadata[k]=v` (all of them), or `metadata=null` for jobs that have none."""
    if query.get("metadata") == "null":
        return lambda metadata: not metadata
    asked = {match[1]: value for name, value in query.items() if (match := re.fullmatch(r"metadata\[(.*)\]", name))}
    return lambda metadata: asked.items() <= (metadata or {}).items()


async def _retired(request: web.Request) -> web.StreamResponse:
    raise errors.retired(request.method, request.path)
