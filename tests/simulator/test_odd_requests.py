"""Any request is answered with a reasoned error, never with a server failure."""

from __future__ import annotations

import pytest

from tests.simulator.conftest import Client

ASKED = [{"role": "user", "content": "x"}]


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("method", {"type": []}, "method.type"),
        ("method", 5, "method"),
        ("method", {"type": "supervised", "supervised": 5}, "supervised"),
        ("hyperparameters", [1], "hyperparameters"),
        ("hyperparameters", {"n_epochs": {}}, "hyperparameters.n_epochs"),
        ("integrations", 5, "integrations"),
        ("integrations", "x", "integrations"),
        ("metadata", {"a": None}, "metadata.a"),
        ("seed", 1.5, "seed"),
        ("model", "ft:", "model"),
        ("training_file", None, "training_file"),
    ],
)
async def test_an_odd_job_is_refused(client: Client, field: str, value: object, param: str) -> None:
    body = {"model": "gpt-4o-mini", "training_file": "file-1", field: value}
    status, answer = await client.call("POST", "/fine_tuning/jobs", body)
    assert (status, answer["error"]["param"]) == (400, param)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"a":' + b"[" * 200_000], ids=lambda body: body[:6])
async def test_a_body_that_is_not_a_json_object_is_refused(client: Client, body: bytes) -> None:
    status, answer = await client.call("POST", "/fine_tuning/jobs", data=body)
    assert status == 400
    assert answer["error"]["message"].startswith("We could not parse the JSON body")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b'{"messages": [{"role": [], "content": "x"}]}', 200),
        (b'{"messages": [{"role": "assistant", "content": "x", "tool_calls": 5}]}', 200),
        (b'{"messages": [{"role": "assistant", "content": "\\ud800"}]}', 200),
        (b'{"input": 5, "preferred_output": 5}', 200),
        (b'{"a":' + b"[" * 200_000, 400),
        (b"[]", 400),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else str(value),
)
async def test_an_odd_line_of_a_file_is_read_or_refused(client: Client, line: bytes, status: int) -> None:
    assert (await client.upload((line + b"\n") * 12))[0] == status


@pytest.mark.parametrize("options", [5, "x", [1], True])
async def test_odd_options_of_a_stream_are_refused_before_anything_counts(client: Client, options: object) -> None:
    body = {"model": "gpt-4o-mini", "messages": ASKED, "stream": True, "stream_options": options}
    status, answer = await client.call("POST", "/chat/completions", body)
    assert (status, answer["error"]["param"]) == (400, "stream_options")


@pytest.mark.parametrize("message", [5, {"content": 5}, {"tool_calls": 5}, {"content": [5, {"text": 1}]}])
async def test_odd_messages_have_no_text(client: Client, message: object) -> None:
    status, answer = await client.call("POST", "/chat/completions", {"model": "gpt-4o-mini", "messages": [message]})
    assert status == 200
    assert answer["usage"]["prompt_tokens"] == 4
