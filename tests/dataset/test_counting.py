"""Counts equal those of OpenAI's tokenizer in golden.json; without the vocabulary they stay within the stated range."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from monitor.dataset import RULES, Vocabulary, band, vocabulary_of
from monitor.dataset import vocabulary as vocabularies
from monitor.dataset.counting import _long, _short, counting_with
from monitor.dataset.tokens import tokens_of

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden.json").read_text())
TEXTS = [pytest.param(text, id=text["name"]) for text in GOLDEN["texts"]]
NAMES = [text["name"] for text in GOLDEN["texts"]]
USUAL = (
    GOLDEN["texts"][: NAMES.index("mixed scripts")] + GOLDEN["texts"][NAMES.index("python") : NAMES.index("camel case")]
)


@pytest.mark.parametrize("vocabulary", Vocabulary)
@pytest.mark.parametrize("golden", TEXTS)
def test_a_text_counts_what_openai_counts(golden: dict[str, Any], vocabulary: Vocabulary) -> None:
    assert counting_with(vocabulary)(golden["text"] * golden["times"]) == golden[vocabulary]


@pytest.mark.parametrize("vocabulary", Vocabulary)
@pytest.mark.parametrize("chat", [pytest.param(chat, id=str(at)) for at, chat in enumerate(GOLDEN["chats"])])
def test_a_chat_counts_what_the_cookbook_counts(chat: dict[str, Any], vocabulary: Vocabulary) -> None:
    assert tokens_of(chat, RULES[0], counting_with(vocabulary)) == chat[vocabulary]


@pytest.mark.parametrize("vocabulary", Vocabulary)
def test_a_text_that_was_counted_before_counts_the_same(vocabulary: Vocabulary) -> None:
    count = counting_with(vocabulary)
    for golden in GOLDEN["texts"] * 2:
        if golden["times"] == 1:
            assert count(golden["text"]) == golden[vocabulary], golden["name"]


@pytest.mark.parametrize("vocabulary", Vocabulary)
def test_a_text_that_never_breaks_is_counted_in_a_time_that_grows_with_its_length(vocabulary: Vocabulary) -> None:
    text = "".join(Random(1).choices("abcdefgh", k=200_000))
    one_by_one = sum(counting_with(vocabulary)(text[at : at + 20_000]) for at in range(0, len(text), 20_000))
    assert counting_with(vocabulary)(text) == pytest.approx(one_by_one, rel=0.001)


def test_both_merge_algorithms_agree() -> None:
    ranks = {bytes([byte]): byte for byte in range(256)}
    dice = Random(2)
    for rank in range(256, 1500):
        ranks.setdefault(b"".join(dice.choices([word for word in ranks if len(word) < 6], k=2)), rank)
    for _ in range(300):
        word = bytes(dice.choices(b"abcdefgh\xc3\xa9", k=dice.randint(1, 90)))
        assert _short(word, ranks) == _long(word, ranks)


@pytest.mark.parametrize("vocabulary", Vocabulary)
@pytest.mark.parametrize(
    "languages", [pytest.param(USUAL[at : at + 6], id=f"from {at}") for at in range(0, len(USUAL) - 5, 6)]
)
def test_without_the_vocabulary_the_range_contains_the_true_count(
    languages: list[dict[str, Any]], vocabulary: Vocabulary
) -> None:
    count = vocabularies._by_bytes(vocabulary)
    low, high = band(sum(count(text["text"]) for text in languages), vocabulary)
    assert low <= sum(text[vocabulary] for text in languages) <= high


@pytest.mark.parametrize(
    ("model", "vocabulary"),
    [
        pytest.param("gpt-4o-mini-2024-07-18", Vocabulary.O200K, id="a snapshot"),
        pytest.param("gpt-4o", Vocabulary.O200K, id="an alias"),
        pytest.param("gpt-4.1-nano", Vocabulary.O200K, id="gpt-4.1 is not a gpt-4"),
        pytest.param("o4-mini", Vocabulary.O200K, id="a reasoning model"),
        pytest.param("gpt-4-0613", Vocabulary.CL100K, id="gpt-4"),
        pytest.param("gpt-3.5-turbo", Vocabulary.CL100K, id="gpt-3.5"),
        pytest.param("babbage-002", Vocabulary.CL100K, id="a completion model"),
        pytest.param("ft:gpt-4o-2024-08-06:org:name:id", Vocabulary.O200K, id="a tuned model"),
        pytest.param("ft:gpt-3.5-turbo-0125:org::id", Vocabulary.CL100K, id="a tuned model of an older family"),
        pytest.param("mistral-small", None, id="somebody else's"),
        pytest.param("davinci", None, id="one of before these vocabularies"),
    ],
)
def test_a_model_reads_with(model: str, vocabulary: Vocabulary | None) -> None:
    assert vocabulary_of(model) is vocabulary
