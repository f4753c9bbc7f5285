"""The rules know no place: all their tests run on a machine that stands far from UTC."""

import time
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The local time is fourteen hours ahead."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Pacific/Kiritimati")
        time.tzset()
        yield
    time.tzset()
