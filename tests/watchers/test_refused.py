"""Jobs that no database takes, ends that the provider takes back, clocks that are set: each says nothing of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from monitor.domain.flow import Change, Known, Observation, TransitionKind
from monitor.domain.health import Health
from monitor.domain.model import Status
from monitor.domain.snapshot import Snapshot
from monitor.metrics.process import ProcessMetrics
from monitor.metrics.view import build_view
from monitor.store import Unstorable
from monitor.watchers.report import report
from monitor.watchers.state import PollState
from tests.builders import DAY, NOON, event, job, read, tracked
from tests.store.samples import change, transition
from tests.watchers.test_jobs import Watched, watched

NO_TEXT = "\ud800"
"""A name that no database holds."""


def seen(names: Mapping[str, str]) -> Observation:
    """Running jobs with these names, as a poll sees them."""
    jobs = tuple(job(id_, name=name) for id_, name in names.items())
    return Observation(org="research", at=NOON, jobs=jobs)


def listed(of: Watched, status: str) -> None:
    """Let the provider list one job, with this status."""
    shown = {"object": "fine_tuning.job", "id": "ftjob-a", "model": "m", "created_at": 1_795_000_000, "status": status}
    of.faults["jobs"] = lambda: web.json_response({"object": "list", "data": [shown], "has_more": False})


def skipped(of: Watched) -> dict[tuple[str, ...], int]:
    [family] = [one for one in of.own.families if one.name == "finetune_items_skipped_total"]
    return {key: int(float(str(count))) for key, count in family.rows(build_view(Snapshot(at=NOON), Health())).items()}


async def stored(of: Watched) -> set[str]:
    return set((await of.store.jobs.known("research")).final) | set((await of.store.jobs.known("research")).jobs)


@pytest.mark.fault("P1")
@pytest.mark.parametrize("first", [True, False], ids=["at first sight", "later"])
async def test_a_job_that_cannot_be_stored_holds_back_no_other(tmp_path: Path, *, first: bool) -> None:
    async with watched(tmp_path) as of:
        if not first:
            await of.poll()
        of.own.watch(["research"], [])
        for polls in (1, 2):
            await of.watcher.commit(seen({"ftjob-a": "one", "ftjob-b": NO_TEXT, "ftjob-c": "three"}))
            assert await stored(of) == {"ftjob-a", "ftjob-c"}
            assert not (await of.store.jobs.known("research")).partial
            assert skipped(of) == {("research", "unstorable"): polls}
            assert of.watcher.state.unstorable == {"ftjob-b"}
        await of.watcher.commit(seen({"ftjob-a": "one", "ftjob-b": "two", "ftjob-c": "three"}))
        assert await stored(of) == {"ftjob-a", "ftjob-b", "ftjob-c"}
        assert of.watcher.state.unstorable == set()


@pytest.mark.fault("P1")
async def test_nothing_was_seen_where_no_job_of_a_list_can_be_stored(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        with pytest.raises(Unstorable):
            await of.watcher.commit(seen({"ftjob-a": NO_TEXT, "ftjob-b": NO_TEXT}))
        assert await stored(of) == set()


async def test_a_doubt_ends_when_the_provider_agrees_again_or_is_believed(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        listed(of, "succeeded")
        await of.poll()
        listed(of, "running")
        assert await of.poll() == []
        assert of.watcher.state.doubted == {"ftjob-a"}
        listed(of, "succeeded")
        assert await of.poll() == []
        assert of.watcher.state.doubted == set()
        listed(of, "running")
        news = []
        for _ in range(3):
            of.time.move(31)
            news += await of.poll()
        assert news == [(TransitionKind.CORRECTED, Status.RUNNING)]
        assert of.watcher.state.doubted == set()


async def test_a_job_in_doubt_that_the_provider_does_not_know_any_more_is_asked_for_no_longer() -> None:
    state = PollState(doubted={"gone", "forgotten", "still"})
    known = Known(org="research", version=1, final={"gone": Status.SUCCEEDED, "still": Status.SUCCEEDED})
    seen = Observation(org="research", at=NOON, missing=frozenset({"gone"}))
    state.judged(seen, known, Change(org="research", based_on=1, at=NOON))
    assert state.doubted == {"still"}


async def test_a_clock_that_is_set_shifts_each_job_once_however_many_there_are(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        jobs = tuple(job(f"ftjob-{number}", status=Status.RUNNING) for number in range(1_200))
        at = of.time.now()
        await of.watcher.commit(Observation(org="research", at=at, jobs=jobs))
        of.time.hand.move(86_400)
        await of.watcher.commit(Observation(org="research", at=of.time.now(), jobs=jobs))
        known = await of.store.jobs.known("research")
        assert {one.since - at for one in known.jobs.values()} == {timedelta(days=1)}


async def test_a_first_sight_that_broke_off_is_ended_by_a_list_and_by_no_stream_nor_pruning(tmp_path: Path) -> None:
    async with watched(tmp_path) as of:
        old = job("ftjob-old", status=Status.FAILED, created_at=NOON - 400 * DAY, finished_at=NOON - 399 * DAY)
        first = replace(seen({"ftjob-a": "one"}), last=False)
        await of.watcher.commit(replace(first, jobs=(*first.jobs, old)))
        await of.watcher.commit(
            Observation(org="research", at=NOON, listed=False, reads=(read(event("e"), job_id="ftjob-a"),))
        )
        await of.store.jobs.prune(NOON, 30 * DAY)
        assert (await of.store.jobs.known("research")).first_sight
        changes = await of.watcher.commit(seen({"ftjob-a": "one", "ftjob-b": "two"}))
        assert [one.kind for change in changes for one in change.transitions] == [TransitionKind.BASELINE]
        assert not (await of.store.jobs.known("research")).first_sight


@pytest.mark.fault("P13")
def test_ten_thousand_changes_are_a_few_lines() -> None:
    jobs = tuple(tracked(job(f"job-{n:05}", status=Status.FAILED)) for n in range(10_000))
    moved = tuple(transition(one.job.id, after=Status.FAILED) for one in jobs)
    with capture_logs() as lines:
        of = change(1, tracked=jobs, transitions=moved)
        report(of, now=NOON, process=ProcessMetrics(), unknown_statuses=set())
    assert len(lines) == 51
    assert lines[-1] == {
        "event": "jobs.changed", "log_level": "info", "org": "research", "more": 9_950, "after": {"failed": 9_950}
    }  # fmt: skip
