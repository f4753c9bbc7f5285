"""Walks over lists in memory, of every length and order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.model import Job, Status
from monitor.providers.base import Page, ProviderUnavailable, Request
from monitor.source.poll import ListRead, Poll
from monitor.source.walk import CursorRefused, Endless, pages
from tests import builders as b
from tests.builders import MINUTE, NOON

Read = Callable[[Request], Awaitable[Page[Job]]]
FIRST = Request(operation="list_jobs", path="/jobs")


def reading(
    jobs: Sequence[Job], size: int, *, refuse: Sequence[int] = (), asked: list[str | None] | None = None
) -> Read:
    """Reads pages of so many jobs. `refuse`: which requests, counted from 0, are told that the cursor is unknown."""
    asked = [] if asked is None else asked

    async def read(request: Request) -> Page[Job]:
        after = dict(request.params).get("after")
        asked.append(after)
        if len(asked) - 1 in refuse and after is not None:
            raise CursorRefused("gone")
        start = 0 if after is None else [job.id for job in jobs].index(after) + 1
        items = tuple(jobs[start : start + size])
        return Page(items=items, next=request.following(after=items[-1].id) if start + size < len(jobs) else None)

    return read


def dated(count: int) -> list[Job]:
    """Ended jobs, newest first, a minute apart."""
    return [b.job(f"ftjob-{n}", Status.SUCCEEDED, created_at=NOON - n * MINUTE) for n in range(count)]


async def walked(poll: Poll, read: Read) -> int:
    """Take pages until the poll has enough; how many it took."""
    count, one = 0, ListRead()
    async for _, page in pages(read, FIRST, most=500):
        count += 1
        if poll.take(one, page):
            break
    return count


@given(new=st.integers(0, 60), old=st.integers(1, 60), size=st.integers(2, 25))
async def test_all_new_jobs_are_found_in_as_many_pages_as_they_fill(new: int, old: int, size: int) -> None:
    jobs = dated(new + old)
    poll = Poll(known=b.known(final={job.id: job.status for job in jobs[new:]}), now=NOON, lookback=timedelta(days=30))
    assert await walked(poll, reading(jobs, size)) == new // size + 1
    assert [job.id for job in poll.observation("research").jobs] == [job.id for job in jobs[:new]]


@given(order=st.permutations(range(30)), known=st.sets(st.integers(0, 29)), size=st.integers(2, 30))
async def test_only_behind_a_part_that_is_sorted_may_a_walk_stop(order: list[int], known: set[int], size: int) -> None:
    jobs = [dated(30)[n] for n in order]
    final = {f"ftjob-{n}": Status.SUCCEEDED for n in known}
    poll = Poll(known=b.known(final=final), now=NOON, lookback=timedelta(days=30))
    read = size * await walked(poll, reading(jobs, size))
    assert read >= len(jobs) or (order[:read] == sorted(order[:read]) and known & set(order[:read]))
    assert {job.id for job in poll.observation("research").jobs} == {job.id for job in jobs[:read]} - final.keys()


@given(refuse=st.sets(st.integers(0, 12), max_size=1), size=st.integers(1, 20))
async def test_one_refused_cursor_loses_nothing(refuse: set[int], size: int) -> None:
    jobs = dated(20)
    walk = pages(reading(jobs, size, refuse=sorted(refuse)), FIRST, most=100)
    found = {job.id async for _, page in walk for job in page.items}
    assert len(found) == 20


async def test_a_second_refusal_ends_the_walk() -> None:
    asked: list[str | None] = []
    with pytest.raises(Endless):
        async for _ in pages(reading(dated(20), 5, refuse=range(99), asked=asked), FIRST, most=100):
            pass
    assert asked == [None, "ftjob-4", None, "ftjob-4"]


async def test_other_errors_are_the_callers() -> None:
    async def read(_: Request) -> Page[Job]:
        raise ProviderUnavailable("down")

    with pytest.raises(ProviderUnavailable):
        await anext(pages(read, FIRST, most=3))


@pytest.mark.fault("T01", "T03")
@pytest.mark.parametrize(
    ("date", "found"),
    [
        pytest.param(None, None, id="it does not say"),
        pytest.param(NOON - timedelta(hours=20), NOON - timedelta(hours=20), id="our clock is ahead"),
        pytest.param(NOON + timedelta(hours=20), NOON + timedelta(hours=20), id="our clock is behind"),
        pytest.param(NOON - timedelta(days=4000), NOON - timedelta(days=4000), id="our clock is years ahead"),
        pytest.param(NOON + timedelta(days=4000), NOON, id="its clock is years ahead"),
    ],
)
def test_no_clock_that_is_far_ahead_says_until_when_all_is_history(
    date: datetime | None, found: datetime | None
) -> None:
    poll = Poll(known=b.known(), now=NOON, lookback=timedelta(days=30))
    poll.by_provider(date)
    assert poll.provider_now == found
