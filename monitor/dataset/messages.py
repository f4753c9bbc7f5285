"""Checks examples in OpenAI's format: keys, roles, contents, tool calls, weights and the order of messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from monitor.dataset.rules import Format, Images, OtherKeys, Rules

Message = Mapping[str, Any]
Example = Mapping[str, Any]

_CONVERSATION: Final = frozenset({"messages", "tools", "functions", "parallel_tool_calls"})
KEYS: Final = {
    Format.CHAT: _CONVERSATION,
    Format.REINFORCEMENT: _CONVERSATION,
    Format.PREFERENCE: frozenset({"input", "preferred_output", "non_preferred_output"}),
    Format.COMPLETION: frozenset({"prompt", "completion"}),
    Format.TEXT: frozenset({"text"}),
}
_REQUIRED: Final = {**KEYS, Format.CHAT: {"messages"}, Format.REINFORCEMENT: {"messages"}}
OUTPUTS: Final = ("preferred_output", "non_preferred_output")
_SPOKEN: Final = frozenset({"role", "content", "name", "weight"})
_MESSAGE_KEYS: Final = {
    "assistant": _SPOKEN | {"refusal", "audio", "tool_calls", "function_call", "reasoning", "reasoning_content"},
    "tool": _SPOKEN | {"tool_call_id"},
}
_REASONING: Final = frozenset({"reasoning", "reasoning_content"})
_MOST_IMAGE_BYTES: Final = 10 << 20
# https://platform.openai.com/docs/api-reference/chat/create, "tools": letters, digits, underscores and dashes.
_FUNCTION_NAME: Final = re.compile(r"[\w-]{1,64}", re.ASCII)


class BadExample(Exception):
    """Why a line is not a valid example: a sentence without its subject, which is the line."""


def shown(value: object) -> str:
    """A value of the file for an error message: short, on one line, and without control characters."""
    text = repr(value) if not isinstance(value, str) else value
    clean = "".join(char if char.isprintable() else "?" for char in text[:40])
    return f'"{clean}…"' if len(text) > 40 else f'"{clean}"'


def check_openai(example: Example, rules: Rules) -> None:
    """Check an object in OpenAI's format. Raises BadExample with the first violation."""
    _CHECKS[rules.format](example, rules)
    if rules.one_format:
        for form, keys in _REQUIRED.items():
            if not keys & _REQUIRED[rules.format] and keys <= example.keys():
                raise BadExample(f"has the keys of two formats, {rules.format} and {form}")
    if rules.other_keys is not OtherKeys.IGNORED:
        for problem in unknown_keys(example, rules):
            raise BadExample(problem)


def unknown_keys(example: Example, rules: Rules) -> Iterator[str]:
    """Describe keys of a valid example and of its messages that the format does not define."""
    if not rules.provider:  # the provider has accepted the file already
        return
    if rules.other_keys is not OtherKeys.KEPT:
        yield from (f"has an unknown key: {shown(key)}" for key in example if key not in KEYS[rules.format])
    if rules.format is Format.PREFERENCE:
        given = example["input"]
        yield from (f'has an unknown key in "input": {shown(key)}' for key in given if key not in _CONVERSATION)
        yield from _unknown_message_keys(given["messages"], ' of "input.messages"', rules)
        for output in OUTPUTS:
            yield from _unknown_message_keys(example[output], f' of "{output}"', rules)
    elif "messages" in example:
        yield from _unknown_message_keys(example["messages"], "", rules)


def _unknown_message_keys(messages: list[Message], where: str, rules: Rules) -> Iterator[str]:
    for number, message in enumerate(messages, start=1):
        known = _MESSAGE_KEYS.get(message["role"], _SPOKEN)
        if rules.other_keys is not OtherKeys.IGNORED:  # OpenAI does not accept reasoning
            known -= _REASONING
        for key in message.keys() - known:
            yield f"message {number}{where} has an unknown key: {shown(key)}"


def _check_conversation(example: Example, rules: Rules) -> None:
    messages = _check_messages(example.get("messages"), '"messages"', rules)
    _check_definitions(example, rules)
    if rules.format is Format.CHAT and not any(message["role"] == "assistant" for message in messages):
        raise BadExample("has no message from the assistant")
    _check_order(messages, rules)


