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


def _chat_of(question: str, answer: str) -> str:
    """The command that converts two texts per line to a chat."""
    turns = f'{{role: "user", content: {question}}}, {{role: "assistant", content: {answer}}}'
    return f"jq -c '{{messages: [{turns}]}}' FILE > train.jsonl"


TO_CHAT: Final = _chat_of(".prompt", "(.completion // .response)")
_TO_GEMINI: Final = (
    'jq -c \'{contents: [.messages[] | {role: (if .role == "assistant" then "model" else "user" end), '
    "parts: [{text: .content}]}]}' FILE > train.jsonl"
)
_FROM_SHAREGPT: Final = (
    "jq -c '{messages: [(.conversations // .conversation)[] | (.role // .from) as $from | "
    '{role: ({human: "user", gpt: "assistant"}[$from] // $from), content: (.content // .value)}]}\' FILE > train.jsonl'
)
_WITH_INPUT: Final = '([.instruction, .input, .context | select(. != null and . != "")] | join("\\n"))'
# TRL's `chosen` and `rejected` contain the prompt, unless it has its own key; the answers are their last messages.
_FROM_TRL: Final = (
    'jq -c \'def turns($role): if type == "string" then [{role: $role, content: .}] else . end; '
    '{input: {messages: (.prompt // .chosen[:-1] | turns("user"))}, '
    'preferred_output: (.chosen | turns("assistant")[-1:]), '
    'non_preferred_output: (.rejected | turns("assistant")[-1:])}\' FILE > train.jsonl'
)
_FOREIGN: Final = (
    ({"conversations"}, "a ShareGPT conversation", f"convert it: {_FROM_SHAREGPT}"),
    ({"conversation"}, "a conversation like ShareGPT's", f"convert it: {_FROM_SHAREGPT}"),
    ({"instruction", "output"}, "an Alpaca record", f"convert it: {_chat_of(_WITH_INPUT, '.output')}"),
    ({"instruction", "response"}, "a Dolly record", f"convert it: {_chat_of(_WITH_INPUT, '.response')}"),
    ({"chosen", "rejected"}, "a preference of TRL", f"convert it: {_FROM_TRL}"),
    ({"question", "answer"}, "a question and an answer", f"convert it: {_chat_of('.question', '.answer')}"),
    ({"query", "response"}, "a query and a response", f"convert it: {_chat_of('.query', '.response')}"),
    ({"input_text", "output_text"}, "an example for PaLM", f"convert it: {_chat_of('.input_text', '.output_text')}"),
    ({"input", "output"}, "an input and an output", f"convert it: {_chat_of('.input', '.output')}"),
    ({"choices"}, "an answer of the API", "train with the messages that were sent and .choices[0].message"),
    ({"custom_id", "response"}, "an answer of the Batch API", "train with the request's messages and these answers"),
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
    ((b"BZh",), "is compressed with bzip2", "bunzip2 -c FILE > train.jsonl"),
    ((b"\xfd7zXZ\0",), "is compressed with xz", "xz -dc FILE > train.jsonl"),
    ((b"PK\x03\x04",), "is a ZIP archive", "unzip -p FILE > train.jsonl"),
    ((b"PAR1",), "is a Parquet file", "duckdb -c \"COPY 'FILE' TO 'train.jsonl' (FORMAT json)\""),
)
_ARRAY: Final = "is a JSON array, not one example a line; convert it: jq -c '.[]' FILE > train.jsonl"
_TURNS: Final = (
    "has a list of messages on each line, not an object; convert it: jq -c '{messages: .}' FILE > train.jsonl"
)
_SPREAD: Final = "is JSON spread over several lines, not one example a line; convert it: jq -c . FILE > train.jsonl"
_EXCEL: Final = "is an Excel spreadsheet; save it as CSV and run this command again"
_NOT_JSON: Final = 'is text, not JSON; each line must be an example, such as {"messages": [...]}'
_LIST_INSIDE: Final = re.compile(rb'\{\s*"(data|examples|train|rows|items|dataset|samples)"\s*:\s*\[\s*\{')
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
    (_LIST_INSIDE, "is one JSON object with a list in it; convert it: jq -c '.[] | arrays[]' FILE > train.jsonl"),
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
        advice = "; if it is Windows-1252, convert it: iconv -f WINDOWS-1252 -t UTF-8 FILE > train.jsonl"
        return f"is not UTF-8: byte {error.start + 1} is 0x{line[error.start]:02x}{advice if line[:1] == b'{' else ''}"
    except json.JSONDecodeError as error:
        return f"is not JSON: {error.msg[0].lower()}{error.msg[1:]}, at character {error.pos + 1}"
    except RecursionError:
        return "is nested too deeply"
    except ValueError:
        return "has a number of too many digits"
    return "has NaN, Infinity or half of a surrogate pair, which JSON does not have"


def format_of(example: Example) -> Format | None:
    """The format, as implied by keys that no other format has; None if no key implies one.

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
            raise BadExample(f"is in the {seen} format, where the {rules.format} format is expected")
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
    if head.startswith(b"PK\x03\x04") and b"[Content_Types].xml" in head:
        return _EXCEL
    for beginnings, name, command in _CONTAINERS:
        if head.startswith(beginnings):
            return f"{name}; convert it: {command}"
    text = head.removeprefix(BYTE_ORDER_MARK).lstrip()
    first = text.split(b"\n", 1)[0].rstrip()
    if text.startswith(b"["):
        return _TURNS if _is_list_of_messages(first) else _ARRAY
    if text.startswith(b"{") and _is_open(first) and b"\n" in text and not _LIST_INSIDE.match(text):
        return _SPREAD
    named = next((name for beginning, name in _TEXTS if beginning.match(text)), None)
    starts = [line.lstrip()[:1] for line in text.splitlines()[:_SAMPLED_LINES] if line.strip()]
    return named if named or not starts or not starts[0].isalnum() or b"{" in starts else _NOT_JSON


_SAMPLED_LINES: Final = 20


def _is_list_of_messages(line: bytes) -> bool:
    try:
        value = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return bool(value) and isinstance(value[0], dict) and "role" in value[0]


def _is_open(line: bytes) -> bool:
    """Whether an object begins on this line and continues on the next one."""
    return line[-1:] in {b"{", b"["} or (line.endswith(b",") and line.count(b"{") > line.count(b"}"))
