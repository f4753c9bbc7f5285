"""OpenAI's usage and costs, in the documented shape and in others: a figure is correct or skipped."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from monitor.domain.costs import Bill, Usage
from monitor.domain.model import TokenCount
from monitor.providers import OpenAISettings
from monitor.providers.base import (
    AuthFailed,
    Bucket,
    KeyAuth,
    Malformed,
    NotEligible,
    Page,
    ProviderUnavailable,
    RateLimited,
    Response,
    SourceError,
)
from monitor.providers.openai import provider
from monitor.providers.openai.billing import bill, usage
from tests.providers.answers import cursor as cursor_of
from tests.providers.answers import left_out, response

DAY = date(2026, 11, 1)
START = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp())
MODEL = "ft:gpt-4o-mini-2024-07-18:acme:bot:AbC123"


def bucket(*rows: object, start: object = START) -> dict[str, object]:
    return {"object": "bucket", "start_time": start, "end_time": START + 86400, "results": list(rows)}


def page(*buckets: object, more: object = False, following: object = None) -> Response:
    return response({"object": "page", "data": list(buckets), "has_more": more, "next_page": following})


def used(model: object = MODEL, **fields: object) -> dict[str, object]:
    """A row of usage as OpenAI documents it."""
    return {
        "object": "organization.usage.completions.result", "input_tokens": 5000, "input_cached_tokens": 1800,
        "input_cache_write_tokens": 200, "input_uncached_tokens": 3000, "output_tokens": 1000,
        "num_model_requests": 5, "project_id": "proj_abc", "user_id": None, "api_key_id": None,
        "model": model, "batch": False, "service_tier": None, **fields,
    }  # fmt: skip


def billed(value: object, line_item: object = "ft-gpt-4o-2024-08-06, input", **fields: object) -> dict[str, object]:
    """A row of costs as OpenAI documents it."""
    return {
        "object": "organization.costs.result", "amount": {"value": value, "currency": "usd"},
        "line_item": line_item, "project_id": "proj_abc", "api_key_id": None, "quantity": None,
        "quantity_unit": None, **fields,
    }  # fmt: skip


def read_usage(answer: Response) -> Page[Bucket[Usage]]:
    """Parse a page of usage."""
    listing = usage("research", None, DAY, DAY)
    return listing.read(listing.first, answer)


def read_bill(answer: Response) -> Page[Bucket[Bill]]:
    """Parse a page of the bill."""
    listing = bill("research", None, DAY, DAY)
    return listing.read(listing.first, answer)


def usages(*rows: object) -> tuple[tuple[Usage, ...], int]:
    """Parse the rows of one day's usage. Returns the usages, and how many rows were skipped."""
    found = read_usage(page(bucket(*rows)))
    return found.items[0].items, left_out(found)


def bills(*rows: object) -> tuple[tuple[Bill, ...], int]:
    """Parse the rows of one day's bill. Returns the lines, and how many rows were skipped."""
    found = read_bill(page(bucket(*rows)))
    return found.items[0].items, left_out(found)


def test_usage_is_requested_for_whole_days_by_model_project_and_batch() -> None:
    request = usage("research", None, DAY, date(2026, 11, 3)).first
    assert (request.operation, request.path) == ("list_usage", "/organization/usage/completions")
    assert request.params == (
        ("start_time", str(START)),
        ("end_time", str(START + 3 * 86400)),
        ("bucket_width", "1d"),
        ("limit", "3"),
        ("group_by[]", "model"),
        ("group_by[]", "project_id"),
        ("group_by[]", "batch"),
    )


def test_costs_are_requested_by_project_and_line_item_and_page() -> None:
    request = bill("research", None, DAY, date(2027, 10, 31)).first.following(page="page_2")
    assert request.path == "/organization/costs"
    assert request.params[3:] == (
        ("limit", "31"),
        ("group_by[]", "project_id"),
        ("group_by[]", "line_item"),
        ("page", "page_2"),
    )


