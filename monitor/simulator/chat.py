"""Chat completions: what the simulated models answer, and what it counts as."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from monitor.simulator import errors
from monitor.simulator.draws import derived
from monitor.simulator.training import count_tokens, message_texts
from monitor.simulator.usage import Tokens

_ANSWER = (
    "Fine-tuning is the process of taking a model that has already been trained and training it further on your own "
    "examples, so that it performs better at your task."
)
_MISSPELT = {"process": "proccess", "already": "allready", "performs": "preforms"}
_PER_MESSAGE = 4
_CACHED_FROM = 1024
"""Prompts shorter than this are never cached; longer ones are, in blocks of 128."""


def read_messages(body: Mapping[str, Any]) -> list[Any]:
    """The messages of a request; raises ApiError 400."""
    messages = body.get("messages")
    if messages is None:
        raise errors.missing("messages")
    if not isinstance(messages, list):
        raise errors.bad_type("messages", "an array of objects", messages)
    if not messages:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array."
        raise errors.bad("messages", message, "empty_array")
    return messages


def wants_usage(body: Mapping[str, Any]) -> bool:
    """Whether a stream is to end with what it counted as; raises ApiError 400."""
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise errors.bad_type("stream_options", "an object", options)
    return bool(options.get("include_usage"))


def answer(messages: list[Any]) -> str:
    """Always the same, but for a model that is told to misspell."""
    misspell = any("misspell" in text for text in message_texts(messages))
    return " ".join(_MISSPELT.get(word, word) if misspell else word for word in _ANSWER.split())


def weigh(messages: list[Any], content: str) -> Tokens:
    """What the request counts as; the same rule as for files, plus a few tokens around each message."""
    prompt = sum(map(count_tokens, message_texts(messages))) + _PER_MESSAGE * len(messages)
    cached = prompt // 128 * 128 if prompt >= _CACHED_FROM else 0
    return Tokens(prompt, count_tokens(content), cached)


def completion(model: str, content: str, tokens: Tokens, *, number: int, now: float) -> dict[str, Any]:
    """The whole answer."""
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    return {
        "id": _id(model, number, now),
        "object": "chat.completion",
        "created": int(now),
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage_json(tokens),
        "service_tier": "default",
        "system_fingerprint": None,
    }


def usage_json(tokens: Tokens) -> dict[str, Any]:
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


def chunks(whole: Mapping[str, Any], *, with_usage: bool) -> Iterator[str]:
    """The server-sent events that together say `whole`."""
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


def _id(model: str, number: int, now: float) -> str:
    return f"chatcmpl-{derived(29, model, number, now)}"
