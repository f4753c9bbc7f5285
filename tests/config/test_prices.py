"""The price table: exact, dated, and silent where nothing is certain."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from monitor.config import ConfigError, load_prices, rates
from monitor.config.prices import price_table
from monitor.domain.model import Basis, Method, Status, TokenCount
from monitor.domain.pricing import price, shutdown, training_window, use_cost
from monitor.providers.openai.naming import NAMING
from tests.builders import job
from tests.config.conftest import Folder

DAY = datetime(2026, 9, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("model", "method", "usd"),
    [
        pytest.param("gpt-3.5-turbo-0125", "supervised", "2.40", id="OpenAI's own example: 100 000 tokens, 3 epochs"),
        pytest.param("gpt-3.5-turbo", "supervised", "2.40", id="an alias"),
        pytest.param("gpt-4o-mini-2024-07-18", "supervised", "0.90", id="4o mini"),
        pytest.param("gpt-4o-mini", "dpo", "0.90", id="4o mini, preferences"),
        pytest.param("gpt-4o-2024-08-06", "supervised", "7.50", id="4o"),
        pytest.param("gpt-4o", "dpo", "7.50", id="4o, preferences"),
        pytest.param("gpt-4.1", "supervised", "7.50", id="4.1"),
        pytest.param("gpt-4.1-2025-04-14", "dpo", "7.50", id="4.1, preferences"),
        pytest.param("gpt-4.1-mini", "supervised", "1.50", id="4.1 mini"),
        pytest.param("gpt-4.1-nano-2025-04-14", "supervised", "0.45", id="4.1 nano"),
        pytest.param("babbage-002", "supervised", "0.12", id="babbage"),
        pytest.param("davinci-002", "supervised", "1.80", id="davinci"),
        pytest.param("ft:gpt-4o-mini-2024-07-18:org:name:id", "supervised", "0.90", id="tuned from a tuned model"),
    ],
)
def test_three_hundred_thousand_trained_tokens_cost(model: str, method: str, usd: str) -> None:
    done = job(status=Status.SUCCEEDED, model=model, method=Method(method), trained_tokens=300_000, finished_at=DAY)
    assert price(done, rates()).usd == Decimal(usd)


@pytest.mark.parametrize(
    ("model", "method"),
    [
        pytest.param("gpt-4o-2024-11-20", "supervised", id="only one third party has a price"),
        pytest.param("gpt-4-0613", "supervised", id="no public price"),
        pytest.param("o4-mini", "supervised", id="a method that it never had"),
        pytest.param("gpt-3.5-turbo", "dpo", id="another such method"),
        pytest.param("gpt-4o-2024-05-13", "supervised", id="a snapshot that is not in the table"),
        pytest.param("llama-3", "supervised", id="somebody else's model"),
    ],
)
def test_what_is_not_certain_is_unknown_and_not_free(model: str, method: str) -> None:
    done = job(status=Status.SUCCEEDED, model=model, method=Method(method), trained_tokens=300_000, finished_at=DAY)
    assert price(done, rates()).basis is Basis.UNKNOWN


def test_reinforcement_is_paid_by_the_hour() -> None:
    (rate,) = (rate for rate in rates() if "o4-mini" in rate.models)
    assert (rate.per_hour, rate.per_million, rate.methods) == (Decimal(100), None, frozenset({Method.REINFORCEMENT}))


def test_a_job_that_ends_after_training_was_closed_still_has_its_price() -> None:
    late = datetime(2027, 1, 9, tzinfo=UTC)
    done = job(status=Status.SUCCEEDED, model="gpt-4o-mini", trained_tokens=1_000_000, finished_at=late)
    assert price(done, rates()).usd == Decimal("3.00")


def test_no_model_has_two_prices_for_one_method_on_one_day() -> None:
    table = [(name, method, rate) for rate in rates() for name in rate.models for method in rate.methods]
    assert len({(name, method) for name, method, _ in table}) == len(table)


def test_the_table_keeps_what_is_known_of_inference_and_shutdowns() -> None:
    rows = {row.models[0]: row for row in price_table().prices}
    assert rows["gpt-4o-mini-2024-07-18"].inference[0].cached_input == Decimal("0.15")
    assert rows["gpt-4o-mini-2024-07-18"].shutdown.fine_tuned == date(2027, 1, 14)
    assert rows["gpt-3.5-turbo-0125"].inference[2].valid_until == date(2023, 11, 5)
    shared = rows["o4-mini-2025-04-16"].inference[0].shared
    assert shared is not None
    assert shared.output == Decimal("8.00")


OWN = """
checked: 2026-11-01
prices:
  - models: [gpt-4o-mini, our-model]
    methods: [supervised]
    confidence: A
    source: our contract
    training:
      - {per_million: 0.1, valid_from: 2026-07-01}
      - {per_million: 0.3, valid_until: 2026-06-30}
