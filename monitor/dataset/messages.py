"""What a chat message may hold, as OpenAI's fine-tuning takes it: roles, contents, tool calls, weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Message = Mapping[str, Any]

_ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")


class BadExample(Exception):
    """Why a line is no training example; a sentence whose subject is the line."""


def spoken_by(messages: Sequence[Message], role: str) -> bool:
    """Whether somebody in this role says something."""
    return any(message["role"] == role for message in messages)


def check_messages(messages: object, where: str) -> list[Message]:
    """The messages, if they are some; raises BadExample."""
    if messages is None:
        raise BadExample(f"has no {where}")
    if not isinstance(messages, list) or not messages:
        raise BadExample(f"{where} is not a list of messages" if messages else f"{where} is an empty list")
    for number, message in enumerate(messages, start=1):
        _check_message(message, f"message {number}" if where == '"messages"' else f"message {number} of {where}")
    return messages


def _check_message(message: object, at: str) -> None:
    if not isinstance(message, dict):
        raise BadExample(f"{at} is not an object")
    role = message.get("role")
    if role not in _ROLES:
        raise BadExample(f"{at} has no role" if role is None else f"{at} has an unknown role: {_shown(role)}")
    _check_content(message, role, at)
    _check_calls(message, role, at)
    _check_attributes(message, role, at)


def _check_content(message: Message, role: str, at: str) -> None:
    content = message.get("content")
    if isinstance(content, str):
        return
    if isinstance(content, list) and content:
        for part in content:
            _check_part(part, role, at)
        return
    if content is not None:
        raise BadExample(f"{at} has a content that is neither a text nor a list of parts")
    stands_in = ("tool_calls", "function_call", "refusal")
    if role != "assistant" or not any(message.get(key) for key in stands_in):
        raise BadExample(f"{at} has no content")


def _check_part(part: object, role: str, at: str) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str):
        raise BadExample(f"{at} has a content part without a type")
    if kind in {"text", "refusal"}:
        if not isinstance(part.get(kind), str):
            raise BadExample(f"{at} has a {kind} part without {kind}")
    elif kind == "image_url":
        _check_image(part.get("image_url"), role, at)
    else:
        raise BadExample(f"{at} has a content part of an unknown type: {_shown(kind)}")


def _check_image(image: object, role: str, at: str) -> None:
    if not isinstance(image, dict) or not isinstance(image.get("url"), str):
        raise BadExample(f"{at} has an image without url")
    if role != "user":
        raise BadExample(f"{at} has an image, which only the user can send")


def _check_calls(message: Message, role: str, at: str) -> None:
    calls = message.get("tool_calls")
    called = message.get("function_call")
    if (calls is not None or called is not None) and role != "assistant":
        raise BadExample(f"{at} has tool calls, which only the assistant can make")
    if called is not None:
        _check_function(called, at)
    if calls is None:
        return
    if not isinstance(calls, list):
        raise BadExample(f"{at} has tool_calls that are no list")
    for call in calls:
        if not isinstance(call, dict) or not isinstance(call.get("id"), str) or call.get("type") != "function":
            raise BadExample(f'{at} has a tool call without id or without type "function"')
        _check_function(call.get("function"), at)


def _check_function(function: object, at: str) -> None:
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadExample(f"{at} calls a function without name")
    if not isinstance(function.get("arguments"), str):
        raise BadExample(f"{at} calls a function whose arguments are not a text of JSON")


def _check_attributes(message: Message, role: str, at: str) -> None:
    name, weight = message.get("name"), message.get("weight")
    if name is not None and not isinstance(name, str):
        raise BadExample(f"{at} has a name that is not a text")
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise BadExample(f"{at} answers no tool call: tool_call_id is absent")
    if role == "function" and name is None:
        raise BadExample(f"{at} is from a function without name")
    if weight is None:
        return
    if isinstance(weight, bool) or weight not in (0, 1):
        raise BadExample(f"{at} has a weight other than 0 or 1: {_shown(weight)}")
    if role != "assistant":
        raise BadExample(f"{at} has a weight, which only the assistant's messages can have")


def check_definitions(example: Mapping[str, Any]) -> None:
    """Raises BadExample where the tools of an example are none."""
    tools, functions = example.get("tools"), example.get("functions")
    parallel = example.get("parallel_tool_calls")
    if tools is not None:
        _check_list(tools, '"tools"', nested="function")
    if functions is not None:
        _check_list(functions, '"functions"', nested=None)
    if parallel is not None and not isinstance(parallel, bool):
        raise BadExample('"parallel_tool_calls" is neither true nor false')


def _check_list(tools: object, where: str, nested: str | None) -> None:
    if not isinstance(tools, list):
        raise BadExample(f"{where} is not a list")
    for number, tool in enumerate(tools, start=1):
        function = tool.get(nested) if nested and isinstance(tool, dict) else tool
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise BadExample(f"definition {number} of {where} is not a function with a name")


def _shown(value: object) -> str:
    """A value of the file for a reason: short, on one line, with nothing that moves a terminal's cursor."""
    text = repr(value) if not isinstance(value, str) else value
    clean = "".join(char if char.isprintable() else "?" for char in text[:40])
    return f'"{clean}…"' if len(text) > 40 else f'"{clean}"'
