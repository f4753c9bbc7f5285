"""Parses the lines of a training file, detects their format by the keys, and checks them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

import msgspec

from monitor.dataset.messages import KEYS, BadExample, Example, check_openai, shown
from monitor.dataset.rules import Format, OtherKeys, Rules, Schema
from monitor.dataset.vendors import check_anthropic, check_converse, check_gemini

_decode = msgspec.json.Decoder().decode
_CHECKS: Final[dict[Schema, Callable[[Example, Rules], None]]] = {
    Schema.OPENAI: check_openai,
    Schema.CONVERSE: check_converse,
    Schema.ANTHROPIC: check_anthropic,
    Schema.GEMINI: check_gemini,
}
_SOUGHT: Final = {
    Format.PREFERENCE: '"input", "preferred_output" and "non_preferred_output"',
    Format.COMPLETION: '"prompt" and "completion"',
    Format.TEXT: '"text"',
}

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_CHATS: Final = {Format.CHAT, Format.REINFORCEMENT}
_CHAT_KEYS: Final = KEYS[Format.CHAT] | {"contents", "system", "systemInstruction", "schemaVersion", "toolConfig"}
_PAIRED: Final = {"preferred_output", "non_preferred_output", "completions"}
TO_CHAT: Final = (
    'jq -c \'{messages: [{role: "user", content: .prompt}, {role: "assistant", content: .completion}]}\' '
    "FILE > train.jsonl"
)
_TO_GEMINI: Final = (
    'jq -c \'{contents: [.messages[] | {role: (if .role == "assistant" then "model" else "user" end), '
    "parts: [{text: .content}]}]}' FILE > train.jsonl"
)
_FROM_SHAREGPT: Final = (
    'jq -c \'{messages: [.conversations[] | {role: ({human: "user", gpt: "assistant"}[.from] // .from), '
    "content: .value}]}' FILE > train.jsonl"
)
_FROM_ALPACA: Final = (
    'jq -c \'{messages: [{role: "user", content: (.instruction + "\\n" + (.input // ""))}, '
    '{role: "assistant", content: .output}]}\' FILE > train.jsonl'
)
_FROM_TRL: Final = (
    'jq -c \'{input: {messages: [{role: "user", content: .prompt}]}, preferred_output: [{role: "assistant", '
    'content: .chosen}], non_preferred_output: [{role: "assistant", content: .rejected}]}\' FILE > train.jsonl'
)
_FOREIGN: Final = (
    ({"conversations"}, "a ShareGPT conversation", f"convert it: {_FROM_SHAREGPT}"),
    ({"instruction", "output"}, "an Alpaca record", f"convert it: {_FROM_ALPACA}"),
    ({"chosen", "rejected"}, "a preference of TRL", f"convert it: {_FROM_TRL}"),
    ({"custom_id", "body"}, "a request of the Batch API", "train with .body.messages and the answers to them"),
    ({"contents"}, "an example for Gemini", "--provider vertex checks it"),
    ({"schemaVersion", "messages"}, "an example for Amazon Bedrock", "--provider bedrock checks it"),
)
# The first bytes of files that are not JSON Lines: what such a file is, and a command that converts it.
_CONTAINERS: Final = (
    ((b"\xff\xfe\0\0", b"\0\0\xfe\xff"), "is UTF-32, not UTF-8", "iconv -f UTF-32 -t UTF-8 FILE > train.jsonl"),
    ((b"\xff\xfe", b"\xfe\xff"), "is UTF-16, not UTF-8", "iconv -f UTF-16 -t UTF-8 FILE > train.jsonl"),
    ((b"{\0", b"[\0"), "is UTF-16, not UTF-8", "iconv -f UTF-16LE -t UTF-8 FILE > train.jsonl"),
    ((b"\0{", b"\0["), "is UTF-16, not UTF-8", "iconv -f UTF-16BE -t UTF-8 FILE > train.jsonl"),
    ((b"\x1f\x8b",), "is compressed with gzip", "gunzip -c FILE > train.jsonl"),
    ((b"\x28\xb5\x2f\xfd",), "is compressed with zstd", "zstd -dc FILE > train.jsonl"),
    ((b"PK\x03\x04",), "is a ZIP archive", "unzip -p FILE > train.jsonl"),
    ((b"PAR1",), "is a Parquet file", "duckdb -c \"COPY 'FILE' TO 'train.jsonl' (FORMAT json)\""),
)
_ARRAY: Final = "is a JSON array, not one example a line; convert it: jq -c '.[]' FILE > train.jsonl"
_SPREAD: Final = "is JSON spread over several lines, not one example a line; convert it: jq -c . FILE > train.jsonl"
# The same for text files. In JSON text, no quotation mark without a backslash follows a brace.
_TEXTS: Final = (
    (re.compile(rb"<"), "is HTML or XML, as where a login page was stored in the place of a file"),
    (
        re.compile(rb"\{\s*'"),
        (
            "has dictionaries as Python prints them, not JSON; convert it: "
            "python3 -c 'import ast, json, sys; [print(json.dumps(ast.literal_eval(x))) for x in sys.stdin]' "
            "< FILE > train.jsonl"
        ),
    ),
    (
        re.compile(rb'\{\s*"(data|examples|train|rows|items|dataset|samples)"\s*:\s*\[\s*\{'),
        "is one JSON object with a list in it; convert it: jq -c '.[] | arrays[]' FILE > train.jsonl",
    ),
    (
        re.compile(rb"[^\n]*\}\s*\r\s*\{"),
        "has its lines ended by CR alone, as old Macs did; convert it: tr '\\r' '\\n' < FILE > train.jsonl",
    ),
    (
        re.compile(rb'[^\n]*\}[ \t]*\{[ \t]*"|[^\n]*\},[ \t\r]*\n'),
        (
            "has its examples side by side, or with commas between them, not one a line; convert it: "
            "sed 's/,[[:space:]]*$//' FILE | jq -c . > train.jsonl"
        ),
    ),
    (
        re.compile(rb'["\']?\w[\w .-]*["\']?[,;\t]["\']?\w[^{\n]*\n'),
        "is a CSV table; convert it: duckdb -c \"COPY (FROM read_csv('FILE')) TO 'train.jsonl' (FORMAT json)\"",
    ),
)


def parsed(line: bytes) -> Example:
    """The object on a line. Raises BadExample."""
    try:
        value = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadExample(_fault(line)) from None
    if not isinstance(value, dict):
        raise BadExample("is not a JSON object")
    return value


def _fault(line: bytes) -> str:
    """Why a line is not JSON, by the messages of Python's json module, which people know.

    Slower, and only for bad lines.
    """
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
    return "has NaN, Infinity or half of a surrogate pair, which JSON does not have"


def format_of(example: Example) -> Format | None:
    """The format, as implied by keys that no other format has; None where no key implies one.

    Chats and reinforcement prompts both have `messages`. A chat ends with the assistant's answer; without one, keys
    that no chat has are for the grader of a reinforcement prompt.
    """
    turns = example.get("messages", example.get("contents"))
    last = turns[-1] if isinstance(turns, list) and turns and isinstance(turns[-1], dict) else {}
    if _PAIRED & example.keys() or "candidates" in last:
        return Format.PREFERENCE
    if turns is not None:
        if last.get("role") in {"assistant", "model"}:
            return Format.CHAT
        return None if example.keys() <= _CHAT_KEYS else Format.REINFORCEMENT
    if {"prompt", "completion"} & example.keys():
        return Format.COMPLETION
    return Format.TEXT if "text" in example else None


def check(example: Example, rules: Rules) -> None:
    """Check an object by the rules. Raises BadExample with the first violation."""
    other = foreign(example, rules)
    if other is not None:
        raise BadExample(f"is {other[0]}")
    if not _required(rules) <= example.keys():
        seen = format_of(example)
        if seen is None or (seen is Format.TEXT and rules.format in _CHATS):
            raise BadExample(f"has no {_SOUGHT.get(rules.format) or shown(*_required(rules))}")
        if seen is not rules.format and {seen, rules.format} != _CHATS:
            raise BadExample(f"is in the {seen} format, where {rules.format} is expected")
    _CHECKS[rules.schema](example, rules)


def foreign(example: Example, rules: Rules) -> tuple[str, str] | None:
    """The name of another program's format that the object is in, and how to convert the file; None for our formats."""
    if _required(rules) <= example.keys() and (
        "schemaVersion" not in example or rules.schema is not Schema.OPENAI or rules.other_keys is OtherKeys.KEPT
    ):
        return None
    if rules.schema is Schema.GEMINI and "messages" in example:
        return "an example for OpenAI", f"convert it: {_TO_GEMINI}"
    return next(((name, advice) for keys, name, advice in _FOREIGN if keys <= example.keys()), None)


def _required(rules: Rules) -> frozenset[str]:
    """The keys that every example must have."""
    if rules.schema is Schema.OPENAI and rules.format not in _CHATS:
        return KEYS[rules.format]
    if rules.schema is not Schema.GEMINI:
        return _MESSAGES
    return _COMPLETIONS if rules.format is Format.PREFERENCE else _CONTENTS


_MESSAGES: Final = frozenset({"messages"})
_CONTENTS: Final = frozenset({"contents"})
_COMPLETIONS: Final = frozenset({"contents", "completions"})


def container(head: bytes) -> str | None:
    """What a file with these first bytes is, if it is not JSON Lines, and how to convert it; None for JSON Lines."""
    for beginnings, name, command in _CONTAINERS:
        if head.startswith(beginnings):
            return f"{name}; convert it: {command}"
    text = head.removeprefix(BYTE_ORDER_MARK).lstrip()
    if text.startswith(b"["):
        return _ARRAY
    if text.split(b"\n", 1)[0].rstrip() == b"{" and b"\n" in text:
        return _SPREAD
    return next((name for beginning, name in _TEXTS if beginning.match(text)), None)