"""


@pytest.mark.parametrize(
    ("model", "day", "usd"),
    [
        pytest.param("our-model", date(2026, 6, 30), "0.3", id="the last day of the old price"),
        pytest.param("our-model", date(2026, 7, 1), "0.1", id="the first day of the new price, exactly"),
        pytest.param("gpt-4o-mini", date(2026, 7, 1), "0.1", id="before the packaged table"),
        pytest.param("gpt-4o", date(2026, 7, 1), "25", id="beside the packaged table"),
    ],
)
def test_an_override_comes_first(folder: Folder, model: str, day: date, usd: str) -> None:
    own = rates(folder.write(OWN).file)
    end = datetime(day.year, day.month, day.day, 23, 59, tzinfo=UTC)
    done = job(status=Status.SUCCEEDED, model=model, trained_tokens=1_000_000, finished_at=end)
    assert price(done, own).usd == Decimal(usd)


USE = """
checked: 2026-11-01
prices:
  - models: [gpt-4o-mini]
    methods: [supervised]
    confidence: B
    source: our contract
    inference:
      - {input: 0.1, output: 0.7, batch: {input: 0.05}, confidence: A}
      - {input: 7, confidence: C}
    shutdown: {fine_tuned: 2028-01-01}
  - models: [gpt-4o-mini-2024-07-18]
    provider: azure
    methods: [supervised]
    confidence: B
    source: their page
    inference: [{input: 9}]
"""


def test_an_override_comes_first_for_use_and_ends_too_and_hides_only_what_it_says(folder: Folder) -> None:
    both = load_prices(folder.write(USE).file)
    book = both.of("openai", seller="openai", naming=NAMING)
    million = TokenCount(input=1_000_000)
    own = use_cost("gpt-4o-mini", DAY.date(), million, book)
    assert own is not None
    assert own.input == Decimal("0.1")
    assert use_cost("gpt-4o-mini", DAY.date(), TokenCount(cached_input=1), book) is None, "not the packaged price"
    assert use_cost("gpt-4o-mini", DAY.date(), TokenCount(output=1), book, batch=True) is None
    packaged = use_cost("gpt-4o-mini-2024-07-18", DAY.date(), million, book)
    assert packaged is not None
    assert packaged.input == Decimal("0.30"), "the other provider's row is not ours"
    theirs = use_cost("gpt-4o-mini-2024-07-18", DAY.date(), million, both.of("azure", seller=None))
    assert theirs is not None
    assert theirs.input == Decimal(9)
    assert shutdown("gpt-4o-mini", book, tuned=True) == date(2028, 1, 1)
    assert shutdown("gpt-4o-mini", book) == date(2027, 1, 14)
    assert training_window("gpt-4o-mini", book) == (date(2024, 7, 23), date(2027, 1, 6))
    assert load_prices().of("openai", seller=None).training == (), "what came with the program is for its seller"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param(("per_million: 0.1", "per_milion: 0.1"), "per_milion: unknown key; did you mean", id="a typo"),
        pytest.param(("per_million: 0.1", "per_million: -1"), "greater than or equal to 0", id="a negative price"),
        pytest.param(("per_million: 0.1", "per_million: '1e-5000'"), "should be at least 1e-9", id="an absurd price"),
        pytest.param(("per_million: 0.1", "per_million: .nan"), "per_million: should be", id="not a number"),
        pytest.param(("per_million: 0.1, ", ""), "give either per_million or per_hour", id="no price"),
        pytest.param(
            ("valid_from: 2026-07-01", "valid_from: July"), "valid_from: should be a valid date", id="no date"
        ),
        pytest.param(("[supervised]", "[sft]"), 'methods.0: should be "supervised", "dpo" or', id="an unknown method"),
        pytest.param(("confidence: A", "confidence: D"), 'confidence: should be "A", "B" or "C"', id="no confidence"),
        pytest.param(("checked: 2026-11-01\n", ""), "checked: is required", id="unchecked"),
    ],
)
def test_an_override_is_validated_like_the_configuration(folder: Folder, change: tuple[str, str], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rates(folder.write(OWN.replace(*change)).file)
    assert problem in str(caught.value)


def test_the_table_of_the_repository_goes_into_the_wheel_under_the_name_that_is_read() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {"config/prices.yaml": "monitor/prices.yaml"}
