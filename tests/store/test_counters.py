"""Stored counters stay few, however many names a server invents, and a name that is counted stays counted."""

from __future__ import annotations

from collections import Counter

import pytest

from monitor.domain.counters import MOST_NAMES
from monitor.domain.flow import CounterIncrement
from monitor.store import Stores
from tests.builders import DAY, NOON, job, tracked
from tests.store.conftest import Opening
from tests.store.samples import change

pytestmark = pytest.mark.fault("G17", "G33")
MOST = MOST_NAMES["model"]
SEEN = [(tracked(job(f"ftjob-{number}")),) for number in range(3)]


def finished(*models: str, org: str = "research", **labels: str) -> tuple[CounterIncrement, ...]:
    """One finished batch of each of these models."""
    return tuple(
        CounterIncrement(
            metric="batches_finished",
            labels=(("org", org), ("model", model), *labels.items(), ("status", "succeeded")),
            amount=1,
        )
        for model in models
    )


async def counted(store: Stores, label: str = "model") -> list[tuple[str, int]]:
    """What is counted under each name, in order."""
    snapshot = await store.reader.snapshot(NOON, orgs=["research"], job_retention=DAY, max_jobs=10)
    sums = Counter[str]()
    for one in snapshot.counters:
        sums[dict(one.labels)[label]] += one.amount
    return list(sums.items())


async def test_of_too_many_models_the_first_keep_their_counters_and_the_others_share_one(opening: Opening) -> None:
    async with opening() as store:
        names = [f"model-{number:04}" for number in reversed(range(MOST + 300))]
        for version, start in enumerate(range(0, len(names), 650)):
            await store.jobs.commit(
                change(version, tracked=SEEN[version], counters=finished(*names[start : start + 650]))
            )
        await store.jobs.commit(change(2, tracked=SEEN[2], counters=finished(names[0], names[650], "other")))
        found = await counted(store)
        first = [name for name, _ in found if name != "other"]
        assert len(first) == MOST
        assert dict(found)["other"] == 302
        assert dict(found)[names[0]] == 2
        assert first[:350] == sorted(names[:650])[:350], "in the order in which they became known"
        assert set(first[:650]) == set(names[:650])


async def test_of_too_many_endpoints_the_others_share_one(opening: Opening) -> None:
    async with opening() as store:
        many = [one for number in range(30) for one in finished("m", endpoint=f"/v1/{number:02}")]
        await store.jobs.commit(change(counters=tuple(many)))
        found = dict(await counted(store, "endpoint"))
        assert (len(found), found["other"]) == (21, 10)
