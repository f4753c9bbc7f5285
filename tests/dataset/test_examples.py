"""Which lines of a training file are valid examples, and why others are not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from monitor.dataset import RULES, FileStats, Format, Rules, applicable, examine, format_of, lines_of

QUESTION: dict[str, Any] = {"role": "user", "content": "What time is it?"}
ANSWER: dict[str, Any] = {"role": "assistant", "content": "Late."}
WORSE: dict[str, Any] = {"role": "assistant", "content": "Dunno."}
CALL: dict[str, Any] = {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
CALLING: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [CALL]}
IMAGE: dict[str, Any] = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
CLOCK: dict[str, Any] = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}


def rules_for(form: Format, provider: str = "openai") -> Rules:
    return next(rules for rules in RULES if rules.provider == provider and rules.format is form)


def found(
    example: object, form: Format = Format.CHAT, model: str = "gpt-4o-mini", provider: str = "openai"
) -> FileStats:
    line = example if isinstance(example, bytes) else json.dumps(example).encode()
    return examine([line], model, rules_for(form, provider))


def chat(*messages: object, **further: object) -> dict[str, Any]:
    return {"messages": list(messages), **further}


def pair(**over: object) -> dict[str, Any]:
    return {"input": chat(QUESTION), "preferred_output": [ANSWER], "non_preferred_output": [WORSE], **over}


@pytest.mark.parametrize(
    ("example", "form"),
    [
        pytest.param(chat(QUESTION, ANSWER), Format.CHAT, id="a question and an answer"),
        pytest.param(
            chat({"role": "developer", "content": "Be brief."}, QUESTION, ANSWER), Format.CHAT, id="a developer"
        ),
        pytest.param(
            chat(QUESTION, CALLING, {"role": "tool", "tool_call_id": "call_1", "content": "9"}, ANSWER),
            Format.CHAT,
            id="a tool",
        ),
        pytest.param(
            chat(
                QUESTION,
                {"role": "assistant", "content": None, "function_call": CALL["function"]},
                {"role": "function", "name": "clock", "content": "9"},
                ANSWER,
            ),
            Format.CHAT,
            id="a function",
        ),
        pytest.param(
            chat(QUESTION, {**ANSWER, "weight": 0}, QUESTION, {**ANSWER, "weight": 1}), Format.CHAT, id="weights"
        ),
        pytest.param(
            chat({"role": "user", "content": [{"type": "text", "text": "Who?"}, IMAGE]}, ANSWER),
            Format.CHAT,
            id="an image",
        ),
        pytest.param(
            chat(QUESTION, {"role": "assistant", "refusal": "No.", "content": None}), Format.CHAT, id="a refusal"
        ),
        pytest.param(
            chat(QUESTION, ANSWER, tools=[CLOCK], parallel_tool_calls=False, functions=[CLOCK["function"]]),
            Format.CHAT,
            id="tools",
        ),
        pytest.param({"prompt": "a", "completion": " b"}, Format.COMPLETION, id="prompt and completion"),
        pytest.param(pair(), Format.PREFERENCE, id="a preference"),
        pytest.param(chat(QUESTION, reference="Late.", level=3), Format.REINFORCEMENT, id="keys for the grader"),
        pytest.param(chat(QUESTION, input="clause 1", text="x"), Format.REINFORCEMENT, id="a grader key called input"),
        pytest.param(
            chat(QUESTION, prompt="p", completion="c", preferred_output=1), Format.REINFORCEMENT, id="any grader key"
        ),
        pytest.param(
            chat({"role": "developer", "content": "Be brief."}, QUESTION), Format.REINFORCEMENT, id="a developer asks"
        ),
        pytest.param(chat(QUESTION, {**ANSWER, "refusal": None, "audio": None}), Format.CHAT, id="keys that are null"),
        pytest.param(chat(QUESTION, CALLING, tools=[CLOCK]), Format.CHAT, id="a call as the answer"),
    ],
)
def test_this_is_an_example(example: dict[str, Any], form: Format) -> None:
    stats = found(example, form)
    assert (stats.bad, stats.examples) == ([], 1)
    assert stats.tokens > 0


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
            "is in the completion format, where the chat format is",
            id="mixed formats",
        ),
        pytest.param(
            chat(QUESTION, ANSWER),
            Format.PREFERENCE,
            "is in the chat format, where the preference format is",
            id="a chat among pairs",
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
        pytest.param(chat(QUESTION), Format.CHAT, "has no message from the assistant", id="nothing to learn"),
        pytest.param(
            chat(QUESTION, ANSWER, metadata={}),
            Format.CHAT,
            'has an unknown key: "metadata"',
            id="a key that no chat has",
        ),
        pytest.param(chat(QUESTION, ANSWER, id=1), Format.CHAT, 'has an unknown key: "id"', id="an id"),
        pytest.param(
            chat(QUESTION, {**ANSWER, "id": "m1"}),
            Format.CHAT,
            'message 2 has an unknown key: "id"',
            id="a key that no message has",
        ),
        pytest.param(
            chat({**QUESTION, "timestamp": 1}, ANSWER),
            Format.CHAT,
            'message 1 has an unknown key: "timestamp"',
            id="a time in a question",
        ),
        pytest.param(
            chat(QUESTION, {**ANSWER, "reasoning_content": "Hm."}),
            Format.CHAT,
            'message 2 has an unknown key: "reasoning_content"',
            id="another seller's key",
        ),
        pytest.param(
            chat({**QUESTION, "score": 1}, answer="x"),
            Format.REINFORCEMENT,
            'message 1 has an unknown key: "score"',
            id="a grader's key in a message",
        ),
        pytest.param(
            {"prompt": "a", "completion": "b", "id": 1},
            Format.COMPLETION,
            'has an unknown key: "id"',
            id="a key beside prompt and completion",
        ),
        pytest.param(pair(source="crm"), Format.PREFERENCE, 'has an unknown key: "source"', id="a key beside a pair"),
        pytest.param(
            pair(input=chat(QUESTION, model="m")),
            Format.PREFERENCE,
            'has an unknown key in "input": "model"',
            id="a key in the input of a pair",
        ),
        pytest.param(
            pair(preferred_output=[{**ANSWER, "score": 1}]),
            Format.PREFERENCE,
            'message 1 of "preferred_output" has an unknown key: "score"',
            id="a key in an answer of a pair",
        ),
        pytest.param(
            chat(QUESTION, ANSWER, QUESTION),
            Format.CHAT,
            "ends with a message from the user",
            id="a question at the end",
        ),
        pytest.param(
            chat(QUESTION, ANSWER, {"role": "system", "content": "s"}),
            Format.CHAT,
            "ends with a message from the system",
            id="an instruction at the end",
        ),
        pytest.param(
            chat(QUESTION, CALLING, {"role": "tool", "tool_call_id": "call_1", "content": "9"}),
            Format.CHAT,
            "ends with a message from the tool",
            id="a result at the end",
        ),
        pytest.param(
            chat({"role": "system", "content": "s"}, QUESTION, answer="0"),
            Format.REINFORCEMENT,
            "message 1 is from the system, which reinforcement files cannot have; give instructions as developer",
            id="a system message for reinforcement",
        ),
        pytest.param(
            pair(preferred_output=[ANSWER, QUESTION, ANSWER]),
            Format.PREFERENCE,
            'has 3 messages in "preferred_output", where one is expected',
            id="an answer of three messages",
        ),
        pytest.param(
            pair(non_preferred_output=[WORSE, WORSE]),
            Format.PREFERENCE,
            'has 2 messages in "non_preferred_output"',
            id="two other answers",
        ),
        pytest.param(
            pair(input=chat({"role": "user", "content": [IMAGE]})),
            Format.PREFERENCE,
            'message 1 of "input.messages" has an image, which preference files cannot have',
            id="an image in a pair",
        ),
        pytest.param(
            chat({"role": "user", "content": [IMAGE] * 65}, ANSWER), Format.CHAT, "has 65 images", id="too many images"
        ),
        pytest.param(
            chat({"role": "user", "content": [{**IMAGE, "image_url": {"url": "file:///a.png"}}]}, ANSWER),
            Format.CHAT,
            "message 1 has an image whose url is neither",
            id="an image on a disk",
        ),
        pytest.param(
            chat({"role": "user", "content": [{**IMAGE, "image_url": {"url": "data:image/gif;base64,AA"}}]}, ANSWER),
            Format.CHAT,
            "message 1 has an image that is not one of jpeg, png, webp",
            id="a GIF",
        ),
        pytest.param(
            {"conversations": [{"from": "human", "value": "a"}]},
            Format.CHAT,
            "is a ShareGPT conversation",
            id="ShareGPT",
        ),
        pytest.param({"instruction": "a", "input": "", "output": "b"}, Format.CHAT, "is an Alpaca record", id="Alpaca"),
        pytest.param(
            {"prompt": "a", "chosen": "b", "rejected": "c"}, Format.PREFERENCE, "is a preference of TRL", id="TRL"
        ),
        pytest.param({"input": "a"}, Format.CHAT, 'has no "messages"', id="only an input"),
        pytest.param(chat({"role": "user"}, ANSWER), Format.CHAT, "message 1 has no content", id="no content"),
        pytest.param(
            chat(QUESTION, {"role": "assistant", "content": None}),
            Format.CHAT,
            "message 2 has no content",
            id="null without a call",
        ),
        pytest.param(
            chat({"role": "user", "content": 5}, ANSWER),
            Format.CHAT,
            "message 1 has a content that is neither",
            id="a number as content",
        ),
        pytest.param(
            chat({"role": "user", "content": [{"type": "video"}]}, ANSWER),
            Format.CHAT,
            "message 1 has a content part of an unknown type",
            id="a video",
        ),
        pytest.param(
            chat({"role": "user", "content": [{"type": "text"}]}, ANSWER),
            Format.CHAT,
            "message 1 has a text part without text",
            id="a text part without text",
        ),
        pytest.param(
            chat(QUESTION, {"role": "assistant", "content": [IMAGE]}),
            Format.CHAT,
            "message 2 has an image, which only the user",
            id="an image as answer",
        ),
        pytest.param(
            chat({**QUESTION, "weight": 1}, ANSWER),
            Format.CHAT,
            "message 1 has a weight, which only the assistant",
            id="weight of a question",
        ),
        pytest.param(
            chat(QUESTION, {**ANSWER, "weight": 0.5}),
            Format.CHAT,
            "message 2 has a weight other than 0 or 1",
            id="half a weight",
        ),
        pytest.param(
            chat(QUESTION, {**ANSWER, "weight": True}),
            Format.CHAT,
            "message 2 has a weight other than 0 or 1",
            id="true as weight",
        ),
        pytest.param(
            chat({**QUESTION, "name": 7}, ANSWER),
            Format.CHAT,
            "message 1 has a name that is not a text",
            id="a number as name",
        ),
        pytest.param(
            chat(QUESTION, {**CALLING, "tool_calls": [{"id": "x"}]}),
            Format.CHAT,
            "message 2 has a tool call without",
            id="a call without type",
        ),
        pytest.param(
            chat(QUESTION, {**CALLING, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}]}),
            Format.CHAT,
            "message 2 calls a function whose arguments",
            id="arguments that are an object",
        ),
        pytest.param(
            chat({**QUESTION, "tool_calls": [CALL]}, ANSWER),
            Format.CHAT,
            "message 1 has tool calls, which only",
            id="a user who calls",
        ),
        pytest.param(
            chat(QUESTION, CALLING, {"role": "tool", "content": "9"}),
            Format.CHAT,
            "message 3 answers no tool call",
            id="an answer to nobody",
        ),
        pytest.param(
            chat(QUESTION, ANSWER, tools=[{"name": "f"}]),
            Format.CHAT,
            'definition 1 of "tools" is not a function',
            id="a tool without function",
        ),
        pytest.param(
            chat(QUESTION, ANSWER, tools=[{"function": {"name": "clock"}}]),
            Format.CHAT,
            'definition 1 of "tools" is without type "function"',
            id="a tool without type",
        ),
        pytest.param(
            chat(QUESTION, ANSWER, tools=[CLOCK, {"type": "function", "function": {"name": "my clock"}}]),
            Format.CHAT,
            'definition 2 of "tools" has a name that is not 1 to 64 letters, digits, _ or -: "my clock"',
            id="a tool with a blank in its name",
        ),
        pytest.param(
            chat(QUESTION, ANSWER, functions=[{"name": "clock", "parameters": "none"}]),
            Format.CHAT,
            'definition 1 of "functions" has parameters that are not an object',
            id="parameters that are a word",
        ),
        pytest.param(
            chat({"role": "user", "content": [{**IMAGE, "image_url": {"url": "https://e.org/a", "detail": "most"}}]}),
            Format.CHAT,
            'message 1 has an image whose detail is none of auto, low, high: "most"',
            id="an unknown detail",
        ),
        pytest.param(
            chat(QUESTION, ANSWER, parallel_tool_calls="no"),
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
            pair(non_preferred_output=[QUESTION]),
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
            chat(QUESTION, ANSWER),
            Format.REINFORCEMENT,
            "ends with a message from the assistant",
            id="an answer for reinforcement",
        ),
    ],
)
def test_this_is_no_example(example: object, form: Format, reason: str) -> None:
    ((line, given),) = found(example, form).bad
    assert line == 1
    assert given.startswith(reason)


def test_lines_keep_their_numbers_across_blank_ones_line_ends_and_a_byte_order_mark() -> None:
    good = json.dumps(chat(QUESTION, ANSWER)).encode()
    content = b"\xef\xbb\xbf" + good + b"\r\n\r\n" + good + b"\r\nbroken\n" + good
    stats = examine(lines_of(content), "gpt-4o", rules_for(Format.CHAT))
    assert stats.examples == 3
    assert [line for line, _ in stats.bad] == [4]
    assert [stats.fingerprints[at + 15] for at in (0, 16, 32)] == [1, 3, 5]
    assert len({bytes(stats.fingerprints[at : at + 8]) for at in (0, 16, 32)}) == 1


def test_examples_above_the_context_length_are_warned_about_and_truncated() -> None:
    example = chat({"role": "user", "content": "word " * 20_000}, ANSWER)
    stats = found(example, model="gpt-3.5-turbo-0125")
    assert (stats.tokens, stats.bad) == (16_385, [])
    assert stats.longest > 20_000
    assert stats.warnings == [
        (1, f"has {stats.longest:,} tokens; gpt-3.5-turbo-0125 takes 16,385, and the rest is cut off")
    ]
    assert found(example, model="gpt-4o").warnings == []


def test_special_tokens_in_a_text_are_ordinary_text() -> None:
    assert found(chat({"role": "user", "content": "<|endoftext|>" * 10}, ANSWER)).tokens > 50


def test_images_are_seen_and_not_counted() -> None:
    text = {"type": "text", "text": "Who?"}
    with_image, without = (
        found(chat({"role": "user", "content": parts}, ANSWER)) for parts in ([text, IMAGE, IMAGE], [text])
    )
    assert (with_image.images, without.images) == (2, 0)
    assert with_image.tokens == without.tokens


@pytest.mark.parametrize(
    ("more", "less"),
    [
        pytest.param(chat(QUESTION, ANSWER, tools=[CLOCK]), chat(QUESTION, ANSWER), id="a tool's definition"),
        pytest.param(chat(QUESTION, CALLING, ANSWER), chat(QUESTION, ANSWER), id="a tool call"),
        pytest.param(chat({**QUESTION, "name": "ann"}, ANSWER), chat(QUESTION, ANSWER), id="a name"),
    ],
)
def test_it_adds_tokens(more: dict[str, Any], less: dict[str, Any]) -> None:
    assert found(more).tokens > found(less).tokens


@pytest.mark.parametrize(
    ("example", "form"),
    [
        pytest.param(chat(QUESTION, ANSWER), Format.CHAT, id="an answer"),
        pytest.param(chat(QUESTION, ANSWER, input="x"), Format.CHAT, id="an answer and a key called input"),
        pytest.param(chat(QUESTION), None, id="a question: a chat without answer, or a prompt"),
        pytest.param(chat(QUESTION, input="x"), Format.REINFORCEMENT, id="a question and a key for the grader"),
        pytest.param(pair(), Format.PREFERENCE, id="a pair"),
        pytest.param({"input": chat(QUESTION)}, None, id="an input alone"),
        pytest.param({"prompt": "a", "completion": "b"}, Format.COMPLETION, id="prompt and completion"),
        pytest.param({"text": "a"}, Format.TEXT, id="text"),
        pytest.param({"id": 1}, None, id="nothing"),
    ],
)
def test_the_format_is_detected_by_its_distinctive_keys(example: dict[str, Any], form: Format | None) -> None:
    assert format_of(example) is form


@pytest.mark.parametrize(
    ("model", "method", "forms"),
    [
        pytest.param("gpt-4o", None, {Format.CHAT, Format.PREFERENCE}, id="chats or pairs, as the file has it"),
        pytest.param("gpt-4o", "supervised", {Format.CHAT}, id="chats"),
        pytest.param("gpt-4o", "dpo", {Format.PREFERENCE}, id="pairs"),
        pytest.param("gpt-4o", "reinforcement", {Format.REINFORCEMENT}, id="the method says it"),
        pytest.param("ft:gpt-4o:org::id", None, {Format.CHAT, Format.PREFERENCE}, id="a fine-tuned model"),
        pytest.param("davinci-002", None, {Format.COMPLETION}, id="a completion model"),
        pytest.param("o4-mini-2025-04-16", None, {Format.REINFORCEMENT}, id="a reasoning model"),
        pytest.param("somebody-elses", None, {*Format} - {Format.TEXT}, id="an unknown model"),
    ],
)
def test_the_accepted_formats(model: str, method: str | None, forms: set[Format]) -> None:
    assert {rules.format for rules in applicable("openai", model, method)} == forms


def test_every_rule_names_its_source() -> None:
    assert all(rules.source.startswith("https://") for rules in RULES)
