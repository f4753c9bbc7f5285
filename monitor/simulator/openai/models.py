"""OpenAI's `/models` and `/chat/completions`: base models and an organisation's tuned models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web

from monitor.simulator import errors
from monitor.simulator.dataset import count_tokens, message_texts
from monitor.simulator.dialect import ApiCall, Route, Stream
from monitor.simulator.draws import derived
from monitor.simulator.models import ALIASES, BASES, Base, base_of
from monitor.simulator.orgs import Caller, Org
from monitor.simulator.simulation import Simulation, Tokens
from monitor.simulator.training import snapshots

_ANSWER = (
    "Fine-tuning is the process of taking a model that has already been trained and training it further on your own "
    "examples, so that it performs better at your task."
)
_MISSPELT = {"process": "proccess", "already": "allready", "performs": "preforms"}
_PER_MESSAGE = 4
_CACHED_FROM = 1024
"""Prompts shorter than this are never cached; longer ones are, in blocks of 128 tokens."""


def list_models(call: ApiCall) -> dict[str, Any]:
    return {"object": "list", "data": _listed(call)}


def retrieve(call: ApiCall) -> dict[str, Any]:
    wanted = call.params["model"]
    found = next((each for each in _listed(call) if each["id"] == wanted), None)
    if found is None:
        raise errors.no_such_model(wanted)
    return found


async def complete(request: web.Request, simulation: Simulation, caller: Caller) -> web.StreamResponse:
    """POST /chat/completions: a completion as JSON or as server-sent events."""
    body = errors.json_object(await request.read())
    if not isinstance(body.get("model"), str):
        raise errors.missing("model")
    model, base = _resolve(simulation, caller.org, body["model"])
    if not base.chat:
        message = "This is not a chat model and thus not supported in the v1/chat/completions endpoint."
        raise errors.ApiError(404, f"{message} Did you mean to use v1/completions?", param="model")
    messages, with_usage = _messages(body), _wants_usage(body)
    content = answer(messages)
    tokens = _weigh(messages, content)
    whole = _completion(model, content, tokens, now=simulation.now())
    simulation.record(caller, model, tokens)
    if body.get("stream"):
        return await _stream(request, whole, with_usage=with_usage)
    return web.json_response(whole)


MODELS = (
    Route("GET", "/models", list_models),
    Route("GET", "/models/{model}", retrieve),
    Stream("POST", "/chat/completions", complete),
)


def _listed(call: ApiCall) -> list[dict[str, Any]]:
    """The public models (snapshots and aliases), then each tuned model with its snapshots."""
    shutdowns = call.simulation.shutdowns
    bases = {base.id: base for base in BASES.values() if base.provider == "openai"}
    public = {**bases, **{alias: BASES[base] for alias, base in ALIASES.items()}}
    return [
        _model_json(name, created=base.created, owner="system", shutdowns=shutdowns) for name, base in public.items()
    ] + [
        _model_json(name, created=int(job.plan.finished_at or 0), owner=call.org.id, shutdowns=shutdowns)
        for job in call.simulation.tuned_models(call.org)
        for _, name in reversed(snapshots(job))
    ]


def _model_json(model: str, *, created: int, owner: str, shutdowns: Mapping[str, str]) -> dict[str, Any]:
    """A model as `/v1/models` returns it. A tuned model is shut down with its base, possibly by `shutdowns`."""
    base = base_of(model)
    shutdown = shutdowns.get(base.id, base.shutdown_date) if base else None
    return {"id": model, "object": "model", "created": created, "owned_by": owner, "shutdown_date": shutdown}


def _resolve(simulation: Simulation, org: Org, model: str) -> tuple[str, Base]:
    """The model's full name and its base. Raises ApiError 404."""
    base = BASES.get(ALIASES.get(model, model))
    if base is not None:
        return base.id, base
    job = simulation.tuned(org, model)
    if job is None:
        raise errors.no_such_model(model)
    return (model if model.count(":") > 2 else job.fine_tuned_model), job.spec.base


def _messages(body: Mapping[str, Any]) -> list[Any]:
    """The messages of a request. Raises ApiError 400."""
    messages = body.get("messages")
    if messages is None:
        raise errors.missing("messages")
    if not isinstance(messages, list):
        raise errors.bad_type("messages", "an array of objects", messages)
    if not messages:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array."
        raise errors.bad("messages", message, "empty_array")
    return messages


def _wants_usage(body: Mapping[str, Any]) -> bool:
    """Whether a stream shall end with its usage. Raises ApiError 400."""
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise errors.bad_type("stream_options", "an object", options)
    return bool(options.get("include_usage"))


def answer(messages: list[Any]) -> str:
    """The answer: always the same text, except for a model that is told to misspell."""
    misspell = any("misspell" in text for text in message_texts(messages))
    return " ".join(_MISSPELT.get(word, word) if misspell else word for word in _ANSWER.split())


def _weigh(messages: list[Any], content: str) -> Tokens:
    """The tokens of a request, by the rule for files plus a few per message."""
    prompt = sum(map(count_tokens, message_texts(messages))) + _PER_MESSAGE * len(messages)
    cached = prompt // 128 * 128 if prompt >= _CACHED_FROM else 0
    return Tokens(prompt, count_tokens(content), cached)


def _completion(model: str, content: str, tokens: Tokens, *, now: float) -> dict[str, Any]:
    """The complete response."""
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    return {
        "id": f"chatcmpl-{derived(29, model, content, now)}",
        "object": "chat.completion",
        "created": int(now),
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": _usage_json(tokens),
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _usage_json(tokens: Tokens) -> dict[str, Any]:
    """The `usage` of a completion."""
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        "prompt_tokens_details": {"cached_tokens": tokens.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _chunks(whole: Mapping[str, Any], *, with_usage: bool) -> Iterator[str]:
    """The server-sent events that make up the response `whole`."""
    content = whole["choices"][0]["message"]["content"]
    words = content.split(" ")
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word if index == 0 else f" {word}"} for index, word in enumerate(words)]
    for delta in deltas:
        yield _chunk(whole, [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}])
    yield _chunk(whole, [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}])
    if with_usage:
        yield _chunk(whole, [], whole["usage"])
    yield "data: [DONE]\n\n"


def _chunk(whole: Mapping[str, Any], choices: list[Any], usage: Any = None) -> str:
    shared = {key: whole[key] for key in ("id", "created", "model", "service_tier", "system_fingerprint")}
    return f"data: {json.dumps({**shared, 'object': 'chat.completion.chunk', 'choices': choices, 'usage': usage})}\n\n"


async def _stream(request: web.Request, whole: dict[str, Any], *, with_usage: bool) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    for chunk in _chunks(whole, with_usage=with_usage):
        await response.write(chunk.encode())
    await response.write_eof()
    return response
