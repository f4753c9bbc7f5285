"""Spans of time as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from monitor.domain.durations import duration, format_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("6h", timedelta(hours=6)),
        ("30d", timedelta(days=30)),
        ("999999999ms", timedelta(milliseconds=999999999)),
        (timedelta(seconds=7), timedelta(seconds=7)),
    ],
)
def test_a_number_and_a_unit_are_a_duration(text: object, expected: timedelta) -> None:
    assert duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "5", "m", "5 m", "-5m", "+5m", "1.5h", "5M", "5m30s", "1000000000s", "٣s", "5s\n"]
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"^should be a duration such as 500ms, 30s, 5m, 6h or 30d$"):
        duration(text)


@pytest.mark.parametrize("value", [5, 5.0, None, True, ["5m"]])
def test_what_is_no_text_is_refused_too(value: object) -> None:
    with pytest.raises(ValueError, match="should be a duration"):
        duration(value)


@pytest.mark.parametrize("text", ["0s", "00ms", "0d"])
def test_nothing_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"^should be longer than 0$"):
        duration(text)


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (timedelta(days=2), "2d"),
        (timedelta(hours=36), "36h"),
        (timedelta(minutes=5), "5m"),
        (timedelta(seconds=90), "90s"),
        (timedelta(milliseconds=1500), "1500ms"),
        (timedelta(0), "0ms"),
    ],
)
def test_it_is_spoken_in_the_largest_unit_that_fits(span: timedelta, expected: str) -> None:
    assert format_duration(span) == expected
