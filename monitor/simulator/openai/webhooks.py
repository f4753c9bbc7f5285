"""OpenAI's `/webhook_endpoints`: registers and lists webhook endpoints, and rotates their secrets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aiohttp import ClientSession, web

from monitor.simulator import errors
from monitor.simulator.dialect import ApiCall, Route, Stream
from monitor.simulator.draws import derived
from monitor.simulator.openai.jobs import read_text
from monitor.simulator.openai.pages import cut, named
from monitor.simulator.orgs import Caller
from monitor.simulator.simulation import Simulation
from monitor.simulator.webhooks import EVENT_TYPES, Endpoint, Event, new_secret, send

_MOST_SECRETS = 2


def list_endpoints(call: ApiCall) -> dict[str, Any]:
    endpoints = list(call.simulation.endpoints(call.org).values())[::-1]
    shown, more = cut(endpoints, call.query, default=20, name=lambda each: each.id)
    return named([endpoint_json(each) for each in shown], more=more)


def create(call: ApiCall) -> dict[str, Any]:
    body = call.body()
    url = read_text(body, "url", required=True) or ""
    known = call.simulation.endpoints(call.org)
    made = derived(24, call.org.key, "endpoint", len(known), call.now, url)
    endpoint = Endpoint(
        id=f"whe_{made}",
        url=url,
        secrets=(new_secret(call.org.key, made),),
        name=read_text(body, "name") or url,
        event_types=_event_types(body),
        created_at=call.now,
        updated_at=call.now,
    )
    return _with_secret(call.simulation.keep_endpoint(call.org, endpoint))


def retrieve(call: ApiCall) -> dict[str, Any]:
    return endpoint_json(_endpoint(call))


def update(call: ApiCall) -> dict[str, Any]:
    found, body = _endpoint(call), call.body()
    changed = replace(
        found,
        url=read_text(body, "url") or found.url,
        name=read_text(body, "name") or found.name,
        event_types=_event_types(body) if "event_types" in body else found.event_types,
        updated_at=call.now,
    )
    return endpoint_json(call.simulation.keep_endpoint(call.org, changed))


def delete(call: ApiCall) -> dict[str, Any]:
    found = _endpoint(call)
    del call.simulation.endpoints(call.org)[found.id]
    return {"id": found.id, "object": "webhook_endpoint.deleted", "deleted": True}


def rotate(call: ApiCall) -> dict[str, Any]:
    """Rotate the secret. The old one stays valid for a day if this is requested."""
    found, keep = _endpoint(call), call.content and call.body().get("keep_old_secret_active_for_24_hours")
    made = new_secret(found.secrets[0], call.now, "rotated")
    secrets = (made, *found.secrets)[:_MOST_SECRETS] if keep else (made,)
    return _with_secret(call.simulation.keep_endpoint(call.org, replace(found, secrets=secrets, updated_at=call.now)))


async def send_sample(request: web.Request, simulation: Simulation, caller: Caller) -> web.Response:
    """Send a sample event now and return the status code of the answer."""
    found = _found(simulation, caller, request.match_info["endpoint"])
    event_type = errors.json_object(await request.read()).get("event_type")
    if event_type not in EVENT_TYPES:
        raise errors.bad("event_type", f"Invalid value: '{event_type}'.", "invalid_value")
    async with ClientSession() as session:
        status = await send(session, found, Event(event_type, simulation.now(), "test"))
    if status is None:
        raise errors.ApiError(502, "The endpoint did not answer.", type="server_error")
    shown = {"object": "webhook_endpoint.test", "webhook_endpoint_id": found.id, "event_type": event_type}
    return web.json_response({**shown, "status_code": status, "success": True})


def list_event_types(_asked: ApiCall) -> dict[str, Any]:
    return {"object": "list", "data": list(EVENT_TYPES)}


WEBHOOKS = (
    Route("GET", "/webhook_endpoints", list_endpoints),
    Route("POST", "/webhook_endpoints", create),
    Route("GET", "/webhook_endpoints/{endpoint}", retrieve),
    Route("POST", "/webhook_endpoints/{endpoint}", update),
    Route("DELETE", "/webhook_endpoints/{endpoint}", delete),
    Route("POST", "/webhook_endpoints/{endpoint}/rotate_secret", rotate),
    Stream("POST", "/webhook_endpoints/{endpoint}/test", send_sample),
    Route("GET", "/webhook_event_types", list_event_types),
)


def endpoint_json(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint as the API returns it, with only the end of its secret."""
    return {
        "object": "webhook_endpoint",
        "id": endpoint.id,
        "name": endpoint.name,
        "url": endpoint.url,
        "event_types": list(endpoint.event_types),
        "created_at": int(endpoint.created_at),
        "updated_at": int(endpoint.updated_at),
        "signing_secret_hint": f"whsec_...{endpoint.secrets[0][-4:]}",
    }


def _with_secret(endpoint: Endpoint) -> dict[str, Any]:
    return {**endpoint_json(endpoint), "signing_secret": endpoint.secrets[0]}


def _event_types(body: dict[str, Any]) -> tuple[str, ...]:
    wanted = body.get("event_types")
    if not isinstance(wanted, list) or not wanted:
        raise errors.bad_type("event_types", "an array of strings", wanted)
    unknown = [each for each in wanted if each not in EVENT_TYPES]
    if unknown:
        raise errors.bad("event_types", f"Invalid value: '{unknown[0]}'.", "invalid_value")
    return tuple(wanted)


def _endpoint(call: ApiCall) -> Endpoint:
    return _found(call.simulation, call.caller, call.params["endpoint"])


def _found(simulation: Simulation, caller: Caller, name: str) -> Endpoint:
    found = simulation.endpoints(caller.org).get(name)
    if found is None:
        raise errors.ApiError(404, f"No such webhook endpoint: {name}", param="webhook_endpoint_id")
    return found
