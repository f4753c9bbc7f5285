"""How many tokens an example is, by the rule of OpenAI's cookbook for chats.

That is 3 for each message, its role and content, 1 and the text for a name, and 3 at the end.
A tool call counts its name and arguments, a definition its JSON; OpenAI writes both in its own way, which may be a few
tokens more or fewer. Images count nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from monitor.dataset.example import Format
from monitor.dataset.vocabulary import Count

_PER_MESSAGE: Final = 3
_PER_NAME: Final = 1
_REPLY: Final = 3
_encode = msgspec.json.Encoder().encode


def tokens_of(example: Mapping[str, Any], form: Format, count: Count) -> int:
    """The tokens of an example that was found good."""
    if form is Format.COMPLETION:
        return count(example["prompt"]) + count(example["completion"])
    if form is not Format.PREFERENCE:
        return _conversation(example, count)
    answers = (_messages(example[key], count) for key in ("preferred_output", "non_preferred_output"))
    return _conversation(example["input"], count) + sum(answers)


def images_of(example: Mapping[str, Any], form: Format) -> int:
    """How many images are in an example that was found good."""
    if form is Format.COMPLETION:
        return 0
    messages = (example["input"] if form is Format.PREFERENCE else example)["messages"]
    contents = (message.get("content") for message in messages)
    return sum(part["type"] == "image_url" for content in contents if isinstance(content, list) for part in content)


def _conversation(given: Mapping[str, Any], count: Count) -> int:
    tokens = _messages(given["messages"], count) + _REPLY
    for key in ("tools", "functions"):
        tokens += sum(count(_json(definition)) for definition in given.get(key) or ())
    return tokens


def _messages(messages: Iterable[Mapping[str, Any]], count: Count) -> int:
    tokens = 0
    for message in messages:
        tokens += _PER_MESSAGE + count(message["role"])
        content = message.get("content")
        tokens += count(content) if isinstance(content, str) else sum(map(count, _texts(content or ())))
        if len(message) > 2:
            tokens += sum(map(count, _further(message))) + (_PER_NAME if message.get("name") else 0)
    return tokens


def _texts(parts: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    return (part[part["type"]] for part in parts if part["type"] != "image_url")


def _further(message: Mapping[str, Any]) -> Iterator[str]:
    """What a message says beside its content."""
    for key in ("name", "refusal"):
        if isinstance(message.get(key), str):
            yield message[key]
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    for function in [*calls, message.get("function_call")]:
        if function is not None:
            yield function["name"]
            yield function["arguments"]


def _json(definition: object) -> str:
    return _encode(definition).decode()
