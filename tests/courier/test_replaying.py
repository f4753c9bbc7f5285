"""A replay as a whole: page by page, in bounded steps, and nothing in a dry run."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from monitor.courier.replaying import replay, requeue
from monitor.domain.decide import Policy
from monitor.domain.flow import Change, Transition, TransitionKind
from monitor.domain.model import Status
from monitor.domain.news import Delivery, job_subject
from monitor.domain.replay import MOST_LISTED, Replayed, ReplayRequest
from monitor.domain.routing import Rule
from monitor.store import Stores, opened
from tests.builders import DAY, HOUR, MINUTE, NOON, job, tracked
from tests.courier.parts import Hands, letter

POLICIES = {"research": Policy(rules=(Rule(notify=("ops",)),))}
WISH = ReplayRequest(since=DAY)


def ended(count: int) -> Change:
    """So many jobs of `research` that have failed, of which nobody was told."""
    names = [f"job-{n:05}" for n in range(count)]
    return Change(
        org="research",
        based_on=0,
        at=NOON,
        tracked=tuple(tracked(job(name, Status.FAILED), seq=2, since=NOON, finalized=True) for name in names),
        transitions=tuple(
            Transition(
                org="research", job=name, seq=2, at=NOON, kind=TransitionKind.MOVED, before=None, after=Status.FAILED
            )
            for name in names
        ),
    )


def dead(name: str) -> Delivery:
    """An envelope that will be given up."""
    return Delivery(subject=job_subject("research", name), seq=1, notifier="ops", message=letter(name))


async def emptied(store: Stores) -> list[str]:
    """The keys of what was due, in the order it went out."""
    keys: list[str] = []
    while claimed := await store.outbox.claim("ops", owner="me", limit=500, lease=MINUTE):
        for one in claimed:
            await store.outbox.delivered(one)
            keys.append(one.delivery.key)
    return keys


async def test_what_lacks_is_told_once_and_told_again_it_is_the_same(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/x.db", clock=Hands()) as store:
        await store.jobs.commit(ended(450))
        first = await replay(store.outbox, POLICIES, WISH, NOON)
        assert (first.again, first.new, first.waiting) == (0, 450, 0)
        assert await replay(store.outbox, POLICIES, WISH, NOON) == Replayed(waiting=450)
        keys = await emptied(store)
        assert keys == [f"research/job-{n:05}/2@ops" for n in range(450)]
        with capture_logs() as logs:
            second = await replay(store.outbox, POLICIES, WISH, NOON)
        assert (second.again, second.new, second.waiting) == (450, 0, 0)
        assert [one.key for one in second.deliveries] == keys == await emptied(store)
    (line,) = logs
    assert line == {"event": "deliveries.replayed", "log_level": "info", "again": 450, "new": 0, "waiting": 0}


async def test_a_dry_run_says_the_same_and_changes_nothing(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/x.db", clock=Hands()) as store:
        await store.jobs.commit(ended(3))
        mark = store.outbox.enqueued
        with capture_logs() as logs:
            would = await replay(store.outbox, POLICIES, ReplayRequest(since=DAY, dry_run=True), NOON)
        assert ((await store.reader.deliveries()).items, store.outbox.enqueued, logs) == ((), mark, [])
        assert await replay(store.outbox, POLICIES, WISH, NOON) == would
        assert len((await store.reader.deliveries()).items) == 3


async def test_only_what_was_observed_within_the_time_is_told(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/x.db", clock=Hands()) as store:
        await store.jobs.commit(ended(1))
        assert (await replay(store.outbox, POLICIES, ReplayRequest(since=HOUR), NOON + HOUR + MINUTE)).new == 0
        assert (await replay(store.outbox, POLICIES, ReplayRequest(since=HOUR), NOON + HOUR)).new == 1


async def test_two_replays_at_once_count_each_envelope_once(tmp_path: Path) -> None:
    told: list[Replayed] = []
    async with opened(f"sqlite:///{tmp_path}/x.db", clock=Hands()) as store:
        await store.jobs.commit(ended(450))

        async def one() -> None:
            told.append(await replay(store.outbox, POLICIES, WISH, NOON))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            tasks.start_soon(one)
        assert sum(len(each.deliveries) for each in told) == sum(each.new for each in told) == 450
        assert len(await emptied(store)) == 450


@pytest.mark.timeout(240)
async def test_more_than_can_be_named_is_told_all_the_same(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/x.db", clock=Hands()) as store:
        await store.jobs.commit(ended(MOST_LISTED + 5))
        told = await replay(store.outbox, POLICIES, WISH, NOON)
        assert (len(told.deliveries), told.new) == (MOST_LISTED, MOST_LISTED + 5)
        assert (await replay(store.outbox, POLICIES, WISH, NOON)).waiting == MOST_LISTED + 5


async def test_dead_letters_are_requeued_with_a_line_in_the_log(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/x.db", clock=Hands()) as store:
        await store.jobs.commit(Change(org="research", based_on=0, at=NOON, deliveries=(dead("a"), dead("b"))))
        for one in await store.outbox.claim("ops", owner="me", limit=9, lease=MINUTE):
            await store.outbox.dead_letter(one, reason="r")
        with capture_logs() as logs:
            assert await requeue(store.outbox) == 2
    assert logs == [{"event": "deliveries.requeued", "log_level": "info", "count": 2}]
