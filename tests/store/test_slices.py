"""A look that changes very much is committed in slices, and how watching goes is kept with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from monitor.domain.flow import Reason, Trouble
from monitor.domain.snapshot import WatchState
from monitor.store import Stale, Stores
from tests.builders import HOUR, MINUTE, NOON, job, tracked
from tests.fakes import another_replica
from tests.store.conftest import Opening
from tests.store.samples import StillClock, change

STATE = WatchState(org="research", up=True, since=NOON, owner="me", last_success=NOON, next_poll=NOON + MINUTE)
DOWN = replace(
    STATE, up=False, since=NOON + MINUTE, trouble=Trouble(reason=Reason.AUTH, text="401"), next_poll=NOON + HOUR
)


async def watching(store: Stores) -> dict[str, WatchState]:
    seen = await store.reader.snapshot(NOON, orgs=["research"], job_retention=HOUR, max_jobs=1)
    return dict(seen.watching)


async def test_until_the_last_slice_of_a_first_look_is_stored_the_organisation_is_known_in_part(
    opening: Opening,
) -> None:
    async with opening() as store:
        await store.leases.take("research")
        await store.jobs.commit(change(0, tracked=(tracked(job("oldest")),), more=True))
        assert (await store.jobs.known("research")).partial
    async with opening() as store:  # killed in between
        await store.leases.take("research")
        known = await store.jobs.known("research")
        assert (known.version, known.partial, set(known.jobs)) == (1, True, {"oldest"})
        await store.jobs.commit(change(1, tracked=(tracked(job("newest")),)))
        assert not (await store.jobs.known("research")).partial


async def test_how_watching_goes_is_written_with_a_commit_or_alone_and_read_by_everybody(opening: Opening) -> None:
    async with opening() as store:
        assert await watching(store) == {}
        await store.jobs.commit(change(tracked=(tracked(),)), STATE)
        assert await watching(store) == {"research": STATE}
        await store.jobs.record(DOWN)
        assert await watching(store) == {"research": DOWN}
        await store.jobs.commit(change(1), replace(STATE, since=NOON + HOUR))
        assert (await watching(store))["research"].since == NOON + HOUR, "up again from now on"
        await store.jobs.record(replace(STATE, since=NOON + 2 * HOUR))
        assert (await watching(store))["research"].since == NOON + HOUR, "it was up all the time"
        assert (await store.jobs.known("research")).version == 1, "nothing changed but that"
    async with opening() as store:
        assert (await watching(store))["research"].up is True


async def test_only_who_holds_the_lease_says_how_watching_goes(opening: Opening, clock: StillClock) -> None:
    async with opening() as store:
        await store.leases.take("research")
        await store.jobs.record(STATE)
        await store.leases.end()
        assert await another_replica(store, clock).take("research")
        with pytest.raises(Stale):
            await store.jobs.record(DOWN)
        assert await watching(store) == {"research": STATE}