def _check_preference(example: Example, rules: Rules) -> None:
    given = example.get("input")
    if not isinstance(given, dict):
        raise BadExample('has no "input" object')
    asked = _check_messages(given.get("messages"), '"input.messages"', rules)
    _check_order(asked, rules)
    if rules.open_input and asked[-1]["role"] == "assistant":
        raise BadExample('ends "input.messages" with a message from the assistant, which the answers would follow')
    _check_definitions(given, rules)
    for key in OUTPUTS:
        messages = _check_messages(example.get(key), f'"{key}"', rules)
        if not any(message["role"] == "assistant" for message in messages):
            raise BadExample(f'has no message from the assistant in "{key}"')
        if rules.one_output and len(messages) > 1:
            raise BadExample(f'has {len(messages)} messages in "{key}", where one is expected')
        for number, message in enumerate(messages, start=1):
            if message["role"] not in rules.output_roles:
                raise BadExample(f'message {number} of "{key}" is from the {message["role"]}, not from the assistant')


def _check_texts(example: Example, rules: Rules) -> None:
    for key in sorted(KEYS[rules.format], reverse=True):
        if not isinstance(example.get(key), str):
            raise BadExample(f'"{key}" is not a text' if key in example else f'has no "{key}"')


_CHECKS: Final = {
    Format.CHAT: _check_conversation,
    Format.REINFORCEMENT: _check_conversation,
    Format.PREFERENCE: _check_preference,
    Format.COMPLETION: _check_texts,
    Format.TEXT: _check_texts,
}


def _check_messages(messages: object, where: str, rules: Rules) -> list[Message]:
    if messages is None:
        raise BadExample(f"has no {where}")
    if not isinstance(messages, list) or not messages:
        raise BadExample(f"{where} is not a list of messages" if messages else f"{where} is an empty list")
    images = 0
    for number, message in enumerate(messages, start=1):
        at = f"message {number}" if where == '"messages"' else f"message {number} of {where}"
        images += _check_message(message, at, rules)
    if rules.images and rules.images.most is not None and images > rules.images.most:
        raise BadExample(f"has {images} images, where at most {rules.images.most} are taken")
    return messages


def _check_message(message: object, at: str, rules: Rules) -> int:
    """Check one message. Returns the number of its images."""
    if not isinstance(message, dict):
        raise BadExample(f"{at} is not an object")
    role = message.get("role")
    if not isinstance(role, str) or role not in rules.roles:
        _refuse_role(role, at, rules)
    images = _check_content(message, at, rules)
    _check_calls(message, at, rules)
    _check_attributes(message, at, rules)
    return images


def _refuse_role(role: object, at: str, rules: Rules) -> None:
    if role is None:
        raise BadExample(f"{at} has no role")
    if role in ("system", "developer", "user", "assistant", "tool", "function"):
        instead = "; give instructions as developer" if role == "system" and "developer" in rules.roles else ""
        raise BadExample(f"{at} is from the {role}, which {rules.format} files cannot have{instead}")
    raise BadExample(f"{at} has an unknown role: {shown(role)}")


def _check_order(messages: list[Message], rules: Rules) -> None:
    roles = [message["role"] for message in messages]
    if rules.first and roles[0] not in rules.first:
        wanted = " or ".join(rules.first)
        raise BadExample(f"begins with a message from the {roles[0]}, where one from the {wanted} is expected")
    if rules.system_first and "system" in roles[1:]:
        raise BadExample(f"message {roles.index('system', 1) + 1} is from the system, which only the first can be")
    if rules.alternate:
        check_turns(roles)
    if rules.last is not None and roles[-1] != rules.last:
        raise BadExample(f"ends with a message from the {roles[-1]}, where one from the {rules.last} is expected")


def check_turns(roles: list[str]) -> None:
    """Check that roles alternate, except that several tool messages may follow one another. Raises BadExample."""
    for number, (role, following) in enumerate(pairwise(roles), start=2):
        if role == following != "tool":
            raise BadExample(f"message {number} is from the {role} again: user and assistant have to alternate")


def _check_content(message: Message, at: str, rules: Rules) -> int:
    if message.get("audio") is not None:
        raise BadExample(f"{at} has audio, which is not supported in training")
    content = message.get("content")
    if isinstance(content, str):
        return 0
    if isinstance(content, list) and content:
        return sum(_check_part(part, message["role"], at, rules) for part in content)
    if content is not None:
        raise BadExample(f"{at} has a content that is neither a text nor a list of parts")
    if message["role"] != "assistant" or not any(
        message.get(key) for key in ("tool_calls", "function_call", "refusal")
    ):
        raise BadExample(f"{at} has no content")
    return 0


