"""Every panel shows data: a real Prometheus scrapes the demo and gets the queries that Grafana sends."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.deploy.live import Prometheus, demo, prometheus
from tests.deploy.promql import DASHBOARDS, Asked, asked, recorded
from tests.deploy.tools import needs

SECONDS = 300
# Every job of the demo has a price, so that its alerts can end.
EMPTY_IN_THE_DEMO = {"Jobs without a known cost"}


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
@needs("prometheus")
async def test_every_expression_of_every_dashboard_has_data_from_the_demo(tmp_path: Path) -> None:
    shown = [one for path in DASHBOARDS for one in asked(path)]
    assert {one.panel for one in shown} >= EMPTY_IN_THE_DEMO
    wanted = [one for one in shown if one.panel not in EMPTY_IN_THE_DEMO]
    # Rules over the last six hours have no result in a Prometheus that is younger.
    read = [name for name in recorded() if "6h" not in name]
    wanted += [Asked(board="rules", panel=name, expression=name, instant=True) for name in read]
    async with demo(tmp_path, speed=1) as target, prometheus(tmp_path, target) as server:
        deadline = time.monotonic() + SECONDS
        while wanted and time.monotonic() < deadline:
            wanted = [one for one in wanted if not await _has_data(server, one)]
            await asyncio.sleep(1 if wanted else 0)
        assert [(one.board, one.panel, one.expression) for one in wanted] == []


async def _has_data(server: Prometheus, one: Asked) -> bool:
    return bool(await server.ask(one.expression, instant=one.instant, since=SECONDS))
