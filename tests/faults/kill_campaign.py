"""Kills the real process again and again, and compares what the receiver got with the truth.

`python -m tests.faults.kill_campaign 200` prints the figures and fails when a promise is broken.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.faults.scenario import Scenario, running_scenario

IN_FLIGHT = 8
"""The deliveries that one notifier sends concurrently."""
ALL_WORDS = ["appeared", "started", "succeeded", "failed", "cancelled", "stalled"]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of a campaign."""

    kills: int
    ended: int
    lost: int
    arrived: int
    repeated: int
    most_repeats_of_a_crash: int
    repeated_without_a_crash: int
    two_bodies: int
    false: int

    @property
    def kept(self) -> bool:
        """Whether every promise held."""
        broken = self.lost or self.repeated_without_a_crash or self.two_bodies or self.false
        return not broken and self.most_repeats_of_a_crash <= IN_FLIGHT and self.ended > 0

    def __str__(self) -> str:
        return (
            f"kills {self.kills} · jobs ended {self.ended} · lost {self.lost} · messages {self.arrived} · "
            f"repeated {self.repeated} (after one crash at most {self.most_repeats_of_a_crash}, without a crash "
            f"{self.repeated_without_a_crash}) · ids with two bodies {self.two_bodies} · false {self.false}"
        )


async def campaign(folder: Path, kills: int, *, seed: int = 20231, orgs: int = 2) -> Figures:
    """Kill the process this many times at random moments of its start and its work."""
    dice = random.Random(seed)
    async with running_scenario(folder, orgs=orgs, routes=[{"on": ALL_WORDS, "notify": ["hook"]}]) as scenario:
        for number in range(kills):
            if number % 10 == 9:
                await _killed_while_it_starts(scenario, dice.random() * 2.5)
            else:
                await asyncio.sleep(dice.random() * 0.8)
                await scenario.daemon.stop(signal.SIGKILL)
            await scenario.again()
        return await figures(scenario, kills)


async def _killed_while_it_starts(scenario: Scenario, seconds: float) -> None:
    await scenario.daemon.stop(signal.SIGKILL)
    scenario.lives += 1
    with suppress(TimeoutError):
        await asyncio.wait_for(scenario.daemon.start(), seconds)
    await scenario.daemon.stop(signal.SIGKILL)


async def figures(scenario: Scenario, kills: int) -> Figures:
    """Wait for all deliveries and compute the figures."""
    ended = scenario.ended()
    with suppress(AssertionError):
        await scenario.all_told(60)
    repeats = scenario.repeats()
    in_one_life = len(scenario.arrivals) - len({(arrival.key, arrival.life) for arrival in scenario.arrivals})
    return Figures(
        kills=kills,
        ended=len(ended),
        lost=len(ended - set(scenario.hook.ends())),
        arrived=len({arrival.key for arrival in scenario.arrivals}),
        repeated=len(repeats),
        most_repeats_of_a_crash=max(scenario.repeats_by_crash().values(), default=0),
        repeated_without_a_crash=in_one_life,
        two_bodies=scenario.bodies(),
        false=len(scenario.false()),
    )


def main(kills: int) -> int:
    """Run a campaign in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        found = asyncio.run(campaign(Path(folder), kills))
    print(found)
    return 0 if found.kept else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
