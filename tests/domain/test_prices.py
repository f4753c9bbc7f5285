"""The book of prices, as tables: names, days, ways of use, ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from monitor.domain.costs import TokenDollars
from monitor.domain.model import TokenCount
from monitor.domain.pricing import (
    EMPTY,
    ModelEnd,
    Prices,
    TokenPrices,
    TokenRate,
    shutdown,
    training_window,
    use_cost,
)
from monitor.providers.openai.naming import NAMING


def prices(input_: int | None, cached: int | None, output: int | None) -> TokenPrices:
    return TokenPrices(
        input=None if input_ is None else Decimal(input_),
        cached_input=None if cached is None else Decimal(cached),
        output=None if output is None else Decimal(output),
    )


OLD, TODAY = date(2025, 1, 1), date(2026, 11, 22)
EVERYBODYS = Prices(
    tokens=(
        TokenRate(
            models=("mini", "mini-2024"), prices=prices(4, 1, 16), batch=prices(2, None, 8), valid_from=date(2025, 1, 2)
        ),
        TokenRate(models=("mini",), prices=prices(40, 10, 160), valid_until=date(2025, 1, 1)),
        TokenRate(
            models=("share",),
            prices=prices(4, 1, 16),
            batch=prices(2, 1, 8),
            shared=prices(20, 5, 80),
            shared_batch=prices(10, 3, 40),
        ),
        TokenRate(models=("half",), prices=prices(4, 1, 16), batch=prices(2, 1, 8), shared=prices(20, 5, 80)),
        TokenRate(models=("mini",), provider="azure", prices=prices(7, 7, 7)),
    ),
    ends=(
        ModelEnd(models=("mini",), provider="azure", base=date(2030, 1, 1), fine_tuned=date(2031, 1, 1)),
        ModelEnd(models=("mini",), closed=date(2027, 1, 6)),
        ModelEnd(models=("share", "mini"), opened=date(2024, 7, 23), closed=date(2028, 1, 1), base=date(2027, 1, 14)),
        ModelEnd(models=("mini",), base=date(2029, 1, 1), fine_tuned=date(2027, 2, 1)),
    ),
)
BOOK = EVERYBODYS.of("openai", seller=None, naming=NAMING)
ALL = TokenCount(input=1_000_000, cached_input=2_000_000, output=500_000)


def paid(input_: str, cached: str, output: str) -> TokenDollars:
    return TokenDollars(input=Decimal(input_), cached_input=Decimal(cached), output=Decimal(output))


@pytest.mark.parametrize(
    ("model", "day", "tokens", "way", "cost"),
    [
        pytest.param("mini", TODAY, ALL, {}, paid("4", "2", "8"), id="each kind at its price"),
        pytest.param("ft:mini-2024:acme:bot:x", TODAY, ALL, {}, paid("4", "2", "8"), id="a tuned model's"),
        pytest.param("mini", TODAY, TokenCount(input=1), {}, paid("0.000004", "0", "0"), id="one token"),
        pytest.param("mini", TODAY, TokenCount(), {}, paid("0", "0", "0"), id="nothing costs nothing"),
        pytest.param("mini", OLD, ALL, {}, paid("40", "20", "80"), id="the last day of the old price"),
        pytest.param("mini", date(2025, 1, 2), ALL, {}, paid("4", "2", "8"), id="the first day of the new"),
        pytest.param("mini-2024", OLD, ALL, {}, None, id="a day without a price"),
        pytest.param("mini", TODAY, TokenCount(output=10**15), {}, None, id="an amount that nobody could pay"),
        pytest.param("mini-2025", TODAY, ALL, {}, None, id="another snapshot"),
        pytest.param("min", TODAY, ALL, {}, None, id="half a name"),
        pytest.param(
            "mini", TODAY, TokenCount(input=3, output=5), {"batch": True}, paid("6E-6", "0", "4E-5"), id="batch"
        ),
        pytest.param(
            "mini", TODAY, TokenCount(input=3, cached_input=1), {"batch": True}, None, id="no price for a kind"
        ),
        pytest.param("mini", OLD, TokenCount(), {"batch": True}, None, id="no price for the way"),
        pytest.param("mini", TODAY, ALL, {"shared": True}, paid("4", "2", "8"), id="sharing changes nothing here"),
        pytest.param("share", TODAY, ALL, {"shared": True}, paid("20", "10", "40"), id="sharing changes the price"),
        pytest.param("share", TODAY, ALL, {}, paid("4", "2", "8"), id="for who shares alone"),
        pytest.param("share", TODAY, ALL, {"batch": True}, paid("2", "2", "4"), id="batch without sharing"),
        pytest.param("share", TODAY, ALL, {"batch": True, "shared": True}, paid("10", "6", "20"), id="both"),
        pytest.param("half", TODAY, ALL, {"batch": True, "shared": True}, None, id="nobody has said what both cost"),
    ],
)
def test_tokens_cost(model: str, day: date, tokens: TokenCount, way: dict[str, Any], cost: TokenDollars | None) -> None:
    assert use_cost(model, day, tokens, BOOK, **way) == cost


@pytest.mark.parametrize("kind", ["input", "cached_input", "output"])
def test_a_kind_of_token_without_a_price_makes_the_whole_unknown(kind: str) -> None:
    given = {"input": Decimal(1), "cached_input": Decimal(1), "output": Decimal(1)} | {kind: None}
    prices = Prices(tokens=(TokenRate(models=("mini",), prices=TokenPrices(**given)),))
    assert use_cost("mini", TODAY, ALL, prices) is None
    others = {"input": 1, "cached_input": 1, "output": 1} | {kind: 0}
    assert use_cost("mini", TODAY, TokenCount(**others), prices) is not None


def test_every_provider_has_rows_of_its_own() -> None:
    azure = EVERYBODYS.of("azure", seller=None)
    assert use_cost("mini", TODAY, ALL, azure) == paid("7", "14", "3.5")
    assert use_cost("share", TODAY, ALL, azure) is None
    assert (shutdown("mini", azure), shutdown("mini", azure, tuned=True)) == (date(2030, 1, 1), date(2031, 1, 1))
    assert training_window("mini", azure) == (None, None)


def test_published_prices_hold_for_their_seller_and_those_of_the_operators_file_for_the_provider() -> None:
    published = replace(EVERYBODYS, training=(), tokens=tuple(replace(rate, published=True) for rate in BOOK.tokens))
    elsewhere = published.of("openai", seller=None)
    assert use_cost("mini", TODAY, ALL, elsewhere) is None
    assert shutdown("mini", elsewhere) is not None, "the operator's own file has it"
    like = published.of("together", seller="openai")
    assert use_cost("mini", TODAY, ALL, like) == use_cost("mini", TODAY, ALL, BOOK)


@pytest.mark.parametrize(
    ("base", "tuned", "end"),
    [
        pytest.param("mini", False, date(2027, 1, 14), id="the base, by the first row that knows"),
        pytest.param("mini", True, date(2027, 2, 1), id="what was tuned from it"),
        pytest.param("share", False, date(2027, 1, 14), id="another base"),
        pytest.param("share", True, None, id="the base's end is not that of its tuned models"),
        pytest.param("else", False, None, id="nobody knows it"),
    ],
)
def test_a_model_ends(base: str, tuned: bool, end: date | None) -> None:
    assert shutdown(base, BOOK, tuned=tuned) == end


def test_a_base_can_be_tuned_within_its_window() -> None:
    assert training_window("mini", BOOK) == (date(2024, 7, 23), date(2027, 1, 6))
    assert training_window("ft:share:acme::x", BOOK) == (date(2024, 7, 23), date(2028, 1, 1))
    assert training_window("else", BOOK) == (None, None)


def test_an_empty_book_knows_nothing() -> None:
    assert use_cost("mini", TODAY, TokenCount(), EMPTY) is None
    assert shutdown("mini", EMPTY) is None
    assert training_window("mini", EMPTY) == (None, None)
