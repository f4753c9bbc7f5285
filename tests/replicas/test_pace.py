"""What replicas share of their targets: a channel of Slack gets one message a second in all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from monitor.simulator import Traffic
from tests.e2e.daemon import until
from tests.e2e.receivers import slack
from tests.faults.stage import PATIENT
from tests.replicas.cluster import Cluster, cluster
from tests.replicas.fleet import direct, fleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


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
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    print(f"{len(arrivals)} messages by {sorted(senders)}, {min(gaps):.2f} s apart at least")
    assert min(gaps) >= 0.95  # a second after the answer to the one before, by another's clock
    assert len(senders) > 1
    assert len(arrivals) / (arrivals[-1] - arrivals[0]) > 0.5, "it is not held back much longer than it must"
