"""A list that says what it said ends its poll; what follows is what follows from reading it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest

from monitor.domain.decide import Policy, decide, evolve
from monitor.domain.flow import Known, Observation
from monitor.watchers.state import PollState
from tests.builders import NOON
from tests.source.servers import Api, asking, job, serving

STATUSES = ("running", "running", "paused", "succeeded", "failed")


def step(api: Api, dice: Random, number: int) -> None:
    """Something happens at the provider, or nothing does."""
    if dice.random() < 0.7:
        return
    at = NOON + number * timedelta(seconds=10)
    if dice.random() < 0.4 or not api.jobs:
        api.jobs.insert(0, job(f"ftjob-{number}", dice.choice(STATUSES), at))
        return
    chosen = dice.randrange(len(api.jobs))
    if dice.random() < 0.05:
        del api.jobs[chosen]
    else:
        api.jobs[chosen] |= {"status": dice.choice(STATUSES)}


@pytest.mark.parametrize("seed", range(3))
async def test_a_list_that_is_not_read_again_changes_what_reading_it_would_change(seed: int) -> None:
    api, dice, state, skipped = Api(limit=3 if seed % 2 else 100), Random(seed), PollState(), 0
    known = Known(org="research")
    async with serving(api) as url, asking(url) as quick, asking(url) as plain:
        for number in range(60):
            step(api, dice, number)
            now = NOON + number * timedelta(seconds=10)
            recheck = state.recheck(known.jobs, float(number))
            settled = not recheck and state.agreed == (known.version, quick.source.reading)
            seen: Observation = await quick.source.observe(known, now, recheck, settled=settled)
            whole: Observation = await plain.source.observe(known, now, recheck)
            skipped += whole.jobs != () == seen.jobs
            change = decide(known, replace(seen, provider_now=None), Policy())
            assert change == decide(known, replace(whole, provider_now=None), Policy())
            if dice.random() < 0.2:
                continue  # it cannot be stored, and the next poll has to bring it again
            before, known = known, known if change.empty else evolve(known, change)
            if not change.empty:
                state.changed(before, change)
            state.agree(seen, [change], known, quick.source.reading)
    assert skipped > 3
