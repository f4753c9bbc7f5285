"""Counts the tokens and images of an example; for chats by the rule of OpenAI's cookbook.

That rule is 3 for each message plus its role and content, 1 plus the text for a name, and 3 at the end. A tool call
counts its name and arguments, a definition its JSON; OpenAI encodes both in a form of its own, which may be a few
tokens more or fewer. Images count 0. https://developers.openai.com/cookbook/examples/chat_finetuning_data_prep
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from monitor.dataset.messages import OUTPUTS, Example, Message
from monitor.dataset.rules import Format, Rules, Schema
from monitor.dataset.vendors import images_in, texts
from monitor.dataset.vocabulary import Count

_PER_MESSAGE: Final = 3
_PER_NAME: Final = 1
_REPLY: Final = 3
_encode = msgspec.json.Encoder().encode


def tokens_of(example: Example, rules: Rules, count: Count) -> int:
    """The tokens of a valid example."""
    if rules.schema is not Schema.OPENAI:
        return sum(map(count, texts(example)))
    if rules.format in {Format.COMPLETION, Format.TEXT}:
        return sum(count(example[key]) for key in ("prompt", "completion", "text") if isinstance(example.get(key), str))
    if rules.format is not Format.PREFERENCE:
        return _conversation(example, count)
    return _conversation(example["input"], count) + sum(_messages(example[key], count) for key in OUTPUTS)


def images_of(example: Example, rules: Rules) -> int:
    """The number of images in a valid example."""
    if rules.schema is not Schema.OPENAI:
        return images_in(example)
    messages = (example["input"] if rules.format is Format.PREFERENCE else example).get("messages", ())
    contents = (message.get("content") for message in messages)
    return sum(part["type"] == "image_url" for content in contents if isinstance(content, list) for part in content)


def _conversation(example: Example, count: Count) -> int:
    definitions = [*(example.get("tools") or ()), *(example.get("functions") or ())]
    return _messages(example["messages"], count) + _REPLY + sum(count(_encode(one).decode()) for one in definitions)


def _messages(messages: Iterable[Message], count: Count) -> int:
    tokens = 0
    for message in messages:
        tokens += _PER_MESSAGE + count(message["role"])
        content = message.get("content")
        tokens += count(content) if isinstance(content, str) else sum(map(count, _parts(content or ())))
        if len(message) > 2:
            tokens += sum(map(count, _beside_content(message))) + (_PER_NAME if message.get("name") else 0)
    return tokens


def _parts(parts: Iterable[Message]) -> Iterator[str]:
    return (part[part["type"]] for part in parts if part["type"] != "image_url")


def _beside_content(message: Message) -> Iterator[str]:
    for key in ("name", "refusal", "reasoning", "reasoning_content"):
        if isinstance(message.get(key), str):
            yield message[key]
    functions = [call["function"] for call in message.get("tool_calls") or ()]
    for function in [*functions, message.get("function_call")]:
        if function is not None:
            yield function["name"]
            yield function["arguments"]