def test_with_one_watched_project_only_its_usage_and_costs_are_requested() -> None:
    url = "https://api.openai.com/v1"
    one = provider("research", url, organization="org-1", project="proj_1", billed=True).billing
    assert one is not None
    for listing in (one.usage(DAY, DAY), one.bill(DAY, DAY)):
        assert ("project_ids[]", "proj_1") in listing.first.params
    assert one.headers == {"OpenAI-Organization": "org-1"}, "an admin key belongs to no project"
    assert one.auth == KeyAuth(secret="admin_key")


@pytest.mark.parametrize(
    ("fields", "there"),
    [
        pytest.param({}, False, id="no admin key"),
        pytest.param({"admin_key": "sk-admin-1"}, True, id="an admin key"),
        pytest.param({"admin_key_file": "/run/secrets/admin"}, True, id="a file with one"),
    ],
)
def test_usage_and_costs_need_an_admin_key(fields: dict[str, Any], there: bool) -> None:
    settings = OpenAISettings.model_validate(
        {"name": "research", "provider": "openai", "api_key": "sk-1", "project": "proj_1", **fields}
    )
    assert (settings.vendor().billing is not None) is there


def test_cached_tokens_are_among_the_input_and_counted_apart() -> None:
    assert usages(used()) == (
        (
            Usage(
                org="research",
                project="proj_abc",
                model=MODEL,
                day=DAY,
                batch=False,
                tokens=TokenCount(input=3200, cached_input=1800, output=1000),
            ),
        ),
        0,
    )


@pytest.mark.parametrize(
    ("row", "tokens"),
    [
        pytest.param({"input_cached_tokens": None}, (5000, 0, 1000), id="nothing said of a cache"),
        pytest.param({"input_cached_tokens": 9000}, (0, 5000, 1000), id="more cached than there is"),
        pytest.param({"input_tokens": 0, "input_cached_tokens": 0}, (0, 0, 1000), id="output alone"),
        pytest.param({"input_tokens": 5000.0}, (3200, 1800, 1000), id="a fraction of zero"),
    ],
)
def test_counts_are_never_negative(row: dict[str, object], tokens: tuple[int, int, int]) -> None:
    (found,), skipped = usages(used(**row))
    assert (found.tokens.input, found.tokens.cached_input, found.tokens.output) == tokens
    assert skipped == 0


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(None, id="null"),
        pytest.param("row", id="a string"),
        pytest.param([], id="a list"),
        pytest.param(used(input_tokens=None), id="no input"),
        pytest.param(used(output_tokens="many"), id="words"),
        pytest.param(used(output_tokens=-1), id="less than nothing"),
        pytest.param(used(output_tokens=float("inf")), id="no end"),
        pytest.param(used(output_tokens=float("nan")), id="no number"),
        pytest.param(used(output_tokens=10**13), id="more than there can be"),
        pytest.param(used(output_tokens=True), id="a truth"),
        pytest.param(used(model=None), id="no model"),
        pytest.param(used(model="ft:x\u202e"), id="a model with marks that turn text"),
        pytest.param(used(model="ft:" + "x" * 300), id="a model without end"),
    ],
)
def test_an_invalid_row_is_counted_and_the_others_are_kept(row: object) -> None:
    found, skipped = usages(row, used())
    assert [one.model for one in found] == [MODEL]
    assert skipped == 1


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        pytest.param(MODEL, True, id="a tuned model"),
        pytest.param(f"{MODEL}:ckpt-step-90", True, id="its checkpoint"),
        pytest.param("curie:ft-acme-2021-03-03-21-44-20", True, id="of before 2023"),
        pytest.param("gpt-4o-mini-2024-07-18", False, id="a base model"),
        pytest.param("ft:", False, id="a name without a model"),
    ],
)
def test_only_tuned_models_are_kept_and_others_are_not_invalid(model: str, kept: bool) -> None:
    found, skipped = usages(used(model))
    assert [one.model for one in found] == ([model] if kept else [])
    assert skipped == 0


