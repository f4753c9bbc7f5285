"""`/v1/models` and `/v1/chat/completions`: the base models, and those that an organisation has tuned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from aiohttp import web

from monitor.simulator import chat, errors
from monitor.simulator.catalogue import ALIASES, BASES, Base, base_models, model_json
from monitor.simulator.checkpoints import snapshots
from monitor.simulator.door import Door, read_json
from monitor.simulator.orgs import Caller, Org
from monitor.simulator.simulation import Simulation


@dataclass(frozen=True)
class ModelRoutes:
    """Models and completions over a simulation."""

    simulation: Simulation
    numbers: Iterator[int] = field(default_factory=count)

    def routes(self, door: Door) -> list[web.AbstractRouteDef]:
        """Every route, guarded."""
        return [
            web.get("/v1/models", door.guard(self.list_models)),
            web.get("/v1/models/{model}", door.guard(self.retrieve)),
            web.post("/v1/chat/completions", door.guard(self.complete)),
        ]

    async def list_models(self, _request: web.Request, caller: Caller) -> web.Response:
        return web.json_response({"object": "list", "data": self._listed(caller.org)})

    async def retrieve(self, request: web.Request, caller: Caller) -> web.Response:
        wanted = request.match_info["model"]
        found = next((each for each in self._listed(caller.org) if each["id"] == wanted), None)
        if found is None:
            raise errors.no_such_model(wanted)
        return web.json_response(found)

    async def complete(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        body = await read_json(request)
        if not isinstance(body.get("model"), str):
            raise errors.missing("model")
        model, base = self._resolve(caller.org, body["model"])
        if not base.chat:
            message = "This is not a chat model and thus not supported in the v1/chat/completions endpoint."
            raise errors.ApiError(404, f"{message} Did you mean to use v1/completions?", param="model")
        messages, with_usage = chat.read_messages(body), chat.wants_usage(body)
        content = chat.answer(messages)
        tokens = chat.weigh(messages, content)
        whole = chat.completion(model, content, tokens, number=next(self.numbers), now=self.simulation.now())
        self.simulation.record(caller, model, tokens)
        if body.get("stream"):
            return await _stream(request, whole, with_usage=with_usage)
        return web.json_response(whole)

    def _listed(self, org: Org) -> list[dict[str, Any]]:
        """The base models, and every tuned model with its snapshots."""
        shutdowns = self.simulation.shutdowns
        return base_models(shutdowns) + [
            model_json(name, created=int(job.plan.finished_at or 0), owner=org.id, shutdowns=shutdowns)
            for job in self.simulation.tuned_models(org)
            for _, name in reversed(snapshots(job))
        ]

    def _resolve(self, org: Org, model: str) -> tuple[str, Base]:
        """The model's full name and its base; raises ApiError 404."""
        base = BASES.get(ALIASES.get(model, model))
        if base is not None:
            return base.id, base
        job = self.simulation.tuned(org, model)
        if job is None:
            raise errors.no_such_model(model)
        named = model.count(":") > 2
        return (model if named else job.fine_tuned_model), job.spec.base


async def _stream(request: web.Request, whole: dict[str, Any], *, with_usage: bool) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    for chunk in chat.chunks(whole, with_usage=with_usage):
        await response.write(chunk.encode())
    await response.write_eof()
    return response
