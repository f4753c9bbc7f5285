"""Reading the books from a real server: all pages of a stretch, or an error and nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from monitor.providers.base import (
    AuthFailed,
    Malformed,
    NotEligible,
    ProviderUnavailable,
    RateLimited,
    SourceError,
    TimedOut,
)
from monitor.secret import Redactor, Secret
from tests.source.books import (
    ADMIN_KEY,
    TODAY,
    Books,
    billed,
    broken_off,
    moment,
    reading,
    refused,
    told,
    used,
)

MONTH = [TODAY - timedelta(days=n) for n in range(30, -1, -1)]


def full() -> Books:
    """A month in which every day has its own figures."""
    return Books(
        usage={day: [used(input=number + 1)] for number, day in enumerate(MONTH)},
        costs={day: [billed(number + 1)] for number, day in enumerate(MONTH)},
    )


async def test_every_page_of_a_stretch_is_read() -> None:
    books = full()
    books.per_page = 7
    async with reading(books) as source:
        usage = await source.usage(MONTH[0], TODAY)
        bills = await source.bills(MONTH[0], TODAY)
    assert [(one.day, one.tokens.input) for one in usage] == [(day, n + 1) for n, day in enumerate(MONTH)]
    assert [(one.day, one.usd) for one in bills] == [(day, Decimal(n + 1)) for n, day in enumerate(MONTH)]
    assert {one.org for one in usage} | {one.org for one in bills} == {"research"}
    assert set(books.keys) == {ADMIN_KEY}


async def test_days_that_were_not_asked_for_are_left_out() -> None:
    books = full()
    everything = [{"start_time": moment(day), "results": [billed(1)]} for day in MONTH]
    books.always["costs"] = lambda: told(everything)
    async with reading(books) as source:
        found = await source.bills(MONTH[3], MONTH[5])
    assert [one.day for one in found] == MONTH[3:6]


async def test_a_bucket_that_comes_again_counts_once_as_it_was_told_last() -> None:
    books = Books()
    pages = [
        told([{"start_time": moment(TODAY), "results": [billed(1)]}], "1"),
        told([{"start_time": moment(TODAY), "results": [billed(5)]}]),
    ]
    books.always["costs"] = lambda: pages.pop(0)
    async with reading(books) as source:
        assert [one.usd for one in await source.bills(TODAY, TODAY)] == [5]


async def test_hours_of_a_server_that_knows_no_days_add_up() -> None:
    books = Books()
    hours = [{"start_time": moment(TODAY) + 3600 * n, "results": [used(input=10)]} for n in range(3)]
    books.always["usage"] = lambda: told(hours)
    async with reading(books) as source:
        assert sum(one.tokens.input for one in await source.usage(TODAY, TODAY)) == 30


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param(refused(500), ProviderUnavailable, id="a server's error"),
        pytest.param(refused(401), AuthFailed, id="a key that was taken back"),
        pytest.param(refused(403, "Missing scopes: api.usage.read"), AuthFailed, id="an ordinary key"),
        pytest.param(refused(429, Retry_After="7"), RateLimited, id="too many requests"),
        pytest.param(refused(402), NotEligible, id="not paid"),
        pytest.param(refused(404), Malformed, id="no such thing"),
        pytest.param(broken_off, Malformed, id="half a page"),
        pytest.param(lambda: web.Response(text="<html>"), Malformed, id="a login page"),
        pytest.param(lambda: web.Response(status=302, headers={"Location": "/"}), Malformed, id="a redirect"),
    ],
)
@pytest.mark.parametrize("page", [0, 2])
async def test_an_error_on_any_page_is_an_error(
    fault: Callable[[], web.StreamResponse], error: type[SourceError], page: int
) -> None:
    books = full()
    books.per_page = 7
    async with reading(books) as source:
        for name, read in (("usage", source.usage), ("costs", source.bills)):
            books.faults[name, page] = fault
            with pytest.raises(error) as raised:
                await read(MONTH[0], TODAY)
            if error is RateLimited:
                assert raised.value.retry_after == 7
                with pytest.raises(RateLimited, match="asked for a pause"):
                    await read(MONTH[0], TODAY)
                source.client.transport.waits.clear()
            assert len(await read(MONTH[0], TODAY)) == len(MONTH)


def _same() -> web.StreamResponse:
    return told([], "for ever")


def _no_cursor() -> web.StreamResponse:
    return web.json_response({"data": [], "has_more": True, "next_page": None})


@pytest.mark.parametrize("page", [pytest.param(_same, id="one cursor"), pytest.param(_no_cursor, id="no cursor")])
async def test_pages_that_lead_nowhere_conclude_nothing(page: Callable[[], web.StreamResponse]) -> None:
    books = full()
    books.always["costs"] = page
    async with reading(books) as source:
        with pytest.raises(Malformed, match="have no end"):
            await source.bills(TODAY, TODAY)
    assert len(books.keys) <= 2


async def test_pages_without_end_come_to_one() -> None:
    books, numbers = full(), iter(range(10**6))
    books.always["usage"] = lambda: told([], str(next(numbers)))
    async with reading(books) as source:
        with pytest.raises(Malformed, match="have no end"):
            await source.usage(TODAY, TODAY)
    assert len(books.keys) <= 201


async def test_a_stretch_has_a_deadline() -> None:
    books = full()
    books.delay, books.per_page = 0.1, 1
    async with reading(books, deadline=0.15) as source:
        with pytest.raises(TimedOut):
            await source.usage(MONTH[0], TODAY)


async def test_being_cancelled_is_no_timeout() -> None:
    books = full()
    books.delay = 5
    async with reading(books) as source:
        task = asyncio.ensure_future(source.usage(TODAY, TODAY))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_the_admin_key_is_in_no_error_and_in_no_value() -> None:
    books = Books(usage={TODAY: [used(f"ft:{ADMIN_KEY}:x")]}, costs={TODAY: [billed(1, f"paid with {ADMIN_KEY}")]})
    async with reading(books) as source:
        found = [*await source.usage(TODAY, TODAY), *await source.bills(TODAY, TODAY)]
        books.always["costs"] = refused(401, f"Incorrect API key provided: {ADMIN_KEY}")
        with pytest.raises(AuthFailed) as raised:
            await source.bills(TODAY, TODAY)
    assert ADMIN_KEY[:20] not in f"{found} {raised.value}"
    assert len(found) == 2


async def test_a_key_in_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file, books = tmp_path / "admin", full()
    file.write_text("sk-admin-first-0123456789\n")
    redactor = Redactor()
    async with reading(books, secret=Secret(path=file, redactor=redactor), redact=redactor) as source:
        await source.usage(TODAY, TODAY)
        file.write_text("sk-admin-second-0123456789-longer\n")
        await source.usage(TODAY, TODAY)
        file.unlink()
        with pytest.raises(AuthFailed, match="file cannot be read"):
            await source.usage(TODAY, TODAY)
    assert books.keys == ["sk-admin-first-0123456789", "sk-admin-second-0123456789-longer"]


async def test_what_was_not_understood_is_said_once_until_it_is_more() -> None:
    odd: list[Any] = [None, billed("NaN")]
    books = Books(costs={TODAY: [billed(1), *odd]})
    async with reading(books) as source:
        with capture_logs() as lines:
            for _ in range(3):
                await source.bills(TODAY, TODAY)
            books.costs[TODAY].append({"amount": None})
            await source.bills(TODAY, TODAY)
    assert [(line["event"], line["section"], line["rows"]) for line in lines] == [
        ("costs.not_understood", "bill", 2),
        ("costs.not_understood", "bill", 3),
    ]


async def test_a_check_asks_for_both_halves_of_one_day() -> None:
    books = full()
    async with reading(books) as source:
        await source.check(date(2026, 11, 20))
        books.always["costs"] = refused(403)
        with pytest.raises(AuthFailed):
            await source.check(date(2026, 11, 20))
    day = date(2026, 11, 20)
    assert books.asked[:2] == [("usage", day, day), ("costs", day, day)]