def test_a_row_sent_twice_counts_once_and_rows_that_differ_add_up() -> None:
    found, _ = usages(used(), used(), used(service_tier="priority"), used(batch=True))
    assert [(one.batch, one.tokens.output) for one in found] == [(False, 2000), (True, 1000)]


def test_rows_whose_sum_would_overflow_are_counted_and_not_added() -> None:
    rows = [used(input_tokens=10**12, num_model_requests=number) for number in range(5)]
    [one], skipped = usages(*rows)
    assert (one.tokens.input + one.tokens.cached_input, skipped) == (10**12, 4)


def test_usage_without_models_is_malformed() -> None:
    with pytest.raises(Malformed, match="by model"):
        read_usage(page(bucket(used(model=None))))


@pytest.mark.parametrize(
    ("value", "usd"),
    [
        pytest.param(0.06, "0.06", id="a float"),
        pytest.param(0.1 + 0.2, "0.3", id="a float with a tail, to the nano-dollar"),
        pytest.param("12.3456", "12.3456", id="a string"),
        pytest.param(7, "7", id="an integer"),
        pytest.param(-3.5, "-3.5", id="a credit"),
        pytest.param(1.5e-7, "0.00000015", id="an exponent"),
        pytest.param(0, "0", id="nothing"),
    ],
)
def test_amounts_are_exact(value: object, usd: str) -> None:
    (line,), skipped = bills(billed(value))
    assert (line.usd, skipped) == (Decimal(usd), 0)
    assert (line.project, line.line_item, line.day) == ("proj_abc", "ft-gpt-4o-2024-08-06, input", DAY)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(None, id="null"),
        pytest.param({}, id="empty"),
        pytest.param(billed("NaN"), id="NaN"),
        pytest.param(billed("sNaN"), id="a signalling NaN"),
        pytest.param(billed("1e9999"), id="more than there is, in words"),
        pytest.param(billed(10**20), id="more than there is"),
        pytest.param(billed(True), id="a truth"),
        pytest.param(billed("much"), id="a word"),
        pytest.param(billed("1" * 100), id="digits without end"),
        pytest.param(billed(1.0) | {"amount": None}, id="no amount"),
        pytest.param(billed(1.0) | {"amount": {"value": 1.0}}, id="no currency"),
        pytest.param(billed(1.0) | {"amount": {"value": 1.0, "currency": "eur"}}, id="euros"),
    ],
)
def test_an_invalid_amount_is_counted_and_the_others_are_kept(row: object) -> None:
    found, skipped = bills(row, billed(2))
    assert [line.usd for line in found] == [2]
    assert skipped == 1


@pytest.mark.parametrize("amount", [b"NaN", b"1e9999", b"-Infinity", b"1" * 5000])
def test_a_number_that_json_forbids_is_no_amount(amount: bytes) -> None:
    body = json.dumps({"data": [bucket(billed(77.5), billed(2))], "has_more": False}).encode()
    found = read_bill(response(body.replace(b"77.5", amount)))
    assert [line.usd for line in found.items[0].items] == [2]
    assert left_out(found) == 1


def test_a_line_item_is_kept_by_its_name_on_one_line_and_within_bounds() -> None:
    found, _ = bills(billed(1, "web\nsearch"), billed(2, None), billed(3, "x" * 500, project_id=None))
    assert {(line.line_item, line.project) for line in found} == {
        ("web search", "proj_abc"),
        ("unknown", "proj_abc"),
        ("x" * 127 + "…", ""),
    }


