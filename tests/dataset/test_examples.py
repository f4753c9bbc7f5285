"""Which lines of a training file are examples, and why the others are not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from monitor.dataset import Format, Reading, Tally, examine, expected_format, lines_of

ASK: dict[str, Any] = {"role": "user", "content": "What time is it?"}
SAY: dict[str, Any] = {"role": "assistant", "content": "Late."}
CALL: dict[str, Any] = {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
CALLING: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [CALL]}
IMAGE: dict[str, Any] = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
CLOCK: dict[str, Any] = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}


def found(example: object, form: Format = Format.CHAT, model: str = "gpt-4o-mini") -> Tally:
    line = example if isinstance(example, bytes) else json.dumps(example).encode()
    return examine([line], Reading(model=model, format=form))


def chat(*messages: object, **further: object) -> dict[str, Any]:
    return {"messages": list(messages), **further}


def pair(**over: object) -> dict[str, Any]:
    return {"input": chat(ASK), "preferred_output": [SAY], "non_preferred_output": [SAY], **over}


@pytest.mark.parametrize(
    ("example", "form"),
    [
        pytest.param(chat(ASK, SAY), Format.CHAT, id="a question and an answer"),
        pytest.param(chat({"role": "developer", "content": "Be brief."}, ASK, SAY), Format.CHAT, id="a developer"),
        pytest.param(
            chat(ASK, CALLING, {"role": "tool", "tool_call_id": "call_1", "content": "9"}, SAY),
            Format.CHAT,
            id="a tool",
        ),
        pytest.param(
            chat(
                ASK,
                {"role": "assistant", "content": None, "function_call": CALL["function"]},
                {"role": "function", "name": "clock", "content": "9"},
            ),
            Format.CHAT,
            id="a function",
        ),
        pytest.param(chat(ASK, {**SAY, "weight": 0}, ASK, {**SAY, "weight": 1}), Format.CHAT, id="weights"),
        pytest.param(
            chat({"role": "user", "content": [{"type": "text", "text": "Who?"}, IMAGE]}, SAY),
            Format.CHAT,
            id="an image",
        ),
        pytest.param(chat(ASK, {"role": "assistant", "refusal": "No.", "content": None}), Format.CHAT, id="a refusal"),
        pytest.param(
            chat(ASK, SAY, tools=[CLOCK], parallel_tool_calls=False, functions=[CLOCK["function"]]),
            Format.CHAT,
            id="tools",
        ),
        pytest.param({"prompt": "a", "completion": " b"}, Format.COMPLETION, id="prompt and completion"),
        pytest.param(pair(), Format.PREFERENCE, id="a preference"),
        pytest.param(chat(ASK, reference="Late.", level=3), Format.REINFORCEMENT, id="keys for the grader"),
    ],
)
def test_this_is_an_example(example: dict[str, Any], form: Format) -> None:
    tally = found(example, form)
    assert (tally.bad, tally.examples) == ([], 1)
    assert tally.tokens > 0


@pytest.mark.parametrize(
    ("example", "form", "reason"),
    [
        pytest.param(b"{", Format.CHAT, "is not JSON: ", id="no JSON"),
        pytest.param(b'{"messages": "\xff"}', Format.CHAT, "is not UTF-8: byte 15 is 0xff", id="no UTF-8"),
        pytest.param(
            b'{"messages": "\\ud800"}', Format.CHAT, "has NaN, Infinity or half of a surrogate pair", id="half a pair"
        ),
        pytest.param(b'{"messages": NaN}', Format.CHAT, "has NaN, Infinity or half", id="not a number"),
        pytest.param(b"[" * 100_000, Format.CHAT, "is nested too deeply", id="very deep"),
        pytest.param(b"\x1f\x8b\x08\x00", Format.CHAT, "is not UTF-8: byte 2", id="a compressed file"),
        pytest.param([1], Format.CHAT, "is not a JSON object", id="a list"),
        pytest.param({"text": "x"}, Format.CHAT, 'has no "messages"', id="other keys"),
        pytest.param(
            {"prompt": "a", "completion": "b"},
            Format.CHAT,
            "is in the completion format, where chat is",
            id="mixed formats",
        ),
        pytest.param(
            chat(ASK, SAY), Format.PREFERENCE, "is in the chat format, where preference is", id="a chat among pairs"
        ),
        pytest.param(chat(), Format.CHAT, '"messages" is an empty list', id="no message"),
        pytest.param(chat("x"), Format.CHAT, "message 1 is not an object", id="a message that is a text"),
        pytest.param(chat({"content": "x"}), Format.CHAT, "message 1 has no role", id="no role"),
        pytest.param(
            chat({"role": "bot\x1b[31m", "content": "x"}),
            Format.CHAT,
            'message 1 has an unknown role: "bot?[31m"',
            id="an unknown role, inert",
        ),
        pytest.param(
            chat({"role": ["user"], "content": "x"}),
            Format.CHAT,
            "message 1 has an unknown role",
            id="a role that is a list",
        ),
        pytest.param(chat(ASK), Format.CHAT, "has no message from the assistant", id="nothing to learn"),
        pytest.param(chat({"role": "user"}, SAY), Format.CHAT, "message 1 has no content", id="no content"),
        pytest.param(
            chat(ASK, {"role": "assistant", "content": None}),
            Format.CHAT,
            "message 2 has no content",
            id="null without a call",
        ),
        pytest.param(
            chat({"role": "user", "content": 5}, SAY),
            Format.CHAT,
            "message 1 has a content that is neither",
            id="a number as content",
        ),
        pytest.param(
            chat({"role": "user", "content": [{"type": "video"}]}, SAY),
            Format.CHAT,
            "message 1 has a content part of an unknown type",
            id="a video",
        ),
        pytest.param(
            chat({"role": "user", "content": [{"type": "text"}]}, SAY),
            Format.CHAT,
            "message 1 has a text part without text",
            id="a text part without text",
        ),
        pytest.param(
            chat(ASK, {"role": "assistant", "content": [IMAGE]}),
            Format.CHAT,
            "message 2 has an image, which only the user",
            id="an image as answer",
        ),
        pytest.param(
            chat({**ASK, "weight": 1}, SAY),
            Format.CHAT,
            "message 1 has a weight, which only the assistant",
            id="weight of a question",
        ),
        pytest.param(
            chat(ASK, {**SAY, "weight": 0.5}),
            Format.CHAT,
            "message 2 has a weight other than 0 or 1",
            id="half a weight",
        ),
        pytest.param(
            chat(ASK, {**SAY, "weight": True}),
            Format.CHAT,
            "message 2 has a weight other than 0 or 1",
            id="true as weight",
        ),
        pytest.param(
            chat({**ASK, "name": 7}, SAY), Format.CHAT, "message 1 has a name that is not a text", id="a number as name"
        ),
        pytest.param(
            chat(ASK, {**CALLING, "tool_calls": [{"id": "x"}]}),
            Format.CHAT,
            "message 2 has a tool call without",
            id="a call without type",
        ),
        pytest.param(
            chat(ASK, {**CALLING, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}]}),
            Format.CHAT,
            "message 2 calls a function whose arguments",
            id="arguments that are an object",
        ),
        pytest.param(
            chat({**ASK, "tool_calls": [CALL]}, SAY),
            Format.CHAT,
            "message 1 has tool calls, which only",
            id="a user who calls",
        ),
        pytest.param(
            chat(ASK, CALLING, {"role": "tool", "content": "9"}),
            Format.CHAT,
            "message 3 answers no tool call",
            id="an answer to nobody",
        ),
        pytest.param(
            chat(ASK, SAY, tools=[{"name": "f"}]),
            Format.CHAT,
            'definition 1 of "tools" is not a function',
            id="a tool without function",
        ),
        pytest.param(
            chat(ASK, SAY, parallel_tool_calls="no"),
            Format.CHAT,
            '"parallel_tool_calls" is neither',
            id="a word for no",
        ),
        pytest.param({"prompt": "a"}, Format.COMPLETION, 'has no "completion"', id="no completion"),
        pytest.param(
            {"prompt": "a", "completion": 1},
            Format.COMPLETION,
            '"completion" is not a text',
            id="a number as completion",
        ),
        pytest.param(pair(input=None), Format.PREFERENCE, 'has no "input" object', id="no input"),
        pytest.param(
            pair(non_preferred_output=[ASK]),
            Format.PREFERENCE,
            'has no message from the assistant in "non_preferred',
            id="an answer by the user",
        ),
        pytest.param(
            pair(preferred_output=[{}]),
            Format.PREFERENCE,
            'message 1 of "preferred_output" has no role',
            id="an answer without role",
        ),
        pytest.param(
            chat(ASK, SAY),
            Format.REINFORCEMENT,
            "ends with a message from the assistant",
            id="an answer for reinforcement",
        ),
    ],
)
def test_this_is_no_example(example: object, form: Format, reason: str) -> None:
    ((line, told),) = found(example, form).bad
    assert line == 1
    assert told.startswith(reason)


def test_lines_keep_their_numbers_across_blank_ones_line_ends_and_a_byte_order_mark() -> None:
    good = json.dumps(chat(ASK, SAY)).encode()
    content = b"\xef\xbb\xbf" + good + b"\r\n\r\n" + good + b"\r\nbroken\n" + good
    tally = examine(lines_of(content), Reading(model="gpt-4o", format=Format.CHAT))
    assert tally.examples == 3
    assert [line for line, _ in tally.bad] == [4]
    assert [tally.prints[at + 15] for at in (0, 16, 32)] == [1, 3, 5]
    assert len({bytes(tally.prints[at : at + 8]) for at in (0, 16, 32)}) == 1


def test_what_is_longer_than_the_model_takes_is_told_and_cut_off() -> None:
    example = chat({"role": "user", "content": "word " * 20_000}, SAY)
    tally = found(example, model="gpt-3.5-turbo-0125")
    assert (tally.tokens, tally.bad) == (16_385, [])
    assert tally.long == [(1, tally.longest)]
    assert tally.longest > 20_000
    assert found(example, model="gpt-4o").long == []


def test_special_tokens_in_a_text_are_ordinary_text() -> None:
    assert found(chat({"role": "user", "content": "<|endoftext|>" * 10}, SAY)).tokens > 50


def test_images_are_seen_and_not_counted() -> None:
    text = {"type": "text", "text": "Who?"}
    with_image, without = (
        found(chat({"role": "user", "content": parts}, SAY)) for parts in ([text, IMAGE, IMAGE], [text])
    )
    assert (with_image.images, without.images) == (2, 0)
    assert with_image.tokens == without.tokens


@pytest.mark.parametrize(
    ("more", "less"),
    [
        pytest.param(chat(ASK, SAY, tools=[CLOCK]), chat(ASK, SAY), id="a tool's definition"),
        pytest.param(chat(ASK, CALLING, SAY), chat(ASK, SAY), id="a tool call"),
        pytest.param(chat({**ASK, "name": "ann"}, SAY), chat(ASK, SAY), id="a name"),
    ],
)
def test_it_adds_tokens(more: dict[str, Any], less: dict[str, Any]) -> None:
    assert found(more).tokens > found(less).tokens


@pytest.mark.parametrize(
    ("model", "method", "form"),
    [
        pytest.param("gpt-4o", None, None, id="chats or pairs, as the file has it"),
        pytest.param("gpt-4o", "supervised", Format.CHAT, id="chats"),
        pytest.param("gpt-4o", "dpo", Format.PREFERENCE, id="pairs"),
        pytest.param("davinci-002", None, Format.COMPLETION, id="a completion model"),
        pytest.param("o4-mini-2025-04-16", None, Format.REINFORCEMENT, id="a reasoning model"),
    ],
)
def test_the_format_that_is_expected(model: str, method: str | None, form: Format | None) -> None:
    assert expected_format(model, method) is form
