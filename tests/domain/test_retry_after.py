"""Retry-After: every spelling in use, and everything that is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.retry_after import retry_after

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
IN_TWO_MINUTES = "Sun, 22 Nov 2026 10:02:00 GMT"


@pytest.mark.fault("U06")
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({}, None, id="no header asks for nothing"),
        pytest.param({"retry-after": "7"}, 7.0, id="whole seconds"),
        pytest.param({"retry-after": " 7 "}, 7.0, id="white space around is no matter"),
        pytest.param({"retry-after": "1.5"}, 1.5, id="a fraction"),
        pytest.param({"retry-after-ms": "250"}, 0.25, id="milliseconds"),
        pytest.param({"retry-after-ms": "250", "retry-after": "1"}, 0.25, id="milliseconds are preferred, being finer"),
        pytest.param({"retry-after-ms": "soon", "retry-after": "3"}, 3.0, id="broken milliseconds leave the seconds"),
        pytest.param({"retry-after": IN_TWO_MINUTES}, 120.0, id="a date, by our clock"),
        pytest.param(
            {"retry-after": IN_TWO_MINUTES, "date": "Sun, 22 Nov 2026 10:01:30 GMT"},
            30.0,
            id="a date is measured by the server's clock where it tells its own",
        ),
        pytest.param({"retry-after": IN_TWO_MINUTES, "date": "yesterday"}, 120.0, id="a broken own date is not used"),
        pytest.param({"retry-after": "Sun, 22 Nov 2026 11:02:00 +0100"}, 120.0, id="a date of another zone"),
        pytest.param({"retry-after": "Sun Nov 22 10:02:00 2026"}, 120.0, id="a date in the old C form"),
        pytest.param({"retry-after": "Sun, 22 Nov 2026 09:00:00 GMT"}, None, id="a date that is over"),
        pytest.param({"retry-after": "0"}, None, id="zero asks for nothing: our own back-off holds"),
        pytest.param({"retry-after": "99999999999"}, 3600.0, id="for ever is capped"),
        pytest.param({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 3600.0, id="the end of time is capped"),
        pytest.param({"retry-after": "9" * 5000}, None, id="a number of 5000 digits is garbage"),
        pytest.param({"retry-after": "-5"}, None, id="negative"),
        pytest.param({"retry-after": "NaN"}, None, id="not a number"),
        pytest.param({"retry-after": "inf"}, None, id="infinite"),
        pytest.param({"retry-after": "1e3"}, None, id="scientific"),
        pytest.param({"retry-after": "1_000"}, None, id="underscores"),
        pytest.param({"retry-after": "١٢"}, None, id="digits of another script"),
        pytest.param({"retry-after": "5, 7"}, None, id="two headers, joined"),
        pytest.param({"retry-after": "soon"}, None, id="words"),
        pytest.param({"retry-after": ""}, None, id="empty"),
    ],
)
def test_a_wait_is_read(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after(headers, NOW) == expected


def test_a_date_without_a_zone_is_utc() -> None:
    assert retry_after({"retry-after": "Sun, 22 Nov 2026 10:02:00 -0000"}, NOW) == 120.0


def test_the_cap_is_the_callers_choice() -> None:
    assert retry_after({"retry-after": "900"}, NOW, cap=60) == 60


@given(value=st.text(max_size=80), date=st.text(max_size=40), shift=st.integers(-(10**6), 10**6))
def test_whatever_comes_the_wait_is_none_or_sane(value: str, date: str, shift: int) -> None:
    wait = retry_after({"retry-after": value, "retry-after-ms": date, "date": date}, NOW + timedelta(seconds=shift))
    assert wait is None or 0 < wait <= 3600
