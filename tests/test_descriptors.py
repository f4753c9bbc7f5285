"""The program takes the descriptors that it may have, and no more."""

from __future__ import annotations

import subprocess
import sys

import pytest

SAYS = "from monitor.app import descriptors; print(descriptors.raise_limit())"


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [
        pytest.param(64, 64, 64, id="no more than there may be"),
        pytest.param(64, 1000, 1000, id="all that there may be"),
        pytest.param(64, 20_000, 16_384, id="as many as are ever of use"),
        pytest.param(18_000, 20_000, 18_000, id="what was given is never taken away"),
    ],
)
def test_the_soft_limit_is_raised(soft: int, hard: int, expected: int) -> None:
    command = ["prlimit", f"--nofile={soft}:{hard}", sys.executable, "-c", SAYS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) == expected