def test_excess_line_items_are_merged_and_the_sum_stays() -> None:
    found, skipped = bills(*(billed(n / 8, f"item {n}") for n in range(3000)))
    assert len(found) == 2001
    assert sum(line.usd for line in found) == Decimal(sum(range(3000))) / 8
    (rest,) = [line for line in found if line.line_item == "other"]
    assert (rest.usd, rest.project, skipped) == (Decimal(sum(range(1000))) / 8, "", 0)


def test_rows_whose_sum_makes_no_sense_are_counted_and_not_added() -> None:
    found, skipped = bills(*(billed(9_990_000 + n, quantity=n) for n in range(1000)), billed(-1, "credit"))
    assert ([(line.line_item[:6], line.usd) for line in found], skipped) == (
        [("credit", Decimal(-1)), ("ft-gpt", Decimal(9_990_000))],
        999,
    )


def test_excess_line_items_whose_sum_makes_no_sense_are_counted_and_left_out() -> None:
    found, skipped = bills(*(billed(9_990_000, f"item {n}") for n in range(3000)))
    assert (len(found), skipped) == (2000, 1000)


def test_of_too_many_models_the_most_used_are_kept() -> None:
    found, skipped = usages(*(used(f"ft:base:o::{n:04}", output_tokens=n) for n in range(2100)))
    assert (len(found), skipped) == (2000, 100)
    assert min(one.tokens.output for one in found) == 100


@pytest.mark.parametrize(
    ("more", "following", "cursor"),
    [
        pytest.param(False, None, None, id="the last page"),
        pytest.param(True, "page_2", "page_2", id="another"),
        pytest.param(False, "page_2", None, id="a cursor after the end"),
        pytest.param(None, "page_2", "page_2", id="a cursor alone"),
        pytest.param(True, None, "", id="more, and no way to it"),
        pytest.param(True, {"page": 2}, "", id="more, and a cursor that is none"),
    ],
)
def test_the_cursor_of_a_page(more: object, following: object, cursor: str | None) -> None:
    found: Page[Bucket[Bill]] = read_bill(page(bucket(), more=more, following=following))
    assert cursor_of(found, "page") == cursor


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({}, id="nothing"),
        pytest.param([], id="a list"),
        pytest.param({"data": None}, id="no buckets"),
        pytest.param({"data": [bucket(start=None)]}, id="a bucket of no day"),
        pytest.param({"data": [{"start_time": START}]}, id="a bucket without results"),
        pytest.param({"data": [{"start_time": START, "results": 7}]}, id="results that are none"),
        pytest.param({"data": [bucket()] * 5001}, id="buckets without end"),
        pytest.param(b"<html>", id="HTML"),
        pytest.param(b'{"data": [' + b"[" * 100_000, id="brackets without end"),
    ],
)
def test_an_invalid_page_of_usage_or_costs_is_malformed(body: object) -> None:
    for read in (read_usage, read_bill):
        with pytest.raises(Malformed):
            read(response(body))


def test_a_day_without_rows_is_a_day() -> None:
    told = page(bucket(), None, {"start_time": START + 86400, "results": None})
    found = read_bill(told)
    assert [len(one.items) for one in found.items] == [0, 0]
    assert left_out(found) == 1


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        pytest.param(401, {"message": "Incorrect API key"}, AuthFailed, id="a wrong key"),
        pytest.param(403, {"message": "Missing scopes: api.usage.read"}, AuthFailed, id="an ordinary key"),
        pytest.param(404, {"message": "Unknown request URL"}, Malformed, id="a server without books"),
        pytest.param(429, {"message": "slow down"}, RateLimited, id="too fast"),
        pytest.param(402, {"message": "pay"}, NotEligible, id="not paid"),
        pytest.param(503, {"message": "down"}, ProviderUnavailable, id="down"),
    ],
)
def test_error_statuses_are_raised(status: int, error: dict[str, str], kind: type[SourceError]) -> None:
    for read in (read_usage, read_bill):
        with pytest.raises(kind) as raised:
            read(response({"error": error}, status))
        assert type(raised.value) is kind
