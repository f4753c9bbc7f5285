"""Training files: examples, tokens, and why a file does not have the format of a training method.

A text counts one token per four UTF-8 bytes, rounded down, and at least one. A file's tokens are the sum over all its
texts (the content of each message, or the parts of a content that is a list; of a tool call, its name and arguments).
Nothing is added per message or example, so `training_file` can create a file of exactly the requested number of tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from monitor.simulator.errors import bad

MIN_EXAMPLES = 10
_REPORTED = 5
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


@dataclass(frozen=True)
class Dataset:
    """The facts of a file. `problems` has the first few reasons, by format, why the file does not have that format."""

    examples: int
    tokens: int
    problems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def count_tokens(text: str) -> int:
    """The tokens of a text by the rule in this module's docstring."""
    return max(1, len(text.encode(errors="surrogatepass")) // 4)


def examine(lines: Iterable[bytes]) -> Dataset:
    """Examine JSONL. Raises ApiError 400 for a line that is not a JSON object, as the API does at upload."""
    examples = tokens = 0
    problems: dict[str, list[str]] = {name: [] for name in _CHECKS}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        example = _parse(line, number)
        examples += 1
        tokens += sum(map(count_tokens, _texts(example)))
        for name, check in _CHECKS.items():
            problem = check(example) if len(problems[name]) < _REPORTED else None
            if problem:
                problems[name].append(f"Example {examples}{problem}")
    if not examples:
        raise bad("file", "File is empty.")
    return Dataset(examples, tokens, {name: tuple(found) for name, found in problems.items()})


def _parse(line: bytes, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        start = line[:20].decode(errors="replace").strip()
        message = "Expected file to have JSONL format, where every line is a valid JSON dictionary."
        raise bad("file", f'{message} Line {number} is not a dictionary (line starts with: "{start}..").')
    return value


def _texts(example: Mapping[str, Any]) -> Iterator[str]:
    for key in ("prompt", "completion"):
        if isinstance(example.get(key), str):
            yield example[key]
    yield from message_texts(example.get("messages"))
    if isinstance(example.get("input"), dict):
        yield from message_texts(example["input"].get("messages"))
    for key in ("preferred_output", "non_preferred_output"):
        yield from message_texts(example.get(key))


def message_texts(messages: Any) -> Iterator[str]:
    """All texts in a list of chat messages; malformed messages have none."""
    for message in messages if isinstance(messages, list) else ():
        if not isinstance(message, dict):
            continue
        content = message.get("content")
        if isinstance(content, str):
            yield content
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield part["text"]
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            yield json.dumps(call.get("function") if isinstance(call, dict) else call)


def _messages_problem(messages: Any, where: str = "") -> str | None:
    if not isinstance(messages, list) or not messages:
        return f'{where}: expected a non-empty list of chat messages under the key "messages"'
    for number, message in enumerate(messages, start=1):
        at = f"{where}, message {number}"
        if not isinstance(message, dict):
            return f"{at}: expected a dictionary"
        if message.get("role") not in _ROLES:
            return f'{at}: missing or unknown "role"'
        called = message.get("tool_calls") or message.get("function_call")
        if not isinstance(message.get("content"), str | list) and not called:
            return f'{at}: missing "content"'
    return None


def _chat_problem(example: Mapping[str, Any]) -> str | None:
    messages = example.get("messages")
    if messages is None and "prompt" in example:
        return ": in the prompt-completion format, but the model is conversational and requires chat-formatted data"
    problem = _messages_problem(messages)
    if problem:
        return problem
    if not any(message["role"] == "assistant" for message in example["messages"]):
        return ": at least one message must be from the assistant"
    return None


def _reinforcement_problem(example: Mapping[str, Any]) -> str | None:
    problem = _messages_problem(example.get("messages"))
    if problem is None and example["messages"][-1]["role"] != "user":
        return ": the last message must be from the user"
    return problem


def _preference_problem(example: Mapping[str, Any]) -> str | None:
    given = example.get("input")
    if not isinstance(given, dict):
        return ': missing key "input"'
    problem = _messages_problem(given.get("messages"), ', "input"')
    for key in ("preferred_output", "non_preferred_output"):
        problem = problem or _messages_problem(example.get(key), f', "{key}"')
    return problem


def _completion_problem(example: Mapping[str, Any]) -> str | None:
    absent = [key for key in ("prompt", "completion") if not isinstance(example.get(key), str)]
    return f': missing key "{absent[0]}" (the model requires prompt-completion pairs)' if absent else None


_CHECKS = {
    "chat": _chat_problem,
    "dpo": _preference_problem,
    "reinforcement": _reinforcement_problem,
    "completion": _completion_problem,
}


def training_file(*, examples: int, tokens: int) -> bytes:
    """A file of chat examples with exactly `tokens` tokens. Raises ValueError below two tokens per example."""
    each, rest = divmod(tokens, examples)
    if each < 2:
        raise ValueError(f"{examples} examples cannot have fewer than {2 * examples} tokens together")
    return b"".join(_line(each + (number < rest)) for number in range(examples))


def _line(tokens: int) -> bytes:
    asked = tokens // 2
    user = {"role": "user", "content": "ask " * asked}
    assistant = {"role": "assistant", "content": "say " * (tokens - asked)}
    return json.dumps({"messages": [user, assistant]}).encode() + b"\n"


def training_file_size(*, examples: int, tokens: int) -> int:
    """The size of such a file in bytes, without creating it."""
    return examples * (len(_line(2)) - 8) + 4 * tokens
