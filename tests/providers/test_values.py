"""Single values in all spellings that servers use: times, numbers, and missing values."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from monitor.providers._values import moment, number, unreadable, whole
from tests.providers.answers import jobs

AT = datetime(2025, 10, 23, 5, 0, tzinfo=UTC)
SECONDS = int(AT.timestamp())


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(SECONDS, id="Unix seconds"),
        pytest.param(float(SECONDS), id="with a fraction"),
        pytest.param(str(SECONDS), id="as text, as LLMariner writes them"),
        pytest.param(f"{SECONDS}.0", id="as text with a fraction"),
        pytest.param(SECONDS * 1000, id="milliseconds, as Portkey writes them"),
        pytest.param(str(SECONDS * 1000), id="milliseconds as text"),
        pytest.param(SECONDS * 1_000_000, id="microseconds"),
        pytest.param(str(SECONDS * 10**9), id="nanoseconds as text"),
        pytest.param("2025-10-23T05:00:00Z", id="ISO 8601"),
        pytest.param("2025-10-23t05:00:00z", id="in small letters, as RFC 3339 allows"),
        pytest.param("2025-10-23T05:00:00.000Z", id="with milliseconds"),
        pytest.param("2025-10-23T05:00:00.000000000Z", id="with nanoseconds, as Google writes them"),
        pytest.param("2025-10-23T05:00:00+00:00", id="with an offset"),
        pytest.param("2025-10-23T07:00:00+02:00", id="in another zone"),
        pytest.param("2025-10-22T22:00:00-0700", id="with an offset without a colon"),
        pytest.param("2025-10-23T05:00:00", id="without a zone"),
        pytest.param("2025-10-23 05:00:00", id="with a space, as moto writes them"),
        pytest.param(" 2025-10-23T05:00:00Z ", id="with blanks around"),
        pytest.param("2025-10-23 05:00:00 UTC", id="with the zone's name"),
        pytest.param("2025-10-23 07:00:00.000 +0200", id="with a blank before the offset"),
        pytest.param("2025-10-23 05:00:00 +0000 UTC", id="as Go prints it"),
        pytest.param("Thu, 23 Oct 2025 05:00:00 GMT", id="as in HTTP's headers"),
        pytest.param("Thu, 23 Oct 2025 07:00:00 +0200", id="as in mails"),
    ],
)
def test_timestamps_are_parsed(told: object) -> None:
    assert moment(told) == AT


def test_a_timestamp_is_kept_to_the_millisecond() -> None:
    assert moment("2025-10-23T05:00:00.123456789Z") == AT.replace(microsecond=123_000)
    assert moment(SECONDS + 0.5) == AT.replace(microsecond=500_000)


@pytest.mark.parametrize(
    "told",
    [
        None, 0, "0", "0.0", "", " ", -1, "-1", "null", "soon", "2025-13-45", "0001-01-01T00:00:00Z",
        "the day before", "Thu, 99 Oct 2025 05:00:00 GMT",
        "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "2" * 60, True, [], {}, float("nan"), 1e300,
    ],
    ids=repr,
)  # fmt: skip
def test_an_invalid_timestamp_is_none(told: object) -> None:
    assert moment(told) is None


@pytest.mark.parametrize(
    ("told", "makes_no_sense"),
    [
        (None, False), (0, False), (False, False), (0.0, False), ("", False), (" ", False),
        ("0", False), ("0.0", False),
        ("null", False), ("None", False), ("N/A", False), ("0001-01-01T00:00:00Z", False), (-62135596800, False),
        ("1970-01-01T00:00:00+00:00", False), ("1970-01-01", False), ("soon", True), (-1, True), ([], True), ({}, True),
    ],
)  # fmt: skip
def test_placeholders_for_no_value_are_not_invalid(told: object, makes_no_sense: bool) -> None:
    assert unreadable(told, moment(told)) is makes_no_sense


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (7, 7.0), ("7", 7.0), ("7.5", 7.5), ("1e3", 1000.0), ("-2", -2.0), (" 7 ", 7.0),
        ("", None), ("seven", None), ("0x10", None), ("nan", None), ("inf", None), ("1" * 41, None), (None, None),
        (True, None), ("1e999", None),
    ],
)  # fmt: skip
def test_a_number_may_be_text(told: object, expected: float | None) -> None:
    assert number(told) == expected


def test_large_whole_numbers_in_quotes_are_exact() -> None:
    assert whole("999999999999999") == 999_999_999_999_999
    assert whole("1.5") is None


def test_skipped_items_are_counted_by_reason() -> None:
    page = jobs(
        {"id": "good", "created_at": "2025-10-23T05:00:00Z", "finished_at": "0", "trained_tokens": ""},
        {"id": "odd", "created_at": "yesterday", "trained_tokens": "many"},
        {"id": ".."},
        {"no": "id"},
        "text",
    )
    assert [one.id for one in page.items] == ["good", "odd"]
    assert page.skipped == {"bad_figure": 2, "bad_id": 2, "not_an_object": 1}
