"""Where an observation is counted."""

from __future__ import annotations

import pytest

from monitor.domain.buckets import QUEUE_BUCKETS, RUN_BUCKETS, bucket


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param(0.0, "10.0", id="nothing is in the first"),
        pytest.param(60.0, "60.0", id="a bound belongs to its own bucket"),
        pytest.param(60.001, "120.0", id="just above belongs to the next"),
        pytest.param(1e9, "+Inf", id="beyond the last is infinity"),
    ],
)
def test_an_observation_is_counted_in_its_smallest_bucket(seconds: float, expected: str) -> None:
    assert bucket(seconds, QUEUE_BUCKETS) == expected


@pytest.mark.parametrize("bounds", [QUEUE_BUCKETS, RUN_BUCKETS])
def test_bounds_grow_and_none_is_there_twice(bounds: tuple[float, ...]) -> None:
    assert list(bounds) == sorted(set(bounds))
