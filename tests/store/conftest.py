"""Where the stores of the tests live: every contract test runs on each database."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from monitor.store import Store, opened
from tests.store.samples import StillClock

Opening = Callable[[], AbstractAsyncContextManager[Store]]


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture(params=["sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"{request.param}:///{tmp_path}/monitor.db"


@pytest.fixture
def opening(url: str, clock: StillClock) -> Opening:
    """Opens the test's database; again after it was closed, for a restart."""
    return lambda: opened(url, clock=clock)
