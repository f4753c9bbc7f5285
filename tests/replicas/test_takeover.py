"""Replicas that are killed, frozen or cut off: others take over in time, nothing is lost, and little is repeated."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.simulator import Pace, Traffic
from tests.e2e.daemon import Daemon, until
from tests.faults.proxy import Proxy, proxied
from tests.faults.scenario import PATIENT
from tests.faults.test_time import Wrong
from tests.replicas.cluster import Cluster, cluster
from tests.replicas.fleet import LEASE, Fleet, direct, fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

GRACE = 5.0
"""Seconds after the lease within which others have taken over."""
AT_ONCE = 8
"""The deliveries that one courier sends concurrently at most."""


@pytest.fixture
def server() -> Iterator[Cluster]:
    with cluster() as started:
        yield started


def of(daemon: Daemon) -> int:
    assert daemon.process is not None
    return daemon.process.pid


async def taken_over(seen: Fleet, gone: str, since: float) -> float:
    """Wait until others poll everything that this replica had. Returns the seconds that took."""
    keys = {key for key, owner in seen.polls.owners(since - 2 * LEASE).items() if owner == gone}
    await until(lambda: all(seen.polls.owners(since).get(key, gone) != gone for key in keys), LEASE + 30)
    firsts = [
        min(poll.at for poll in polls if poll.replica != gone)
        for key, polls in seen.polls.by_org(since).items()
        if key in keys
    ]
    return max(firsts, default=since) - since


def assert_sound(seen: Fleet, faults: int) -> None:
    """Assert that all arrived, and that only deliveries in progress were repeated, with the same id and content."""
    assert seen.scenario.false() == set()
    assert seen.scenario.bodies() == 0
    again = {id_: count for id_, count in seen.copies().items() if count > 1}
    assert sum(count - 1 for count in again.values()) <= faults * AT_ONCE, again
    assert max(again.values(), default=1) <= 1 + faults


@pytest.mark.fault("M01", "M02", "G25")
async def test_20_kills_and_5_freezes_of_an_owner_lose_nothing(server: Cluster, tmp_path: Path) -> None:
    dice, waits = random.Random(16), list[float]()
    async with fleet(tmp_path, direct(server, "a", "b"), orgs=6) as seen:
        await until(seen.fair, PATIENT)
        for fault in range(25):
            name = dice.choice("ab")
            victim = seen.replicas[name]
            await asyncio.sleep(dice.uniform(0.2, 1.5))
            since = time.monotonic()
            if fault % 5 == 4:
                os.kill(of(victim), signal.SIGSTOP)
                waits.append(await taken_over(seen, name, since))
                os.kill(of(victim), signal.SIGCONT)
            else:
                await victim.stop(signal.SIGKILL)
                waits.append(await taken_over(seen, name, since))
                await victim.start()
        ended = await seen.scenario.all_told(LEASE + PATIENT)
        repeats = len(seen.scenario.repeats())
    print(f"{len(ended)} ends, {repeats} repeats; taken over in {max(waits):.1f} s at most, lease {LEASE} s")
    assert len(ended) >= 50
    assert max(waits) <= LEASE + GRACE
    assert_sound(seen, faults=25)


@pytest.mark.fault("M03")
async def test_a_replica_that_was_frozen_for_a_minute_is_refused_and_goes_on(server: Cluster, tmp_path: Path) -> None:
    async with fleet(tmp_path, direct(server, "a", "b"), orgs=4, lease=30.0) as seen:
        await until(seen.fair, PATIENT)
        since = time.monotonic()
        os.kill(of(seen.replicas["a"]), signal.SIGSTOP)
        await asyncio.sleep(60.0)  # the fault lasts this long
        assert set(seen.polls.owners(since + 30.0 + GRACE).values()) == {"b"}
        os.kill(of(seen.replicas["a"]), signal.SIGCONT)
        back = time.monotonic()
        await seen.scenario.all_told(PATIENT)
        await until(seen.fair, 2 * PATIENT)
        await until(lambda: "a" in seen.polls.owners(back).values(), PATIENT)
        ended = await seen.scenario.all_told(PATIENT)
    assert ended
    assert_sound(seen, faults=1)


@pytest.mark.fault("M04")
async def test_a_replica_without_the_database_stops_before_another_takes_its_place(
    server: Cluster, tmp_path: Path
) -> None:
    async with proxied(server.port, Proxy()) as line:
        urls = {"a": server.url(line.port), "b": server.url()}
        async with fleet(tmp_path, urls, orgs=6) as seen:
            await until(seen.fair, PATIENT)
            since = time.monotonic()
            line.stalled = True
            took = await taken_over(seen, "a", since)
            gap = seen.polls.shortest_change(since)
            arrived = len(seen.scenario.hook.ids)
            await until(lambda: len(seen.scenario.hook.ids) > arrived + 5, PATIENT)
            sent = {key for key, count in seen.copies().items() if count > 1}
            line.stalled = False
            await until(seen.fair, 2 * PATIENT)
            await seen.scenario.all_told(PATIENT)
    print(f"taken over in {took:.1f} s; the other had stopped {gap:.1f} s before")
    assert took <= LEASE + GRACE
    assert gap >= LEASE / 3 * 0.5, "both polled at once"
    assert len(sent) <= AT_ONCE
    assert_sound(seen, faults=1)


@pytest.mark.fault("M05")
async def test_clocks_that_are_ten_minutes_apart_share_and_take_over_as_any(server: Cluster, tmp_path: Path) -> None:
    wrong = Wrong(tmp_path / "clock")
    wrong.set("+10m")
    urls = direct(server, "a", "b")
    async with fleet(
        tmp_path, urls, orgs=4, before={"b": wrong.before}, middlewares=[wrong.middleware], signed=False
    ) as seen:
        await until(seen.fair, PATIENT)
        await asyncio.sleep(2 * LEASE)
        assert await seen.fair()
        since = time.monotonic()
        await seen.replicas["a"].stop(signal.SIGKILL)
        assert await taken_over(seen, "a", since) <= LEASE + GRACE
        await seen.scenario.all_told(LEASE + PATIENT)
    assert_sound(seen, faults=1)


@pytest.mark.fault("G25", "S12")
async def test_a_primary_that_is_restarted_amid_commits_loses_nothing(server: Cluster, tmp_path: Path) -> None:
    async with fleet(tmp_path, direct(server, "a", "b"), orgs=6) as seen:
        await until(seen.fair, PATIENT)
        for how in (signal.SIGQUIT, signal.SIGINT, signal.SIGQUIT):
            await asyncio.sleep(1.0)  # so that there are commits to interrupt
            server.stop(how)
            server.start()
        ended = await seen.scenario.all_told(LEASE + PATIENT)
        await until(seen.fair, PATIENT)
        assert all(not daemon.process_ended for daemon in seen.replicas.values())
    assert ended
    assert_sound(seen, faults=3 * len(seen.replicas))


@pytest.mark.fault("G25", "S12")
async def test_a_failover_to_a_standby_is_followed_by_every_replica(server: Cluster, tmp_path: Path) -> None:
    server.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
    with server.standby() as standby:
        both = (
            f"postgresql://postgres@/postgres?host=127.0.0.1,127.0.0.1&port={server.port},{standby.port}"
            "&target_session_attrs=read-write"
        )
        async with fleet(tmp_path, {"a": both, "b": both}, orgs=4) as seen:
            await until(seen.fair, PATIENT)
            lag = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()"
            await until(lambda: server.execute(lag) == [(1,)], PATIENT)
            server.stop(signal.SIGINT)
            standby.execute("SELECT pg_promote()")
            since = time.monotonic()
            await until(lambda: len(seen.polls.owners(since)) == 4, PATIENT)
            await until(seen.fair, PATIENT)
            ended = await seen.scenario.all_told(LEASE + PATIENT)
    assert ended
    assert_sound(seen, faults=len(seen.replicas))


async def test_three_replicas_share_as_they_come_and_go_and_no_organisation_is_polled_by_two_within_an_interval(
    server: Cluster, tmp_path: Path
) -> None:
    still = Pace()
    interval = 8.0
    poll = {"interval": "8s", "idle_interval": "8s", "events_interval": "10s", "max_requests_per_second": 100}
    urls = direct(server, "a", "b", "c")
    async with fleet(
        tmp_path, urls, orgs=30, traffic=Traffic(history=3, under_way=2), pace=still, start=["a"], lease=9.0, poll=poll
    ) as seen:
        assert await seen.shares() == {"a": 30}
        for name in ("b", "c"):
            await seen.replicas[name].start()
        try:
            await until(seen.fair, 2 * PATIENT)
            assert sorted((await seen.shares()).values()) == [10, 10, 10]
            apart = seen.polls.shortest_change()
            await seen.replicas["c"].stop()
            await until(seen.fair, 2 * PATIENT)
            await seen.replicas["c"].start()
            await until(seen.fair, 2 * PATIENT)
        finally:
            for name in ("b", "c"):
                if not seen.replicas[name].process_ended:
                    await seen.replicas[name].stop(signal.SIGKILL)
    print(f"two replicas polled one organisation {apart:.2f} s apart at least")
    assert apart >= 0.95 * interval
