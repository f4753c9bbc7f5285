"""Warnings about training examples that are allowed but probably mistakes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from monitor.dataset import RULES, Format, examine

QUESTION: dict[str, Any] = {"role": "user", "content": "What time is it?"}
ANSWER: dict[str, Any] = {"role": "assistant", "content": "Late."}
CLOCK: dict[str, Any] = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}
RESULT: dict[str, Any] = {"role": "tool", "tool_call_id": "call_1", "content": "9"}


def warned(example: object, form: Format = Format.CHAT, provider: str = "openai", model: str = "gpt-4o") -> list[str]:
    line = example if isinstance(example, bytes) else json.dumps(example).encode()
    rules = next(rules for rules in RULES if rules.provider == provider and rules.format is form)
    stats = examine([line], model, rules)
    assert stats.bad == []
    return [reason for _, reason in stats.warnings]


def calls(*ids: str, name: str = "clock", arguments: str = "{}") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"role": "assistant", "tool_calls": [{"id": one, "type": "function", "function": function} for one in ids]}


def chat(*messages: object, **further: object) -> dict[str, Any]:
    return {"messages": list(messages), "tools": [CLOCK], **further}


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(chat(QUESTION, ANSWER), id="a chat"),
        pytest.param(chat(QUESTION, calls("call_1"), RESULT, ANSWER), id="a call with its result"),
        pytest.param(
            chat(QUESTION, calls("a", "b"), {**RESULT, "tool_call_id": "b"}, {**RESULT, "tool_call_id": "a"}, ANSWER),
            id="two calls, answered in another order",
        ),
        pytest.param(chat(QUESTION, calls("call_1")), id="the call that should be learned"),
        pytest.param(
            chat(
                QUESTION,
                {"role": "assistant", "content": None, "function_call": {"name": "clock", "arguments": "{}"}},
                {"role": "function", "name": "clock", "content": "9"},
                ANSWER,
            ),
            id="a function of the older kind",
        ),
        pytest.param(chat(QUESTION, {**ANSWER, "weight": 0}, QUESTION, {**ANSWER, "weight": 1}), id="one weight of 1"),
        pytest.param(chat({**QUESTION, "content": 'a "b": {"b": 1, "b": 2} <| |> x|>'}, ANSWER), id="JSON in a text"),
        pytest.param(chat(QUESTION, calls("c", arguments='{"a": {"a": "\\":"}}')), id="JSON in arguments"),
    ],
)
def test_no_warning_of(example: dict[str, Any]) -> None:
    assert warned(example) == []


@pytest.mark.parametrize(
    ("example", "warning"),
    [
        pytest.param(
            chat(QUESTION, calls("call_1"), ANSWER),
            'message 2 has a tool call without a result: "call_1"',
            id="a call that is not answered",
        ),
        pytest.param(
            chat(QUESTION, calls("call_1", "call_2"), RESULT, ANSWER),
            'message 2 has a tool call without a result: "call_2"',
            id="one of two calls",
        ),
        pytest.param(
            chat(QUESTION, RESULT, ANSWER),
            'message 2 is the result of a call that is not made before it: "call_1"',
            id="a result without call",
        ),
        pytest.param(
            chat(QUESTION, calls("call_1"), RESULT, RESULT, ANSWER),
            'message 4 is the result of a call that is not made before it: "call_1"',
            id="a result that comes twice",
        ),
        pytest.param(
            chat(QUESTION, calls("call_1", name="weather")),
            'message 2 calls a tool that is not declared: "weather"',
            id="another tool",
        ),
        pytest.param(
            {"messages": [QUESTION, calls("call_1")]},
            'message 2 calls a tool that is not declared: "clock"',
            id="no tools at all",
        ),
        pytest.param(
            chat(QUESTION, calls("call_1", arguments="{zone: 1}")),
            'message 2 calls "clock" with arguments that are not a JSON object',
            id="arguments that are no JSON",
        ),
        pytest.param(
            chat(QUESTION, calls("call_1", arguments="5")),
            'message 2 calls "clock" with arguments that are not a JSON object',
            id="arguments that are a number",
        ),
        pytest.param(
            chat(QUESTION, {**ANSWER, "weight": 0}),
            "has only weights of 0, so nothing is learned from it",
            id="weights of 0",
        ),
        pytest.param(chat(QUESTION, {**ANSWER, "content": " "}), "has an empty answer", id="a blank as the answer"),
        pytest.param(
            chat(QUESTION, {**ANSWER, "tool_calls": []}),
            "message 2 has an empty list of tool calls",
            id="a list of no calls",
        ),
        pytest.param(
            b'{"messages": [], "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}',
            'has the key "messages" twice in one object; the last one counts',
            id="a key twice",
        ),
        pytest.param(
            b'{"messages": [{"role": "user", "content" : "a", "content": "b"},'
            b' {"role": "assistant", "content": "\\":"}]}',
            'has the key "content" twice in one object; the last one counts',
            id="a key twice in a message",
        ),
        pytest.param(
            chat({**QUESTION, "content": "a<|im_start|>b"}, ANSWER),
            "has <|im_start|> in a text: it looks like a special token, but is ordinary text",
            id="a special token",
        ),
        pytest.param(
            b'{"messages": [{"role": "user", "content": "\\u003c|endoftext|\\u003e"},'
            b' {"role": "assistant", "content": "b"}]}',
            "has <|endoftext|> in a text: it looks like a special token, but is ordinary text",
            id="a special token, escaped",
        ),
    ],
)
def test_a_warning_of(example: object, warning: str) -> None:
    assert warned(example) == [warning]


def pair(preferred: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {
        "input": {"messages": [QUESTION], "tools": [CLOCK]},
        "preferred_output": [preferred],
        "non_preferred_output": [other],
    }


def test_a_warning_of_equal_outputs() -> None:
    assert warned(pair(ANSWER, ANSWER), Format.PREFERENCE) == ["has the same preferred and non-preferred output"]
    assert warned(pair(ANSWER, {**ANSWER, "name": "ann"}), Format.PREFERENCE) == [
        "has the same preferred and non-preferred output"
    ]
    assert warned(pair(ANSWER, {**ANSWER, "content": "Early."}), Format.PREFERENCE) == []
    assert warned(pair(calls("a"), calls("a", arguments='{"zone": 1}')), Format.PREFERENCE) == []


def test_a_warning_of_an_input_that_has_its_answer_and_of_weights_in_answers() -> None:
    example = pair({**ANSWER, "weight": 1}, {**ANSWER, "content": ""})
    example["input"]["messages"].append(ANSWER)
    assert warned(example, Format.PREFERENCE) == [
        "has an empty answer",
        'ends "input.messages" with a message from the assistant, which the answers would follow',
        "has a weight in an answer, which is not documented for preference files",
    ]


def test_a_warning_of_a_chat_after_whose_end_nothing_is_learned() -> None:
    told = warned({"messages": [QUESTION, ANSWER, QUESTION]}, provider="together")
    assert told == ["ends with a message from the user, after which nothing is learned"]


def said(role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "parts": list(parts)}


CANDIDATES = [{"content": [{"text": "a"}], "preferenceLabel": label} for label in ("preferred", "non-preferred")]


@pytest.mark.parametrize(
    ("provider", "example", "form", "warning"),
    [
        pytest.param(
            "vertex",
            {
                "contents": [said("user", {"text": "a"})],
                "completions": [{"score": score, "completion": said("model", {"text": "b"})} for score in (0, 1)],
            },
            Format.PREFERENCE,
            "has the same preferred and non-preferred output",
            id="Gemini, an equal pair",
        ),
        pytest.param(
            "vertex",
            {"contents": [said("user", {"text": "a"}), said("model", {"text": ""})]},
            Format.CHAT,
            "has an empty answer",
            id="Gemini, an empty answer",
        ),
        pytest.param(
            "bedrock",
            {
                "schemaVersion": "bedrock-conversation-2024",
                "messages": [
                    {"role": "user", "content": [{"text": "a"}]},
                    {"role": "assistant", "candidates": CANDIDATES},
                ],
            },
            Format.PREFERENCE,
            "has the same preferred and non-preferred output",
            id="Nova, an equal pair",
        ),
    ],
)
def test_other_formats_have_the_same_warnings(
    provider: str, example: dict[str, Any], form: Format, warning: str
) -> None:
    assert warned(example, form, provider=provider) == [warning]


def test_tools_of_a_pair_are_declared_in_its_input() -> None:
    assert warned(pair(calls("a"), ANSWER), Format.PREFERENCE) == []
    told = warned(pair(calls("a", name="weather"), ANSWER), Format.PREFERENCE)
    assert told == ['message 2 calls a tool that is not declared: "weather"']


def test_a_call_of_a_prompt_should_have_its_result() -> None:
    prompt = chat(calls("call_1"), QUESTION, answer="9")
    assert warned(prompt, Format.REINFORCEMENT) == ['message 1 has a tool call without a result: "call_1"']


@pytest.mark.parametrize(
    ("model", "warnings"),
    [
        pytest.param("gpt-4o-2024-08-06", 0, id="a model that sees"),
        pytest.param("gpt-4o-mini", 1, id="a model that is not said to"),
    ],
)
def test_images_for_a_model_that_is_not_trained_with_them(model: str, warnings: int) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    example = {"messages": [{"role": "user", "content": [image]}, ANSWER]}
    assert len(warned(example, model=model)) == warnings


@pytest.mark.parametrize("provider", ["together", "fireworks"])
def test_unpublished_keys_are_a_warning(provider: str) -> None:
    example = {"messages": [QUESTION, {**ANSWER, "id": 7}], "source": "crm"}
    assert warned(example, provider=provider) == [
        'has an unknown key: "source"',
        'message 2 has an unknown key: "id"',
    ]
