"""Which format a line of a training file has, and whether it is an example in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from monitor.dataset.messages import BadExample, check_definitions, check_messages, spoken_by
from monitor.domain.pricing import base_model

__all__ = ["BadExample", "Format", "check", "expected_format", "format_of", "parsed"]

Object = Mapping[str, Any]


class Format(StrEnum):
    """What the lines of a training file look like."""

    CHAT = "chat"
    COMPLETION = "completion"
    PREFERENCE = "preference"
    REINFORCEMENT = "reinforcement"


_KEYS: Final = (
    (Format.PREFERENCE, ("preferred_output", "non_preferred_output", "input")),
    (Format.CHAT, ("messages",)),
    (Format.COMPLETION, ("prompt", "completion")),
)
_SOUGHT: Final = {
    Format.CHAT: '"messages"',
    Format.REINFORCEMENT: '"messages"',
    Format.PREFERENCE: '"input", "preferred_output" and "non_preferred_output"',
    Format.COMPLETION: '"prompt" and "completion"',
}
_decode = msgspec.json.Decoder().decode


def expected_format(model: str, method: str | None) -> Format | None:
    """The format that a way of tuning takes; None where both a chat and a preference format would do."""
    base = base_model(model)
    if method == "dpo":
        return Format.PREFERENCE
    if method == "reinforcement" or (method is None and base.startswith(("o1", "o3", "o4"))):
        return Format.REINFORCEMENT
    if base in {"babbage-002", "davinci-002", "davinci", "curie", "babbage", "ada"}:
        return Format.COMPLETION
    return Format.CHAT if method == "supervised" else None


def parsed(line: bytes) -> Object:
    """The object on a line; raises BadExample."""
    try:
        value = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadExample(_fault(line)) from None
    if not isinstance(value, dict):
        raise BadExample("is not a JSON object")
    return value


def _fault(line: bytes) -> str:
    """Why a line is no JSON, asked of the library whose answers people know. Slower, and only for bad lines."""
    try:
        json.loads(line.decode())
    except UnicodeDecodeError as error:
        return f"is not UTF-8: byte {error.start + 1} is 0x{line[error.start]:02x}"
    except json.JSONDecodeError as error:
        return f"is not JSON: {error.msg[0].lower()}{error.msg[1:]}, at character {error.pos + 1}"
    except RecursionError:
        return "is nested too deeply"
    except ValueError:
        return "has a number of too many digits"
    return "has NaN, Infinity or half of a surrogate pair in it, which stand for nothing in JSON"


def format_of(example: Object) -> Format | None:
    """The format an object seems to have; None where it has none of the keys."""
    return next((name for name, keys in _KEYS if any(key in example for key in keys)), None)


def check(example: Object, wanted: Format) -> None:
    """Raises BadExample with the first reason why the object is no example in that format."""
    seen = format_of(example)
    if seen is None:
        raise BadExample(f"has no {_SOUGHT[wanted]}")
    same = Format.CHAT if wanted is Format.REINFORCEMENT else wanted
    if seen is not same:
        raise BadExample(f"is in the {seen} format, where {wanted} is expected")
    _CHECKS[wanted](example)


def _chat(example: Object) -> None:
    messages = check_messages(example.get("messages"), '"messages"')
    check_definitions(example)
    if not spoken_by(messages, "assistant"):
        raise BadExample("has no message from the assistant")


def _reinforcement(example: Object) -> None:
    messages = check_messages(example.get("messages"), '"messages"')
    check_definitions(example)
    if messages[-1]["role"] != "user":
        raise BadExample(f"ends with a message from the {messages[-1]['role']}, where one from the user is expected")


def _preference(example: Object) -> None:
    given = example.get("input")
    if not isinstance(given, dict):
        raise BadExample('has no "input" object')
    check_messages(given.get("messages"), '"input.messages"')
    check_definitions(given)
    for key in ("preferred_output", "non_preferred_output"):
        if not spoken_by(check_messages(example.get(key), f'"{key}"'), "assistant"):
            raise BadExample(f'has no message from the assistant in "{key}"')


def _completion(example: Object) -> None:
    for key in ("prompt", "completion"):
        if not isinstance(example.get(key), str):
            raise BadExample(f'"{key}" is not a text' if key in example else f'has no "{key}"')


_CHECKS: Final[dict[Format, Callable[[Object], None]]] = {
    Format.CHAT: _chat,
    Format.COMPLETION: _completion,
    Format.PREFERENCE: _preference,
    Format.REINFORCEMENT: _reinforcement,
}
