"""When the books cannot be read: how often it is tried again, what is said of it, and what stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import get_ident
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from monitor.domain.flow import Reason
from monitor.store import Gone
from monitor.watchers import costs
from tests.fakes import another_replica
from tests.source.books import MODEL, TODAY, Books, billed, broken_off, refused, used
from tests.watchers.books import Bookkeeping, Enough, bookkeeping


def some() -> Books:
    return Books(usage={TODAY: [used()]}, costs={TODAY: [billed(1)]})


async def turns(of: Bookkeeping, count: int) -> list[float]:
    """Let the loop run for so many naps; what it waited after the first."""
    start = len(of.time.naps)
    of.time.most = start + count
    with pytest.raises(Enough):
        await of.watcher.run()
    return of.time.naps[start + 1 :]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(refused(401), Reason.AUTH, id="a wrong key"),
        pytest.param(refused(403), Reason.AUTH, id="an ordinary key"),
        pytest.param(refused(402), Reason.NOT_ELIGIBLE, id="not paid"),
        pytest.param(refused(429), Reason.RATE_LIMITED, id="too fast"),
        pytest.param(refused(500), Reason.UNAVAILABLE, id="down"),
        pytest.param(refused(404), Reason.MALFORMED, id="no books here"),
        pytest.param(broken_off, Reason.MALFORMED, id="half a page"),
    ],
)
async def test_a_failure_is_told_once_and_its_end_once(
    tmp_path: Path, fault: Callable[[], web.StreamResponse], reason: Reason
) -> None:
    async with bookkeeping(tmp_path, some()) as of:
        of.books.always = {"usage": fault, "costs": fault}
        with capture_logs() as lines:
            waits = await turns(of, 6)
            down = replace(of.watcher.health)
            of.books.always = {}
            await turns(of, 4)
            well = replace(of.watcher.health)
    assert down.trouble is not None
    assert (down.trouble.reason, down.last_success) == (reason, None)
    assert (well.trouble, well.last_success is None) == (None, False)
    told = [line["event"] for line in lines if line["event"].startswith("costs.")]
    assert told == ["costs.failed", "costs.recovered"]
    assert all(0.5 <= wait <= 300 for wait in waits)


async def test_a_server_s_wait_is_waited_for_and_one_without_end_is_capped(tmp_path: Path) -> None:
    async with bookkeeping(tmp_path, some()) as of:
        of.books.always["usage"] = refused(429, Retry_After="900")
        assert 900 <= (await turns(of, 2))[0] <= 1000
        of.watcher.billing.client.transport.waits.clear()
        of.books.always["usage"] = refused(503, Retry_After="99999999")
        assert 3600 <= (await turns(of, 2))[0] <= 4000


async def test_a_refused_key_is_not_tried_on_the_other_half(tmp_path: Path) -> None:
    async with bookkeeping(tmp_path, some()) as of:
        of.books.always["usage"] = refused(401)
        await turns(of, 3)
        assert {name for name, _, _ in of.books.asked} == {"usage"}


async def test_a_closed_half_is_a_trouble_and_the_other_is_kept_up_to_date(tmp_path: Path) -> None:
    async with bookkeeping(tmp_path, some()) as of:
        of.books.always["usage"] = refused(500)
        await turns(of, 3)
        of.books.costs[TODAY] = [billed(8)]
        await turns(of, 3)
        assert of.watcher.health.trouble is not None
        assert set((await of.bills()).values()) == {8}


async def test_amounts_that_are_absurd_together_hold_up_no_other(tmp_path: Path) -> None:
    rows: list[Any] = [billed(10**7, n=n) for n in range(1000)]
    async with bookkeeping(tmp_path, Books(costs={TODAY: [*rows, billed(1, "other things")]})) as of:
        await of.read_all()
        assert (await of.bills())[TODAY, "other things"] == 1
        assert of.watcher.health.trouble is None


async def test_absurd_counts_of_one_model_are_left_out_and_the_others_booked(tmp_path: Path) -> None:
    absurd: list[Any] = [used(input=0, output=10**12, n=n) for n in range(700)]
    other = "ft:gpt-4o-2024-08-06:o::x"
    async with bookkeeping(tmp_path, Books(usage={TODAY: [*absurd, used(other)]})) as of:
        await of.read_all()
        assert await of.usage() == {(TODAY, MODEL): 2 * 10**12, (TODAY, other): 1100}
        assert of.watcher.health.trouble is None


async def test_only_reckoning_with_many_lines_is_left_to_a_thread() -> None:
    assert await costs._in_thread_if_large(get_ident, size=500) == get_ident()
    assert await costs._in_thread_if_large(get_ident, size=501) != get_ident()


async def test_a_store_that_is_gone_ends_the_loop(tmp_path: Path) -> None:
    async with bookkeeping(tmp_path, some()) as of:
        await of.read_all()
        (tmp_path / "m.db").unlink()
        with pytest.raises(Gone):
            await of.watcher.run()


async def test_another_replica_s_reading_is_no_success_of_ours(tmp_path: Path) -> None:
    async with bookkeeping(tmp_path, some()) as of:
        assert await another_replica(of.store, of.time, lasting=timedelta(days=2)).take("research")
        waits = await turns(of, 3)
        assert of.watcher.health.last_success is None
        assert waits == [pytest.approx(3600 * 0.975)] * 2
        assert of.books.asked == []
