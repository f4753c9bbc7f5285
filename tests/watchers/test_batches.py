"""A family of jobs that is not watched any more: nothing is asked about it, and nothing is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from monitor.domain.flow import TransitionKind
from monitor.domain.model import JobKind, Status
from monitor.providers.openai import provider
from tests.watchers.test_jobs import Watched, watched


def watching(of: Watched, *kinds: JobKind) -> None:
    """From now on it watches these."""
    source = of.watcher.source
    vendor = provider(source.org, source.provider.base_url, watch=kinds)
    of.watcher = replace(of.watcher, source=replace(source, provider=vendor))


async def test_what_is_not_watched_any_more_stays_as_it_was(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        watching(of, *JobKind)
        assert await of.poll_and_read() == []
        batch = of.simulation.start_batch(of.simulation.orgs[0], total=400)
        of.time.move(20)
        assert await of.poll_and_read() == [(TransitionKind.APPEARED, Status.RUNNING)]
        watching(of, JobKind.FINE_TUNING)
        for _ in range(5):
            of.time.move(2 * 3600)
            assert await of.poll_and_read() == [], "it is neither gone nor stalled"
        [job] = (await of.store.reader.jobs()).items
        assert (job.job.id, job.job.status, job.missing) == (f"batch:{batch.id}", Status.RUNNING, 0)
        watching(of, *JobKind)
        assert await of.poll_and_read() == [(TransitionKind.MOVED, Status.SUCCEEDED)]
