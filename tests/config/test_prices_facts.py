"""Every price and date that OpenAI has published, one by one."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from monitor.config import load_prices
from monitor.domain.costs import TokenDollars
from monitor.domain.model import Method, Status, TokenCount
from monitor.domain.pricing import Prices, rate_of, shutdown, training_window, use_cost
from monitor.providers.openai.naming import NAMING
from tests.builders import NOON, job

MILLION = 1_000_000
TODAY = NOON.date()
Three = tuple[str, str | None, str]


@pytest.fixture(scope="module")
def book() -> Prices:
    return load_prices().of("openai", seller="openai", naming=NAMING)


# Per million tokens: training; input, cached input and output of the tuned model; the same over the Batch API.
PER_MILLION: list[tuple[str, str, Three, Three | None]] = [
    ("ada", "0.40", ("1.60", None, "1.60"), None),
    ("babbage", "0.60", ("2.40", None, "2.40"), None),
    ("curie", "3.00", ("12.00", None, "12.00"), None),
    ("davinci", "30.00", ("120.00", None, "120.00"), None),
    ("babbage-002", "0.40", ("1.60", None, "1.60"), ("0.80", None, "0.90")),
    ("davinci-002", "6.00", ("12.00", None, "12.00"), ("6.00", None, "6.00")),
    ("gpt-3.5-turbo", "8.00", ("3.00", None, "6.00"), ("1.50", None, "3.00")),
    ("gpt-3.5-turbo-0613", "8.00", ("3.00", None, "6.00"), ("1.50", None, "3.00")),
    ("gpt-3.5-turbo-1106", "8.00", ("3.00", None, "6.00"), ("1.50", None, "3.00")),
    ("gpt-3.5-turbo-0125", "8.00", ("3.00", None, "6.00"), ("1.50", None, "3.00")),
    ("gpt-4o-2024-08-06", "25.00", ("3.75", "1.875", "15.00"), ("2.225", "0.90", "12.50")),
    ("gpt-4o-mini-2024-07-18", "3.00", ("0.30", "0.15", "1.20"), ("0.15", "0.075", "0.60")),
    ("gpt-4.1-2025-04-14", "25.00", ("3.00", "0.75", "12.00"), ("1.50", "0.50", "6.00")),
    ("gpt-4.1-mini-2025-04-14", "5.00", ("0.80", "0.20", "3.20"), ("0.40", "0.10", "1.60")),
    ("gpt-4.1-nano-2025-04-14", "1.50", ("0.20", "0.05", "0.80"), ("0.10", "0.025", "0.40")),
]
USES = [
    *((model, normal, {}) for model, _, normal, _ in PER_MILLION),
    *((model, batch, {"batch": True}) for model, _, _, batch in PER_MILLION if batch is not None),
    ("o4-mini-2025-04-16", ("4.00", "1.00", "16.00"), {}),
    ("o4-mini-2025-04-16", ("2.00", "0.50", "8.00"), {"batch": True}),
    ("o4-mini-2025-04-16", ("2.00", "0.50", "8.00"), {"shared": True}),
    ("o4-mini-2025-04-16", ("1.00", "0.25", "4.00"), {"batch": True, "shared": True}),
]


@pytest.mark.parametrize(("model", "train"), [(model, train) for model, train, _, _ in PER_MILLION])
def test_a_million_trained_tokens_cost(book: Prices, model: str, train: str) -> None:
    rate = rate_of(job(model=model, status=Status.SUCCEEDED, finished_at=NOON), book.training)
    assert rate is not None
    assert (rate.per_million, rate.per_hour) == (Decimal(train), None)


def test_an_hour_of_reinforcement_costs(book: Prices) -> None:
    trained = job(model="o4-mini-2025-04-16", method=Method.REINFORCEMENT, finished_at=NOON)
    rate = rate_of(trained, book.training)
    assert rate is not None
    assert (rate.per_million, rate.per_hour) == (None, Decimal(100))


@pytest.mark.parametrize(("model", "prices", "way"), USES, ids=str)
@pytest.mark.parametrize("name", ["{}", "ft:{}:acme:bot:abc", "ft:{}:acme::abc:ckpt-step-100", "ft-{}"])
def test_a_million_tokens_of_a_tuned_model_cost(
    book: Prices, name: str, model: str, prices: Three, way: dict[str, bool]
) -> None:
    input_, cached, output = prices
    tokens = TokenCount(input=MILLION, cached_input=MILLION if cached else 0, output=MILLION)
    expected = TokenDollars(input=Decimal(input_), cached_input=Decimal(cached or 0), output=Decimal(output))
    assert use_cost(name.format(model), TODAY, tokens, book, **way) == expected


@pytest.mark.parametrize("model", [model for model, _, (_, cached, _), _ in PER_MILLION if cached is None])
def test_cached_tokens_of_a_model_that_has_no_price_for_them_are_unknown(book: Prices, model: str) -> None:
    assert use_cost(model, TODAY, TokenCount(cached_input=1), book) is None


@pytest.mark.parametrize("model", ["ada", "babbage", "curie", "davinci"])
def test_the_first_models_were_never_on_the_batch_api(book: Prices, model: str) -> None:
    assert use_cost(model, TODAY, TokenCount(input=1), book, batch=True) is None


@pytest.mark.parametrize("model", ["gpt-4.1-2025-04-14", "gpt-4o-mini"])
def test_sharing_data_makes_nothing_else_cheaper(book: Prices, model: str) -> None:
    tokens = TokenCount(input=MILLION)
    assert use_cost(model, TODAY, tokens, book, shared=True) == use_cost(model, TODAY, tokens, book)


@pytest.mark.parametrize(
    ("day", "prices"),
    [
        pytest.param(date(2023, 8, 21), None, id="the day before tuning was opened"),
        pytest.param(date(2023, 8, 22), (12, 16), id="the announcement"),
        pytest.param(date(2023, 11, 5), (12, 16), id="the last day that is certain"),
        pytest.param(date(2023, 11, 6), None, id="it may have become cheaper"),
        pytest.param(date(2023, 12, 31), None, id="or not yet"),
        pytest.param(date(2024, 1, 1), (3, 6), id="by then it was cheaper"),
        pytest.param(date(2026, 11, 22), (3, 6), id="and stayed so"),
    ],
)
@pytest.mark.parametrize("model", ["gpt-3.5-turbo", "ft:gpt-3.5-turbo-0613:acme::abc"])
def test_the_price_of_the_day_counts(book: Prices, model: str, day: date, prices: tuple[int, int] | None) -> None:
    cost = use_cost(model, day, TokenCount(input=MILLION, output=MILLION), book)
    assert cost == (
        prices and TokenDollars(input=Decimal(prices[0]), cached_input=Decimal(0), output=Decimal(prices[1]))
    )


@pytest.mark.parametrize(
    "model",
    [
        pytest.param("ft:gpt-4-0613:acme::abc", id="never on a public table"),
        pytest.param("ft:gpt-4o-2024-11-20:acme::abc", id="one third party alone"),
        pytest.param("ft:gpt-4o-2024-05-13:acme::abc", id="a snapshot that is not in the table"),
        pytest.param("ft:gpt-4o-mini-2099-01-01:acme::abc", id="a snapshot of the future"),
        pytest.param("gpt-4.1-2025-04-14-preview", id="a name that only begins like another"),
        pytest.param("ft:GPT-4o:acme::abc", id="another name"),
        pytest.param("ft:", id="no name"),
        pytest.param("", id="nothing"),
    ],
)
def test_what_is_not_certain_has_no_price(book: Prices, model: str) -> None:
    assert use_cost(model, TODAY, TokenCount(input=1), book) is None
    assert use_cost(model, TODAY, TokenCount(), book) is None
    for method in Method:
        assert rate_of(job(model=model, method=method), book.training) is None


# When the base and what was tuned from it stop answering.
ENDS: list[tuple[str, str | None, str]] = [
    ("ada", "2024-01-04", "2024-01-04"),
    ("babbage", "2024-01-04", "2024-01-04"),
    ("curie", "2024-01-04", "2024-01-04"),
    ("davinci", "2024-01-04", "2024-01-04"),
    ("babbage-002", "2026-09-28", "2026-10-23"),
    ("davinci-002", "2026-09-28", "2026-10-23"),
    ("gpt-3.5-turbo", "2026-10-23", "2026-10-23"),
    ("gpt-3.5-turbo-0613", "2024-09-13", "2026-10-23"),
    ("gpt-3.5-turbo-1106", "2026-09-28", "2026-10-23"),
    ("gpt-3.5-turbo-0125", "2026-10-23", "2026-10-23"),
    ("gpt-4-0613", "2026-10-23", "2026-10-23"),
    ("gpt-4o-2024-08-06", "2027-01-14", "2027-01-14"),
    ("gpt-4o-2024-11-20", "2027-01-14", "2027-01-14"),
    ("gpt-4o-mini-2024-07-18", "2027-01-14", "2027-01-14"),
    ("gpt-4.1-2025-04-14", "2027-01-14", "2027-01-14"),
    ("gpt-4.1-mini-2025-04-14", "2027-01-14", "2027-01-14"),
    ("gpt-4.1-nano-2025-04-14", "2026-10-23", "2026-10-23"),
    ("o4-mini-2025-04-16", "2026-10-23", "2026-10-23"),
]


@pytest.mark.parametrize(("model", "base", "tuned"), ENDS)
def test_models_end(book: Prices, model: str, base: str, tuned: str) -> None:
    assert shutdown(model, book) == date.fromisoformat(base)
    assert shutdown(model, book, tuned=True) == date.fromisoformat(tuned)


def test_a_model_that_nobody_knows_has_no_known_end(book: Prices) -> None:
    assert shutdown("gpt-4o-2024-05-13", book) is None
    assert shutdown("llama", book, tuned=True) is None
    assert shutdown("gpt-4o-mini", load_prices().of("azure", seller="azure")) is None, (
        "every provider has a calendar of its own"
    )


OPEN: list[tuple[str, Any, Any]] = [
    ("gpt-3.5-turbo-0613", "2023-08-22", None),
    ("babbage-002", "2023-08-22", "2024-10-28"),
    ("davinci-002", "2023-08-22", "2024-10-28"),
    ("gpt-4o-2024-08-06", "2024-08-20", "2027-01-06"),
    ("gpt-4o-mini-2024-07-18", "2024-07-23", "2027-01-06"),
    ("gpt-4.1-2025-04-14", "2025-04-14", "2027-01-06"),
    ("gpt-4.1-mini-2025-04-14", "2025-04-14", "2027-01-06"),
    ("gpt-4.1-nano-2025-04-14", "2025-05-07", "2026-10-23"),
    ("o4-mini-2025-04-16", "2025-05-07", "2026-10-23"),
    ("gpt-4-0613", None, None),
    ("llama", None, None),
]


@pytest.mark.parametrize(("model", "opened", "closed"), OPEN)
def test_models_could_be_tuned(book: Prices, model: str, opened: str | None, closed: str | None) -> None:
    window = tuple(None if day is None else date.fromisoformat(day) for day in (opened, closed))
    assert training_window(f"ft:{model}:acme::abc", book) == training_window(model, book) == window
