"""Killed again and again during its work: no end is lost, and repetitions are identical."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.kill_campaign import campaign

pytestmark = pytest.mark.fault("X01")


@pytest.mark.fault("G1", "G3", "G4", "X01")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [10])
async def test_no_end_is_lost_to_kills_and_repeats_are_the_same(tmp_path: Path, kills: int) -> None:
    found = await campaign(tmp_path, kills)
    print(found)
    assert found.ended > kills
    assert found.kept, str(found)
