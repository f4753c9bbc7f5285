"""Which events of a long job are given up."""

from __future__ import annotations

from itertools import pairwise

import pytest

from monitor.domain.event_ids import RECENT, RecentIds
from monitor.domain.model import JobEvent
from monitor.store.event_retention import MOST, NEWEST, Mark, superfluous
from tests.builders import NOON, SECOND, event, measured, tracked
from tests.store.conftest import Opening
from tests.store.samples import change


def marks(count: int, *, told_every: int = 0, start: int = 1) -> list[Mark]:
    """Events one step apart, some of them lines that measure nothing."""
    return [
        Mark(
            pos=pos,
            step=None if told_every and pos % told_every == 0 else pos,
            measured=not told_every or pos % told_every != 0,
        )
        for pos in range(start, start + count)
    ]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        pytest.param(marks(0), range(1), id="none"),
        pytest.param(marks(MOST), range(MOST, MOST + 1), id="as many as are kept"),
        pytest.param(marks(MOST + 1), range(700, 801), id="one too many makes room for more"),
        pytest.param(marks(20_000), range(700, 801), id="a whole stream at once"),
        pytest.param(marks(5_000, told_every=2), range(700, 801), id="lines and measurements in turn"),
        pytest.param(marks(5_000, told_every=1), range(700, 801), id="lines only"),
        pytest.param(
            [Mark(pos=pos, step=None, measured=True) for pos in range(3000)], range(700, 801), id="no steps told"
        ),
    ],
)
def test_a_long_stream_is_cut_well_below_the_limit(given: list[Mark], left: range) -> None:
    assert len(given) - len(superfluous(given)) in left


def test_the_first_the_last_and_the_newest_stay() -> None:
    given = marks(3000, told_every=10)
    gone = superfluous(given)
    assert not gone & {mark.pos for mark in given[-NEWEST:]}
    assert not gone & {1, given[-NEWEST - 1].pos, 10}


def test_measurements_are_thinned_evenly_even_when_they_were_thinned_before() -> None:
    given: list[Mark] = []
    for start in range(1, 20_001, 100):
        given += marks(100, start=start)
        gone = superfluous(given)
        given = [mark for mark in given if mark.pos not in gone]
    old = [mark.step or 0 for mark in given[:-NEWEST]]
    gaps = [right - left for left, right in pairwise(old)]
    assert len(given) <= MOST
    assert old[0] == 1
    assert max(gaps) <= 5 * (old[-1] / len(old))


@pytest.mark.parametrize("batch", [pytest.param(90, id="as it comes"), pytest.param(5000, id="all at once")])
async def test_a_stored_job_keeps_a_bounded_stream_and_its_watermark(opening: Opening, batch: int) -> None:
    stream = [measured(step, 5000, NOON + step * SECOND) for step in range(1, 2501)]
    async with opening() as store:
        for version, start in enumerate(range(0, len(stream), batch)):
            recent = tuple(one.id for one in stream[: start + batch][-RECENT:])
            await store.jobs.commit(
                change(version, tracked=(tracked(recent=recent),), events=tuple(stream[start : start + batch]))
            )
        kept: list[JobEvent] = []
        page = await store.reader.events("research", "ftjob-1", limit=700)
        kept += page.items
        while page.next:
            page = await store.reader.events("research", "ftjob-1", limit=700, after=page.next)
            kept += page.items
    async with opening() as store:
        known = await store.jobs.known("research")
    assert len(kept) <= MOST
    assert kept[-1] == stream[0]
    assert kept[:NEWEST] == stream[::-1][:NEWEST]
    assert known.jobs["ftjob-1"].recent_ids == RecentIds.of(one.id for one in stream[-RECENT:])


async def test_old_lines_that_are_read_again_do_not_become_the_newest(opening: Opening) -> None:
    stream = [event(f"e-{number}", NOON + number * SECOND) for number in range(1500)]
    async with opening() as store:
        await store.jobs.commit(change(tracked=(tracked(),), events=tuple(stream)))
        await store.jobs.commit(change(1, tracked=(tracked(),), events=tuple(stream[100:300])))
    async with opening() as store:
        known = await store.jobs.known("research")
    assert known.jobs["ftjob-1"].recent_ids == RecentIds.of(one.id for one in stream[-RECENT:])