def _check_part(part: object, role: str, at: str, rules: Rules) -> bool:
    """Check one content part. Returns whether it is an image."""
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str):
        raise BadExample(f"{at} has a content part without a type")
    if kind in {"text", "refusal"}:
        if not isinstance(part.get(kind), str):
            raise BadExample(f"{at} has a {kind} part without {kind}")
        return False
    if kind != "image_url":
        raise BadExample(f"{at} has a content part of an unknown type: {shown(kind)}")
    image = part.get("image_url")
    if not isinstance(image, dict) or not isinstance(image.get("url"), str):
        raise BadExample(f"{at} has an image without url")
    if role != "user":
        raise BadExample(f"{at} has an image, which only the user can send")
    if rules.images is None:
        raise BadExample(f"{at} has an image, which {rules.format} files cannot have")
    _check_address(image["url"], at, rules.images)
    _check_detail(image.get("detail"), at, rules.images.details)
    return True


def _check_detail(detail: object, at: str, details: tuple[str, ...]) -> None:
    if detail is not None and details and detail not in details:
        raise BadExample(f"{at} has an image whose detail is none of {', '.join(details)}: {shown(detail)}")


def _check_address(url: str, at: str, images: Images) -> None:
    if not images.types:
        return
    if not url.startswith("data:"):
        if images.embedded:
            raise BadExample(f"{at} has an image that is not embedded: its url should be data:image/…;base64,…")
        if not url.startswith(("https://", "http://")):
            raise BadExample(f"{at} has an image whose url is neither a web address nor data:image/…;base64,…")
    elif not url.startswith(tuple(f"data:image/{kind};base64," for kind in images.types)):
        raise BadExample(f"{at} has an image that is not one of {', '.join(images.types)} in base64")
    elif len(url) * 3 // 4 > _MOST_IMAGE_BYTES + 64:
        raise BadExample(f"{at} has an image of more than 10 MB")


def _check_calls(message: Message, at: str, rules: Rules) -> None:
    calls, called = message.get("tool_calls"), message.get("function_call")
    if calls is None and called is None:
        return
    if message["role"] != "assistant":
        raise BadExample(f"{at} has tool calls, which only the assistant can make")
    if called is not None:
        _check_function(called, at)
    if not isinstance(calls, list | None):
        raise BadExample(f"{at} has tool_calls that are not a list")
    for call in calls or ():
        named = isinstance(call, dict) and isinstance(call.get("id"), str) and call.get("type") == "function"
        if not isinstance(call, dict) or (rules.call_ids and not named):
            raise BadExample(f'{at} has a tool call without id or without type "function"')
        _check_function(call.get("function"), at)


def _check_function(function: object, at: str) -> None:
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadExample(f"{at} calls a function without name")
    if not isinstance(function.get("arguments"), str):
        raise BadExample(f"{at} calls a function whose arguments are not a text of JSON")


def _check_attributes(message: Message, at: str, rules: Rules) -> None:
    role, name, weight = message["role"], message.get("name"), message.get("weight")
    if name is not None and not isinstance(name, str):
        raise BadExample(f"{at} has a name that is not a text")
    if role == "tool" and rules.call_ids and not isinstance(message.get("tool_call_id"), str):
        raise BadExample(f"{at} answers no tool call: tool_call_id is absent")
    if role == "function" and name is None:
        raise BadExample(f"{at} is from a function without name")
    if weight is None:
        return
    if isinstance(weight, bool) or weight not in (0, 1):
        raise BadExample(f"{at} has a weight other than 0 or 1: {shown(weight)}")
    if role not in rules.weighted:
        raise BadExample(f"{at} has a weight, which only the assistant's messages can have")


def _check_definitions(example: Example, rules: Rules) -> None:
    parallel = example.get("parallel_tool_calls")
    if parallel is not None and not isinstance(parallel, bool):
        raise BadExample('"parallel_tool_calls" is neither true nor false')
    for key, nested in (("tools", True), ("functions", False)):
        definitions = example.get(key)
        if not isinstance(definitions, list | None):
            raise BadExample(f'"{key}" is not a list')
        for number, definition in enumerate(definitions or (), start=1):
            function = definition.get("function") if nested and isinstance(definition, dict) else definition
            if not isinstance(function, dict) or not isinstance(function.get("name"), str):
                raise BadExample(f'definition {number} of "{key}" is not a function with a name')
            if rules.call_ids:
                _check_definition(function, f'definition {number} of "{key}"')
                if nested and definition.get("type") != "function":
                    raise BadExample(f'definition {number} of "{key}" is without type "function"')


def _check_definition(function: Mapping[str, Any], at: str) -> None:
    if not _FUNCTION_NAME.fullmatch(function["name"]):
        raise BadExample(f"{at} has a name that is not 1 to 64 letters, digits, _ or -: {shown(function['name'])}")
    if not isinstance(function.get("parameters"), dict | None):
        raise BadExample(f"{at} has parameters that are not an object")
