"""The past told again: the same envelopes, in their order, as if they were new."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from sqlite3 import connect

import anyio
import pytest

from monitor.domain.flow import Transition
from monitor.domain.model import Status
from monitor.domain.news import Delivery
from monitor.domain.replay import Past, Plan, ReplayedDelivery, StoredDelivery
from monitor.store import Claimed, Store
from monitor.store.replaying import PAGE
from tests.builders import DAY, HOUR, MINUTE, NOON, SECOND, job, tracked
from tests.store.conftest import Opening
from tests.store.samples import LEASE, change, delivery, letters, transition

LONG_AGO = NOON - 900 * DAY


async def claim(store: Store, after: timedelta = timedelta(), notifier: str = "ops") -> list[Claimed]:
    return list(await store.claim(notifier, NOON + after, owner="me", limit=10, lease=LEASE))


def letter(of: Delivery, *, new: bool = False) -> ReplayedDelivery:
    return ReplayedDelivery(
        org=of.subject.org or "", job=of.subject.id, seq=of.seq, notifier=of.notifier, type="t", title="", new=new
    )


def planned(*again: Delivery, new: tuple[Delivery, ...] = ()) -> Plan:
    return Plan(deliveries=(*map(letter, again), *(letter(one, new=True) for one in new)), new=new)


async def test_the_past_is_each_transition_with_its_job_and_its_envelopes(opening: Opening) -> None:
    running, ended = transition(seq=1), transition(seq=2, at=NOON + MINUTE, after=Status.SUCCEEDED)
    one = tracked(job(), seq=2)
    async with opening() as store:
        await store.commit(
            change(
                tracked=(one,),
                transitions=(running, ended),
                deliveries=(delivery(seq=1), delivery(seq=2), delivery(seq=2, notifier="chat")),
            )
        )
        (first,) = await claim(store)
        await store.delivered(first, NOON)
        sent, waits = (
            StoredDelivery(type="finetune.job.succeeded", title="It ended", waits=state) for state in (False, True)
        )
        assert (await store.past(LONG_AGO)).items == (
            Past(transition=running, tracked=one, stored={"ops": sent}),
            Past(transition=ended, tracked=one, stored={"ops": waits, "chat": waits}),
        )
        assert [past.transition.seq for past in (await store.past(NOON + MINUTE)).items] == [2]
        assert (await store.past(NOON + MINUTE + SECOND)).items == ()


async def test_the_past_comes_in_pages_and_each_job_in_its_order_whatever_the_clock_said(opening: Opening) -> None:
    count = PAGE + 7
    moved = [transition(f"job-{n:03}", seq=seq, at=NOON - seq * HOUR) for n in range(count) for seq in (1, 2)]
    jobs = tuple(tracked(job(f"job-{n:03}"), seq=2) for n in range(count))
    async with opening() as store:
        await store.commit(change(tracked=jobs, transitions=tuple(reversed(moved))))
        pages: list[list[Transition]] = []
        after = None
        while not pages or after is not None:
            page = await store.past(LONG_AGO, after=after)
            pages.append([past.transition for past in page.items])
            after = page.next
    assert [len(page) for page in pages] == [PAGE, PAGE, 14]
    assert [one for page in pages for one in page] == moved


@pytest.mark.parametrize("dead", [False, True], ids=["sent", "given up"])
async def test_an_envelope_that_is_told_again_is_the_same_and_begins_anew(opening: Opening, dead: bool) -> None:
    async with opening() as store:
        await store.commit(letters(delivery()))
        (first,) = await claim(store)
        await store.postpone(first, NOON, reason="r", ambiguous=True)
        (second,) = await claim(store)
        assert (second.attempts, second.ambiguous) == (2, True)
        await (store.bury(second, NOON, reason="r") if dead else store.delivered(second, NOON, reference="17.5"))
        mark = store.enqueued
        assert await store.retell(planned(delivery()), NOON + DAY) == {delivery().key}
        assert store.enqueued == mark + 1
        (posted,) = (await store.deliveries()).items
        assert (posted.state, posted.reason, posted.settled_at) == ("pending", None, None)
        assert await store.expire(NOON + 2 * DAY, DAY) == {}
        assert await claim(store, DAY - SECOND) == []
        (again,) = await claim(store, DAY)
    assert again == Claimed(delivery=delivery(), attempts=1, created_at=NOON + DAY, ambiguous=False, owner="me")


async def test_what_waits_or_is_being_sent_is_left_as_it_is(opening: Opening) -> None:
    async with opening() as store:
        await store.commit(letters(delivery("flies"), delivery("put-off")))
        flying, other = sorted(await claim(store), key=lambda one: one.delivery.subject.id)
        await store.postpone(other, NOON + HOUR, reason="http_500")
        before, mark = (await store.deliveries()).items, store.enqueued
        both = (delivery("flies"), delivery("put-off"))
        assert await store.retell(planned(*both, new=both), NOON + MINUTE) == frozenset()
        assert ((await store.deliveries()).items, store.enqueued) == (before, mark)
        assert await store.delivered(flying, NOON)


async def test_what_was_told_again_and_waits_is_not_told_a_third_time(opening: Opening) -> None:
    plan = planned(delivery("sent"), new=(delivery("new"),))
    async with opening() as store:
        await store.commit(letters(delivery("sent")))
        (one,) = await claim(store)
        await store.delivered(one, NOON)
        assert await store.retell(plan, NOON) == {delivery("sent").key, delivery("new").key}
        waiting = (await store.deliveries()).items
        assert await store.retell(plan, NOON + HOUR) == frozenset()
        assert (await store.deliveries()).items == waiting
        assert [one.attempts for one in await claim(store)] == [1, 1]


async def test_a_new_envelope_never_replaces_one_that_is_there(opening: Opening, tmp_path: Path) -> None:
    async with opening() as store:
        await store.commit(letters(delivery()))
        (one,) = await claim(store)
        await store.delivered(one, NOON)
        assert await store.retell(planned(new=(delivery(), delivery(seq=2))), NOON) == {delivery(seq=2).key}
        assert sorted(posted.state for posted in (await store.deliveries()).items) == ["pending", "sent"]


async def test_a_jobs_envelopes_go_out_again_in_their_order(opening: Opening) -> None:
    in_order = [delivery(seq=seq) for seq in (1, 2, 10)]
    async with opening() as store:
        await store.commit(letters(*in_order))
        for _ in in_order:
            (one,) = await claim(store)
            await store.delivered(one, NOON)
        await store.retell(planned(*reversed(in_order)), NOON + HOUR)
        for expected in in_order:
            (one,) = await claim(store, HOUR)
            assert one.delivery == expected
            await store.delivered(one, NOON)


async def test_the_content_is_not_touched_by_a_byte(opening: Opening, tmp_path: Path) -> None:
    def content() -> list[bytes]:
        with connect(tmp_path / "monitor.db") as database:
            return [row[0] for row in database.execute("SELECT CAST(message AS BLOB) FROM outbox ORDER BY key")]

    async with opening() as store:
        await store.commit(letters(delivery("a"), delivery("b")))
        stored = content()
        for one in await claim(store):
            await store.delivered(one, NOON)
        await store.retell(planned(delivery("a"), delivery("b")), NOON)
        assert content() == stored


async def test_requeued_letters_are_not_marked_as_repetitions(opening: Opening) -> None:
    async with opening() as store:
        await store.commit(letters(delivery()))
        (first,) = await claim(store)
        await store.postpone(first, NOON, reason="r", ambiguous=True)
        (second,) = await claim(store)
        await store.bury(second, NOON, reason="ambiguous")
        assert await store.requeue(None, NOON) == 1
        (again,) = await claim(store)
        assert (again.attempts, again.ambiguous) == (1, False)


@pytest.mark.parametrize("way", ["requeue", "retell"])
async def test_couriers_and_readers_are_woken(opening: Opening, way: str) -> None:
    async with opening() as store:
        await store.commit(letters(delivery()))
        (one,) = await claim(store)
        await store.bury(one, NOON, reason="r")
        mark, changes = store.enqueued, store.changes.count
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.wait_enqueued, mark)
                await (store.requeue(None, NOON) if way == "requeue" else store.retell(planned(delivery()), NOON))
        touched = store.changes.since(changes)
        assert touched is not None
        assert [(one.topic, one.org, one.job) for one in touched] == [("delivery", "research", "ftjob-1")]
