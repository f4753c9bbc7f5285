"""How replicas share organisations, and the pace of a Slack channel, which gets one message per second in all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from monitor.simulator import Traffic
from tests.bench.processes import load
from tests.bench.shared import fair, replica
from tests.e2e.daemon import until
from tests.e2e.receivers import slack
from tests.faults.scenario import PATIENT
from tests.replicas.cluster import Cluster, cluster
from tests.replicas.fleet import direct, fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


BALANCED = 600.0
"""Seconds; one organisation moves per second."""


@pytest.fixture
def server() -> Iterator[Cluster]:
    with cluster() as started:
        yield started


@pytest.mark.fault("M09")
async def test_three_replicas_send_to_one_channel_of_slack_once_a_second_in_all(
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
    assert min(gaps) >= 0.95  # a second after the previous answer, by another clock


def test_three_replicas_share_300_organisations_of_50_jobs_and_none_is_polled_by_two_within_an_interval(
    server: Cluster,
) -> None:
    interval = 10.0
    with ExitStack() as stack:
        api = stack.enter_context(load(orgs=300, jobs=50, active=2, events=20, period=30, latency=0.1))
        replicas = [stack.enter_context(replica(api, server.url(), 300, interval)) for _ in range(3)]
        began = time.monotonic()
        while not fair(replicas, 300):
            assert time.monotonic() < began + BALANCED, [one.organizations for one in replicas]
            time.sleep(1.0)
        took = time.monotonic() - began
        api.end(30)
        deadline = time.monotonic() + 120.0
        while len(api.stats()["posts"]) < 30:
            assert time.monotonic() < deadline
            time.sleep(1.0)
        shares, stats = sorted(one.organizations for one in replicas), api.stats()
    moves = stats["changes"]
    print(f"fair after {took:.0f} s: {shares}; {len(moves)} moves, polls {min(moves):.2f} s apart at least")
    assert shares[-1] - shares[0] <= 0.1 * shares[0]
    assert len(moves) <= 210, "none of them moved twice"
    assert min(moves) >= interval
    assert_paced(stats["posts"])
