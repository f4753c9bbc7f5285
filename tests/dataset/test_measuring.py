"""Tokens of a file in memory, and of a file whose size alone is known."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from monitor.dataset import Measure, guess, measure

TEXTS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "golden.json").read_text())["texts"]


def line(question: str, answer: str = "yes", *, escape: bool = False) -> bytes:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages}, ensure_ascii=escape).encode() + b"\n"


def test_a_file_is_counted_exactly_for_a_model_whose_vocabulary_is_known() -> None:
    # 3 for each message and 3 at the end; user, assistant, hello, yes: one token each.
    assert measure(line("hello") * 12, "gpt-4o-mini") == Measure(
        tokens=12 * 13, low=12 * 13, high=12 * 13, examples=12, exact=True
    )


def test_for_another_model_the_count_has_a_band() -> None:
    found = measure(line("Where is the station, please?") * 100, "mistral-small")
    assert found is not None
    assert not found.exact
    assert found.low < found.tokens < found.high


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\n \r\n", id="blank lines"),
        pytest.param(b"\x1f\x8b\x08\x00\x00", id="a compressed file"),
        pytest.param(b"%PDF-1.7\n\x00\xff", id="a document"),
        pytest.param(b'{"id": 1}\n{"id": 2}\n', id="objects of another kind"),
        pytest.param(b"step,train_loss\n1,0.5\n", id="a table"),
    ],
)
def test_an_invalid_training_file_has_no_measure(content: bytes) -> None:
    assert measure(content, "gpt-4o") is None


@pytest.mark.parametrize(
    "further",
    [
        pytest.param({"metadata": {}}, id="a key that estimate refuses"),
        pytest.param(
            {"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]}, id="any order"
        ),
    ],
)
def test_an_accepted_file_is_counted_even_if_the_rules_reject_it(further: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "yes", "weight": 1}]
    further = {"messages": [*messages, *further.pop("messages", [])], **further}
    found = measure(json.dumps(further).encode(), "gpt-4o")
    assert found is not None
    assert found.examples == 1


def test_each_line_may_have_its_own_format() -> None:
    answer = [{"role": "assistant", "content": "b"}]
    asked = {"messages": [{"role": "user", "content": "a"}]}
    pair = {"input": asked, "preferred_output": answer, "non_preferred_output": answer}
    found = measure(json.dumps(pair).encode() + b"\n" + b'{"prompt": "a", "completion": "b"}', "gpt-4o")
    assert found is not None
    assert found.examples == 2


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-3.5-turbo"])
@pytest.mark.parametrize("escape", [pytest.param(False, id="as it is"), pytest.param(True, id="escaped")])
def test_an_estimate_from_the_size_contains_the_true_count(model: str, escape: bool) -> None:
    content = b"".join(
        line(text["text"] * text["times"], text["text"], escape=escape) for text in TEXTS if len(text["text"]) > 80
    )
    found, truth = guess(len(content), model), measure(content, model)
    assert truth is not None
    assert found.low <= truth.tokens <= found.high
    assert (found.examples, found.exact) == (None, False)


def test_another_thread_goes_on_while_a_file_is_measured() -> None:
    content = b"".join(line(f"Question number {at} of many, which is long enough?" * 20) for at in range(2_000))
    measure(line("load the vocabulary"), "gpt-4o")
    done = threading.Event()

    def count() -> None:
        measure(content, "gpt-4o")
        done.set()

    thread = threading.Thread(target=count)
    longest, last = 0.0, time.perf_counter()
    thread.start()
    while not done.is_set():
        time.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    thread.join()
    assert longest < 0.25  # five milliseconds, but for a busy machine


def test_images_make_the_count_a_lower_bound() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "hello"}, image]},
        {"role": "assistant", "content": "yes"},
    ]
    found = measure(json.dumps({"messages": messages}).encode(), "gpt-4o")
    assert found is not None
    assert (found.tokens, found.low, found.high, found.exact) == (13, 13, 13 + 1445, False)


def test_images_widen_the_range_of_a_model_without_vocabulary() -> None:
    def said(*parts: object) -> bytes:
        user = {"role": "user", "content": [{"type": "text", "text": "hello"}, *parts]}
        return json.dumps({"messages": [user, {"role": "assistant", "content": "yes"}]}).encode()

    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    without, found = measure(said(), "another-model"), measure(said(image), "another-model")
    assert without is not None
    assert without.low < without.tokens < without.high
    assert found == replace(without, high=without.high + 1445)


@pytest.mark.parametrize(
    "content",
    [pytest.param(line("a" * 200_000), id="one long line"), pytest.param(line("hello") * 20, id="many lines")],
)
def test_counting_can_be_cancelled_at_a_checkpoint(content: bytes) -> None:
    calls = 0

    def checkpoint() -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        measure(content, "gpt-4o", checkpoint)
