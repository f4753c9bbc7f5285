"""The rules that Azure, Together, Fireworks, Vertex and Bedrock publish for their training files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from monitor.dataset import METHODS, FileStats, Format, applicable, chosen, examine, format_of

QUESTION: dict[str, Any] = {"role": "user", "content": "What time is it?"}
ANSWER: dict[str, Any] = {"role": "assistant", "content": "Late."}
SYSTEM: dict[str, Any] = {"role": "system", "content": "Be brief."}
RESULT: dict[str, Any] = {"role": "tool", "content": "9"}
CALL: dict[str, Any] = {"type": "function", "function": {"name": "clock", "arguments": "{}"}}
CLOCK: dict[str, Any] = {"type": "function", "function": {"name": "clock"}}
EMBEDDED: dict[str, Any] = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
LINKED: dict[str, Any] = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}

LLAMA, GEMINI, GEMMA = "meta-llama/Llama-3.3-70B", "gemini-2.5-flash", "google/gemma-3-27b-it"
NOVA, CLAUDE, TITAN = "amazon.nova-lite-v1:0", "anthropic.claude-3-haiku-20240307-v1:0", "amazon.titan-text-express-v1"
GPT, REASONING = "gpt-4.1-mini", "o4-mini"


def chat(*messages: object, **further: object) -> dict[str, Any]:
    return {"messages": list(messages), **further}


def pair(preferred: list[object], other: list[object], *messages: object) -> dict[str, Any]:
    return {"input": chat(*messages or (QUESTION,)), "preferred_output": preferred, "non_preferred_output": other}


def turn(role: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "content": list(blocks or ({"text": "Hello."},))}


def converse(*turns: object, **further: object) -> dict[str, Any]:
    return {"schemaVersion": "bedrock-conversation-2024", "messages": list(turns), **further}


def media(kind: str = "image", uri: str = "s3://bucket/a.png") -> dict[str, Any]:
    return {kind: {"format": "png", "source": {"s3Location": {"uri": uri}}}}


def said(role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "parts": list(parts or ({"text": "Hello."},))}


def candidates(*labels: str) -> dict[str, Any]:
    return {
        "role": "assistant",
        "candidates": [{"content": [{"text": label}], "preferenceLabel": label} for label in labels],
    }


def completions(*scores: object) -> list[dict[str, Any]]:
    return [{"score": score, "completion": said("model", {"text": str(score)})} for score in scores]


FILE = {"fileData": {"mimeType": "image/png", "fileUri": "gs://bucket/a.png"}}
CONTENTS = [said("user"), said("model")]


def found(provider: str, model: str, method: str | None, example: dict[str, Any]) -> FileStats:
    rules = chosen(applicable(provider, model, method), format_of(example))
    return examine([json.dumps(example).encode()], model, rules)


@pytest.mark.parametrize(
    ("provider", "model", "method", "example"),
    [
        pytest.param(
            "azure", GPT, "dpo", pair([ANSWER, RESULT | {"tool_call_id": "a"}, ANSWER], [ANSWER]), id="azure, steps"
        ),
        pytest.param("azure", REASONING, None, chat(QUESTION, answer=4), id="azure, a prompt"),
        pytest.param("together", LLAMA, None, chat(SYSTEM, QUESTION, ANSWER), id="together, a chat"),
        pytest.param(
            "together", LLAMA, None, chat({**QUESTION, "weight": 0}, ANSWER), id="together, a weight of a question"
        ),
        pytest.param("together", LLAMA, None, chat(QUESTION, ANSWER, QUESTION), id="together, a question at the end"),
        pytest.param("together", LLAMA, None, {"text": "Once upon a time."}, id="together, text"),
        pytest.param(
            "together", LLAMA, None, {"prompt": "How are you?", "completion": "Well."}, id="together, an instruction"
        ),
        pytest.param("together", LLAMA, None, pair([ANSWER], [ANSWER]), id="together, a pair"),
        pytest.param(
            "together", LLAMA, None, chat({"role": "user", "content": [EMBEDDED]}, ANSWER), id="together, an image"
        ),
        pytest.param(
            "together",
            LLAMA,
            None,
            chat(QUESTION, {"role": "assistant", "tool_calls": [CALL]}, RESULT, RESULT, ANSWER, tools=[CLOCK]),
            id="together, tools",
        ),
        pytest.param(
            "fireworks",
            LLAMA,
            None,
            chat(QUESTION, {**ANSWER, "reasoning_content": "Hm.", "weight": 0}, QUESTION, ANSWER),
            id="fireworks, thoughts",
        ),
        pytest.param(
            "fireworks",
            LLAMA,
            None,
            chat(QUESTION, {"role": "assistant", "tool_calls": [CALL]}, tools=[CLOCK]),
            id="fireworks, a call without id",
        ),
        pytest.param("fireworks", LLAMA, "dpo", pair([ANSWER], [ANSWER]), id="fireworks, a pair"),
        pytest.param("fireworks", LLAMA, None, chat(SYSTEM, QUESTION, ground_truth=4), id="fireworks, a prompt"),
        pytest.param("vertex", GEMINI, None, {"contents": CONTENTS}, id="gemini"),
        pytest.param(
            "vertex",
            GEMINI,
            None,
            {"systemInstruction": said("system"), "contents": [said("user", FILE, {"text": "Who?"}), said("model")]},
            id="gemini, a system instruction and a file",
        ),
        pytest.param(
            "vertex",
            GEMINI,
            None,
            {
                "system_instruction": {"parts": [{"text": "a"}]},
                "contents": [said("user")],
                "completions": completions(1, 0),
            },
            id="gemini, a pair",
        ),
        pytest.param(
            "vertex", GEMINI, None, {"contents": [said("user")], "references": {"answer": "4"}}, id="gemini, a prompt"
        ),
        pytest.param("vertex", GEMMA, None, chat(QUESTION, ANSWER), id="an open model on vertex"),
        pytest.param(
            "vertex",
            GEMMA,
            None,
            {"prompt": "How are you?", "completion": "Well."},
            id="an open model on vertex, completion",
        ),
        pytest.param("bedrock", NOVA, None, converse(turn("user"), turn("assistant")), id="nova"),
        pytest.param(
            "bedrock",
            NOVA,
            None,
            converse(turn("user", media(), {"text": "Who?"}), turn("assistant"), system=[{"text": "Be brief."}]),
            id="nova, an image",
        ),
        pytest.param(
            "bedrock", NOVA, None, converse(turn("user"), candidates("preferred", "non-preferred")), id="nova, a pair"
        ),
        pytest.param(
            "bedrock", NOVA, None, chat(SYSTEM, QUESTION, reference_answer="4", id="s-1"), id="nova, a prompt"
        ),
        pytest.param("bedrock", CLAUDE, None, chat(QUESTION, ANSWER, system="Be brief."), id="claude"),
        pytest.param("bedrock", TITAN, None, {"prompt": "How are you?", "completion": "Well."}, id="titan"),
        pytest.param(
            "bedrock", "meta.llama3-2", None, converse(turn("user"), turn("assistant")), id="llama on bedrock"
        ),
        pytest.param(
            "bedrock", "openai.gpt-oss-20b", "reinforcement", chat(QUESTION, reference_answer=1), id="gpt-oss"
        ),
    ],
)
def test_it_is_taken(provider: str, model: str, method: str | None, example: dict[str, Any]) -> None:
    stats = found(provider, model, method, example)
    assert stats.bad == []
    assert stats.tokens > 0


@pytest.mark.parametrize(
    ("provider", "model", "method", "example", "reason"),
    [
        pytest.param(
            "azure",
            REASONING,
            None,
            chat({"role": "user", "content": [LINKED]}, answer=4),
            "message 1 has an image, which reinforcement files cannot have",
            id="azure, an image for reinforcement",
        ),
        pytest.param(
            "azure",
            GPT,
            "dpo",
            pair([ANSWER, QUESTION], [ANSWER]),
            'message 2 of "preferred_output"',
            id="azure, a question",
        ),
        pytest.param(
            "together",
            LLAMA,
            None,
            chat(QUESTION, QUESTION, ANSWER),
            "message 2 is from the user again",
            id="two questions",
        ),
        pytest.param(
            "together",
            LLAMA,
            None,
            chat(ANSWER, QUESTION, ANSWER),
            "begins with a message from the assistant, where one from the system or user is expected",
            id="together, an answer first",
        ),
        pytest.param(
            "together",
            LLAMA,
            "dpo",
            pair([ANSWER], [ANSWER], QUESTION, ANSWER),
            'ends "input.messages" with a message from the assistant',
            id="together, an input with its answer",
        ),
        pytest.param(
            "together",
            LLAMA,
            None,
            chat(QUESTION, SYSTEM, ANSWER),
            "message 2 is from the system, which only",
            id="late system",
        ),
        pytest.param(
            "together", LLAMA, None, chat(QUESTION), "has no message from the assistant", id="nothing to learn"
        ),
        pytest.param(
            "together",
            LLAMA,
            None,
            chat(QUESTION, ANSWER, text="a"),
            "has the keys of two formats, chat and text",
            id="together, two formats",
        ),
        pytest.param(
            "together",
            LLAMA,
            None,
            chat({"role": "user", "content": [LINKED]}, ANSWER),
            "message 1 has an image that is not embedded",
            id="together, a web address",
        ),
        pytest.param(
            "together",
            LLAMA,
            None,
            chat({"role": "user", "content": [EMBEDDED] * 11}, ANSWER),
            "has 11 images, where at most 10",
            id="together, too many images",
        ),
        pytest.param(
            "together",
            LLAMA,
            "dpo",
            pair([ANSWER, QUESTION, ANSWER], [ANSWER]),
            "has 3 messages",
            id="together, a long pair",
        ),
        pytest.param(
            "together",
            LLAMA,
            None,
            chat({"role": "developer", "content": "a"}, QUESTION, ANSWER),
            "message 1 is from the developer",
            id="together, a developer",
        ),
        pytest.param(
            "fireworks",
            LLAMA,
            None,
            chat(QUESTION, SYSTEM, ANSWER),
            "message 2 is from the system",
            id="fireworks, late system",
        ),
        pytest.param(
            "fireworks",
            LLAMA,
            None,
            chat(QUESTION, {**ANSWER, "weight": 0.5}),
            "message 2 has a weight other",
            id="half",
        ),
        pytest.param(
            "fireworks",
            LLAMA,
            None,
            chat({"role": "user", "content": [LINKED]}, ANSWER),
            "message 1 has an image that is not embedded",
            id="fireworks, a web address",
        ),
        pytest.param(
            "fireworks",
            LLAMA,
            None,
            {"prompt": "How are you?", "completion": "Well."},
            "is in the completion format",
            id="no instructions",
        ),
        pytest.param(
            "vertex", GEMINI, None, chat(QUESTION, ANSWER), "is an example for OpenAI", id="messages for gemini"
        ),
        pytest.param(
            "vertex",
            GEMINI,
            None,
            {"contents": [said("user"), said("assistant")]},
            "message 2 has the role",
            id="no model",
        ),
        pytest.param(
            "vertex",
            GEMINI,
            "supervised",
            {"contents": [*CONTENTS, said("user")]},
            "ends with a message from the user",
            id="gemini, a question at the end",
        ),
        pytest.param(
            "vertex",
            GEMINI,
            None,
            {"contents": [{"role": "user"}, said("model")]},
            'has no "parts" of message 1',
            id="no parts",
        ),
        pytest.param(
            "vertex",
            GEMINI,
            None,
            {"contents": [said("user", {"text": "a", **FILE}), said("model")]},
            "message 1 has a part that is not exactly one",
            id="two in one part",
        ),
        pytest.param(
            "vertex",
            GEMINI,
            None,
            {"contents": [said("user", {"fileData": {"fileUri": "gs://a"}}), said("model")]},
            "message 1 has fileData without",
            id="a file of no type",
        ),
        pytest.param(
            "vertex",
            GEMINI,
            None,
            {"contents": [said("user", {"fileData": {"mimeType": "a/b", "fileUri": "a.png"}}), said("model")]},
            "message 1 has fileData whose fileUri is neither gs://… nor a web address",
            id="a file on a disk",
        ),
        pytest.param(
            "vertex",
            GEMINI,
            None,
            {"contents": [said("user")], "completions": completions(1, 1)},
            '"completions" should be two',
            id="gemini, two good answers",
        ),
        pytest.param(
            "vertex",
            GEMINI,
            None,
            {"contents": [said("user", FILE)], "completions": completions(1, 0)},
            "message 1 has a file, which is not taken",
            id="gemini, a file in a pair",
        ),
        pytest.param(
            "vertex",
            GEMINI,
            None,
            {"contents": [said("user")], "references": {"answer": 4}},
            '"references" is not an object of texts',
            id="gemini, a number as reference",
        ),
        pytest.param(
            "bedrock",
            NOVA,
            None,
            converse(turn("assistant"), turn("user")),
            "ends with a message from the user",
            id="reversed",
        ),
        pytest.param(
            "bedrock",
            NOVA,
            None,
            converse(turn("user"), turn("user"), turn("assistant")),
            "message 2 is from",
            id="no turns",
        ),
        pytest.param(
            "bedrock",
            NOVA,
            None,
            converse(turn("assistant"), turn("user"), turn("assistant")),
            "begins with",
            id="begins",
        ),
        pytest.param("bedrock", NOVA, None, chat(QUESTION, ANSWER), '"content" of message 1 is not a list', id="texts"),
        pytest.param(
            "bedrock",
            NOVA,
            None,
            converse(turn("user", {"text": "User: hi"}), turn("assistant")),
            'has the reserved word "User:"',
            id="a reserved word",
        ),
        pytest.param(
            "bedrock",
            NOVA,
            None,
            converse(turn("user", *[media()] * 11), turn("assistant")),
            "has more than 10 images, more than one video, or both",
            id="nova, too many images",
        ),
        pytest.param(
            "bedrock",
            NOVA,
            None,
            converse(turn("user", media("video")), turn("assistant"), turn("user", media("video")), turn("assistant")),
            "has more than 10 images, more than one video, or both",
            id="nova, a video in each of two messages",
        ),
        pytest.param(
            "bedrock",
            NOVA,
            None,
            converse(turn("user", {"image": {"format": "bmp", "source": {}}}), turn("assistant")),
            'message 1 has an image whose format is not one of jpeg, png, gif, webp: "bmp"',
            id="nova, a bitmap",
        ),
        pytest.param(
            "bedrock",
            NOVA,
            None,
            converse(turn("user", media(uri="https://example.org/a.png")), turn("assistant")),
            "message 1 has image without source.s3Location.uri",
            id="an image that is not in S3",
        ),
        pytest.param(
            "bedrock",
            NOVA,
            None,
            converse(turn("user"), turn("assistant", media())),
            "message 2 has an image or a video, which only the user",
            id="an image as the answer",
        ),
        pytest.param(
            "bedrock",
            NOVA,
            None,
            converse(turn("user"), candidates("preferred", "preferred")),
            "message 2 should have candidates",
            id="two preferred candidates",
        ),
        pytest.param(
            "bedrock", CLAUDE, None, chat(QUESTION, ANSWER, id=1), 'has an unknown key: "id"', id="claude, another key"
        ),
        pytest.param(
            "bedrock", CLAUDE, None, chat(SYSTEM, QUESTION, ANSWER), "message 1 has the role", id="claude, system"
        ),
        pytest.param("bedrock", CLAUDE, None, chat(turn("user"), ANSWER), "message 1 has no text", id="claude, blocks"),
        pytest.param(
            "openai",
            GPT,
            None,
            converse(turn("user"), turn("assistant")),
            "is an example for Amazon Bedrock",
            id="converse",
        ),
        pytest.param("openai", GPT, None, {"contents": CONTENTS}, "is an example for Gemini", id="contents"),
    ],
)
def test_it_is_refused(provider: str, model: str, method: str | None, example: dict[str, Any], reason: str) -> None:
    ((_, given),) = found(provider, model, method, example).bad
    assert given.startswith(reason)


@pytest.mark.parametrize(
    ("provider", "model", "method", "fewest"),
    [
        pytest.param("openai", GPT, None, 10, id="openai"),
        pytest.param("azure", GPT, None, 10, id="azure"),
        pytest.param("together", LLAMA, None, 1, id="together"),
        pytest.param("fireworks", LLAMA, None, 3, id="fireworks"),
        pytest.param("bedrock", NOVA, "supervised", 8, id="nova"),
        pytest.param("bedrock", NOVA, "reinforcement", 100, id="nova, reinforcement"),
        pytest.param("bedrock", CLAUDE, None, 32, id="claude"),
        pytest.param("vertex", GEMINI, None, 1, id="gemini"),
    ],
)
def test_the_fewest_examples(provider: str, model: str, method: str | None, fewest: int) -> None:
    assert applicable(provider, model, method)[0].fewest == fewest


def test_a_method_for_which_nothing_is_published_has_no_rules() -> None:
    assert applicable("together", LLAMA, "reinforcement") == ()


def test_every_row_is_for_the_method_of_its_format() -> None:
    for method in ("supervised", "dpo", "reinforcement"):
        rows = applicable("azure", "anything", method)
        assert {METHODS.get(rules.format, "supervised") for rules in rows} == {method}
        assert rows
    assert {rules.format for rules in applicable("vertex", GEMINI, None)} == {
        Format.CHAT,
        Format.PREFERENCE,
        Format.REINFORCEMENT,
    }
