"""How often a healthy organisation is polled, as people are shown it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from monitor.domain.health import poll_interval
from tests.builders import NOON, SECOND


@pytest.mark.parametrize(
    ("success", "following", "expected"),
    [
        pytest.param(NOON - 80 * SECOND, NOON - 50 * SECOND, 30 * SECOND, id="a success is stored late"),
        pytest.param(NOON - 3 * SECOND, NOON + 25 * SECOND, 30 * SECOND, id="to five seconds"),
        pytest.param(NOON, NOON + timedelta(seconds=0.4), SECOND, id="a second at least"),
        pytest.param(NOON - 151 * SECOND, NOON - 121 * SECOND, None, id="the next success is overdue"),
        pytest.param(None, NOON, None, id="never polled"),
        pytest.param(NOON, None, None, id="no next poll"),
    ],
)
def test_the_interval_of_polls(
    success: datetime | None, following: datetime | None, expected: timedelta | None
) -> None:
    assert poll_interval(success, following, NOON) == expected
