"""Warnings about valid examples: what the rules allow but is probably a mistake."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from monitor.dataset.messages import OUTPUTS, Example, Message, shown, unknown_keys
from monitor.dataset.rules import Format, OtherKeys, Rules, Schema
from monitor.dataset.vendors import answers, other_keys

_SPECIAL: Final = re.compile(rb"(?:<|\\u003[cC])(\|[\w.:-]{1,40}\|)(?:>|\\u003[eE])")
_COLONS: Final = ((b'":', b'\\":'), (b'" :', b'\\" :'))
"""How a key ends in JSON, and the same characters escaped inside a text."""
_decode: Final = msgspec.json.Decoder().decode


def warnings(example: Example, line: bytes, rules: Rules) -> Iterator[str]:
    """Yield warnings as sentences without their subject, which is the line."""
    yield from _duplicate_keys(example, line)
    if (b"|>" in line or b"|\\u003" in line) and (special := _SPECIAL.search(line)):
        yield f"has <{special[1].decode()}> in a text: it looks like a special token, but is ordinary text"
    if rules.schema is not Schema.OPENAI:
        yield from other_keys(example, rules) if rules.other_keys is OtherKeys.IGNORED else ()
        yield from _equal_or_empty(answers(example, rules))
        return
    if rules.other_keys is OtherKeys.IGNORED:
        yield from unknown_keys(example, rules)
    if rules.format is Format.PREFERENCE:
        yield from _preference(example, rules)
    elif "messages" in example:
        messages = example["messages"]
        yield from _tool_use(messages, _declared(example))
        if rules.format is Format.CHAT:
            yield from _last(messages[-1])
        weights = [message.get("weight") for message in messages if message["role"] == "assistant"]
        if weights and all(weight == 0 for weight in weights):
            yield "has only weights of 0, so nothing is learned from it"


def _last(message: Message) -> Iterator[str]:
    if message["role"] != "assistant":
        yield f"ends with a message from the {message['role']}, after which nothing is learned"
    else:
        yield from _equal_or_empty([_answer(message)])


def _answer(message: Message) -> object:
    """The part of a message that is learned: its text, if it has nothing else."""
    learned = {key: value for key, value in message.items() if value and key not in {"role", "name", "weight"}}
    return message.get("content") if learned.keys() <= {"content"} else learned


def _equal_or_empty(answers: Sequence[object]) -> Iterator[str]:
    """Warn of an empty answer, or of equal answers in a preference."""
    if len(answers) == 2 and answers[0] == answers[1]:
        yield "has the same preferred and non-preferred output"
    if any(isinstance(answer, str) and not answer.strip() for answer in answers):
        yield "has an empty answer"


def _preference(example: Example, rules: Rules) -> Iterator[str]:
    preferred, other = (example[key] for key in OUTPUTS)
    yield from _equal_or_empty(
        [_answer(output[0]) if len(output) == 1 else [_answer(one) for one in output] for output in (preferred, other)]
    )
    given = example["input"]
    if given["messages"][-1]["role"] == "assistant":
        yield 'ends "input.messages" with a message from the assistant, which the answers would follow'
    if rules.other_keys is OtherKeys.REFUSED and any("weight" in message for message in (*preferred, *other)):
        yield "has a weight in an answer, which is not documented for preference files"
    found: dict[str, None] = {}
    for output in (preferred, other):
        found.update(dict.fromkeys(_tool_use([*given["messages"], *output], _declared(given))))
    yield from found


def _declared(example: Mapping[str, Any]) -> set[str]:
    tools = [tool["function"]["name"] for tool in example.get("tools") or ()]
    return {*tools, *(function["name"] for function in example.get("functions") or ())}


def _tool_use(messages: Iterable[Message], declared: set[str]) -> Iterator[str]:
    """Warn of calls without results, results without calls, undeclared tools, and arguments that are no object."""
    waiting: dict[str, int] = {}
    role = ""
    for number, message in enumerate(messages, start=1):
        role = message["role"]
        if role in {"tool", "function"}:
            answered = message.get("tool_call_id" if role == "tool" else "name")
            if answered is not None and waiting.pop(answered, None) is None:
                yield f"message {number} is the result of a call that is not made before it: {shown(answered)}"
            continue
        yield from _unanswered(waiting)
        waiting = {}
        if message.get("tool_calls") == []:
            yield f"message {number} has an empty list of tool calls"
        for key, function in _calls(message) if role == "assistant" else ():
            yield from _function(function, f"message {number}", declared)
            if key is not None:
                waiting[key] = number
    if role != "assistant":  # a call in the last message is what the model should learn to make
        yield from _unanswered(waiting)


def _unanswered(waiting: Mapping[str, int]) -> Iterator[str]:
    return (f"message {number} has a tool call without a result: {shown(key)}" for key, number in waiting.items())


def _calls(message: Message) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
    """Each call's function, with the key by which its result refers to the call."""
    for call in message.get("tool_calls") or ():
        yield call.get("id"), call["function"]
    if (function := message.get("function_call")) is not None:
        yield function["name"], function


def _function(function: Mapping[str, Any], at: str, declared: set[str]) -> Iterator[str]:
    if function["name"] not in declared:
        yield f"{at} calls a tool that is not declared: {shown(function['name'])}"
    try:
        if isinstance(_decode(function["arguments"]), dict):
            return
    except (msgspec.DecodeError, RecursionError):
        pass
    yield f"{at} calls {shown(function['name'])} with arguments that are not a JSON object"


def _duplicate_keys(example: Example, line: bytes) -> Iterator[str]:
    """Warn of keys that occur twice in one object: only the last value counts.

    For most lines it is enough to compare the number of keys of the parsed object with the number that the text seems
    to have.
    """
    if sum(line.count(colon) - line.count(escaped) for colon, escaped in _COLONS) <= _keys_in(example):
        return
    found: dict[str, None] = {}

    def note(pairs: list[tuple[str, Any]]) -> None:
        keys = [key for key, _ in pairs]
        found.update((key, None) for key in keys if keys.count(key) > 1)

    json.loads(line, object_pairs_hook=note)
    yield from (f"has the key {shown(key)} twice in one object; the last one counts" for key in found)


def _keys_in(value: Mapping[str, Any] | list[Any]) -> int:
    keys, items = (0, value) if isinstance(value, list) else (len(value), value.values())
    for item in items:
        if isinstance(item, dict | list):
            keys += _keys_in(item)
    return keys
