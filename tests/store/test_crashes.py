"""Processes that are killed and disks that are full: what was acknowledged is there, whole, and work goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from monitor.clock import SystemClock
from monitor.store import Stores
from tests.builders import HOUR, NOON
from tests.store.conftest import Opening
from tests.store.producer import ORGS
from tests.store.samples import StillClock

ROOT = Path(__file__).parents[2]


def start(module: str, url: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"tests.store.{module}", url]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


async def version_of_whole(store: Stores, org: str) -> int:
    """The organisation's version, once it is clear that every table agrees with it."""
    known = await store.jobs.known(org)
    seen = await store.reader.snapshot(NOON, orgs=[org], job_retention=HOUR, max_jobs=1)
    assert len(known.jobs) == known.version
    assert sum(one.amount for one in seen.counters) == known.version
    for number in range(known.version):
        kept = await store.reader.job(org, f"job-{number}")
        assert kept is not None
        assert len(kept.transitions) == len(kept.deliveries) == 1
    return known.version


@pytest.mark.fault("G2")
async def test_a_process_killed_while_it_commits_leaves_whole_changes_and_all_that_it_acknowledged(
    opening: Opening, url: str, clock: StillClock
) -> None:
    acknowledged = dict.fromkeys(ORGS, 0)
    for lines in (3, 40):
        with start("producer", url) as child:
            assert child.stdout is not None
            told = [child.stdout.readline() for _ in range(lines)]
            child.kill()
            told += child.stdout.read().splitlines()
        for line in told:
            org, _, number = line.partition(" ")
            acknowledged[org] = max(acknowledged[org], int(number or 0))
        clock.time = SystemClock().now() + HOUR  # the killed process had the real one
        async with opening() as store:
            for org in ORGS:
                assert await version_of_whole(store, org) >= acknowledged[org]
            assert len(await store.outbox.claim("ops", owner="me", limit=500, lease=HOUR)) > 0
    assert min(acknowledged.values()) > 0


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_a_full_disk_stores_nothing_loses_nothing_and_heals_without_a_restart(opening: Opening, url: str) -> None:
    with start("full_disk", url) as child:
        assert child.stdout is not None
        lines = [line.split() for line in child.stdout.read().splitlines()]
    assert child.returncode == 0
    assert [(line[0], line[2]) for line in lines] == [("full", "False"), ("again", "True")] * 2
    assert all(line[1] == line[3] for line in lines)
    assert int(lines[0][1]) > 0
    async with opening() as store:
        assert await version_of_whole(store, "research") == int(lines[-1][1])
