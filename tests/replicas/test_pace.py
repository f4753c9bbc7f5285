"""How replicas share what there is to do, and a channel of Slack, which gets one message a second in all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from monitor.simulator import Pace, Traffic
from tests.e2e.daemon import Daemon, until
from tests.e2e.receivers import slack
from tests.faults.stage import PATIENT
from tests.replicas.cluster import Cluster, cluster
from tests.replicas.fleet import direct, fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


BALANCED = 600.0
"""Seconds: one organisation moves each second."""


@pytest.fixture
def server() -> Iterator[Cluster]:
    with cluster() as started:
        yield started


async def test_m09_three_replicas_send_to_one_channel_of_slack_once_a_second_in_all(
    server: Cluster, tmp_path: Path
) -> None:
    arrivals: list[float] = []

    def arrived(_body: dict[str, Any]) -> web.Response | None:
        arrivals.append(time.monotonic())
        return None

    async with slack() as chat:
        chat.answer = arrived
        over: dict[str, Any] = {
            "notifiers": [{"name": name, "type": "slack", "webhook_url": chat.url} for name in ("one", "two")],
            "routes": [{"notify": ["one", "two"]}],
            "delivery": {"timeout": "2s", "retry_base": "200ms", "retry_max": "1s"},
        }
        busy = Traffic(history=2, gap=(0.3, 0.5))
        async with fleet(tmp_path, direct(server, "a", "b", "c"), orgs=6, traffic=busy, **over) as seen:
            await until(lambda: len(arrivals) >= 25, PATIENT)
            senders = {name for name, daemon in seen.replicas.items() if '"event":"delivery.sent"' in daemon.log}
    assert_paced(arrivals)
    print(f"by {sorted(senders)}")
    assert len(senders) > 1
    assert len(arrivals) / (arrivals[-1] - arrivals[0]) > 0.5, "it is not held back much longer than it must"


def assert_paced(arrivals: list[float]) -> None:
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    print(f"{len(arrivals)} messages, {min(gaps):.2f} s apart at least")
    assert min(gaps) >= 0.95  # a second after the answer to the one before, by another's clock


async def test_three_replicas_share_300_organisations_of_50_jobs_and_none_is_polled_by_two_within_an_interval(
    server: Cluster, tmp_path: Path
) -> None:
    arrivals: list[float] = []

    def arrived(_body: dict[str, Any]) -> web.Response | None:
        arrivals.append(time.monotonic())
        return None

    interval = 10.0
    async with slack() as chat:
        chat.answer = arrived
        over: dict[str, Any] = {
            "poll": {"interval": "10s", "idle_interval": "10s", "max_requests_per_second": 20},
            "notifiers": [{"name": "chat", "type": "slack", "webhook_url": chat.url}],
            "routes": [{"notify": ["chat"]}],
        }
        there = Traffic(history=48, under_way=2)
        async with fleet(
            tmp_path, direct(server, "a", "b", "c"), orgs=300, traffic=there, pace=Pace(), lease=30.0, **over
        ) as seen:
            began = time.monotonic()
            await until(seen.fair, BALANCED)
            balanced = time.monotonic()
            await until(lambda: time.monotonic() > balanced + 6 * interval, 7 * interval)
            shares = sorted((await seen.shares()).values())
            polled = seen.polls.by_org(balanced)
            used = {name: cpu(daemon) for name, daemon in seen.replicas.items()}
    print(f"balanced after {balanced - began:.0f} s: {shares}; {seen.polls.shortest_change():.2f} s apart; CPU {used}")
    assert shares[-1] - shares[0] <= 0.1 * shares[0]
    assert len(polled) == 300
    assert {len({poll.replica for poll in polls}) for polls in polled.values()} == {1}
    assert seen.polls.shortest_change() >= 0.9 * interval
    if len(arrivals) > 1:
        assert_paced(arrivals)


def cpu(daemon: Daemon) -> float:
    """Seconds of a processor that it has used."""
    assert daemon.process is not None
    fields = Path(f"/proc/{daemon.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
