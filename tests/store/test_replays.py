"""The past told again: the same envelopes, in their order, as if they were new."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from monitor.domain.flow import Transition
from monitor.domain.model import Status
from monitor.domain.news import Delivery
from monitor.domain.replay import Past, Plan, ReplayedDelivery, StoredDelivery
from monitor.store import ClaimedDelivery
from monitor.store.outbox import PAGE
from tests.builders import DAY, HOUR, MINUTE, NOON, SECOND, job, tracked
from tests.store.conftest import Claim, Opening, Sql
from tests.store.samples import StillClock, change, delivery, letters, transition

LONG_AGO = NOON - 900 * DAY


def letter(of: Delivery, *, new: bool = False) -> ReplayedDelivery:
    return ReplayedDelivery(
        org=of.subject.org or "",
        job=of.subject.id,
        seq=of.seq,
        address=of.address,
        type="t",
        title="",
        new=new,
        key=of.key,
    )


def planned(*again: Delivery, new: tuple[Delivery, ...] = ()) -> Plan:
    return Plan(deliveries=(*map(letter, again), *(letter(one, new=True) for one in new)), new=new)


async def test_the_past_is_each_transition_with_its_job_and_its_envelopes(opening: Opening, claim: Claim) -> None:
    running, ended = transition(seq=1), transition(seq=2, at=NOON + MINUTE, after=Status.SUCCEEDED)
    one = tracked(job(), seq=2)
    async with opening() as store:
        await store.jobs.commit(
            change(
                tracked=(one,),
                transitions=(running, ended),
                deliveries=(delivery(seq=1), delivery(seq=2), delivery(seq=2, notifier="chat")),
            )
        )
        (first,) = await claim(store)
        await store.outbox.delivered(first)
        sent, waits, other = (
            StoredDelivery(key=of.key, type="finetune.job.succeeded", title="It ended", waits=state)
            for of, state in (
                (delivery(seq=1), False),
                (delivery(seq=2), True),
                (delivery(seq=2, notifier="chat"), True),
            )
        )
        assert (await store.outbox.past(LONG_AGO)).items == (
            Past(transition=running, tracked=one, stored={"ops": sent}),
            Past(transition=ended, tracked=one, stored={"ops": waits, "chat": other}),
        )
        assert [past.transition.seq for past in (await store.outbox.past(NOON + MINUTE)).items] == [2]
        assert (await store.outbox.past(NOON + MINUTE + SECOND)).items == ()


async def test_the_past_comes_in_pages_and_each_job_in_its_order_whatever_the_clock_said(opening: Opening) -> None:
    count = PAGE + 7
    moved = [transition(f"job-{n:03}", seq=seq, at=NOON - seq * HOUR) for n in range(count) for seq in (1, 2)]
    jobs = tuple(tracked(job(f"job-{n:03}"), seq=2) for n in range(count))
    async with opening() as store:
        await store.jobs.commit(change(tracked=jobs, transitions=tuple(reversed(moved))))
        pages: list[list[Transition]] = []
        after = None
        while not pages or after is not None:
            page = await store.outbox.past(LONG_AGO, after=after)
            pages.append([past.transition for past in page.items])
            after = page.next
    assert [len(page) for page in pages] == [PAGE, PAGE, 14]
    assert [one for page in pages for one in page] == moved


@pytest.mark.parametrize("dead", [False, True], ids=["sent", "given up"])
async def test_an_envelope_that_is_told_again_is_the_same_and_begins_anew(
    opening: Opening, clock: StillClock, claim: Claim, dead: bool
) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery()))
        (first,) = await claim(store)
        await store.outbox.postpone(first, timedelta(0), reason="r", ambiguous=True)
        (second,) = await claim(store)
        assert (second.attempts, second.ambiguous) == (2, True)
        await (
            store.outbox.dead_letter(second, reason="r") if dead else store.outbox.delivered(second, reference="17.5")
        )
        mark = store.outbox.enqueued
        clock.time = NOON + DAY
        assert await store.outbox.replay(planned(delivery())) == {delivery().key}
        assert store.outbox.enqueued == mark + 1
        (posted,) = (await store.reader.deliveries()).items
        assert (posted.state, posted.reason, posted.settled_at) == ("pending", None, None)
        clock.time = NOON + 2 * DAY
        assert await store.outbox.expire(DAY) == {}
        assert await claim(store, DAY - SECOND) == []
        (again,) = await claim(store, DAY)
    assert again == ClaimedDelivery(delivery=delivery(), attempts=1, created_at=NOON + DAY, ambiguous=False, owner="me")


async def test_what_waits_or_is_being_sent_is_left_as_it_is(opening: Opening, clock: StillClock, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery("flies"), delivery("put-off")))
        flying, other = sorted(await claim(store), key=lambda one: one.delivery.subject.id)
        await store.outbox.postpone(other, HOUR, reason="http_500")
        before, mark = (await store.reader.deliveries()).items, store.outbox.enqueued
        both = (delivery("flies"), delivery("put-off"))
        clock.time += MINUTE
        assert await store.outbox.replay(planned(*both, new=both)) == frozenset()
        assert ((await store.reader.deliveries()).items, store.outbox.enqueued) == (before, mark)
        assert await store.outbox.delivered(flying)


async def test_what_was_told_again_and_waits_is_not_told_a_third_time(
    opening: Opening, clock: StillClock, claim: Claim
) -> None:
    plan = planned(delivery("sent"), new=(delivery("new"),))
    async with opening() as store:
        await store.jobs.commit(letters(delivery("sent")))
        (one,) = await claim(store)
        await store.outbox.delivered(one)
        assert await store.outbox.replay(plan) == {delivery("sent").key, delivery("new").key}
        waiting = (await store.reader.deliveries()).items
        clock.time += HOUR
        assert await store.outbox.replay(plan) == frozenset()
        assert (await store.reader.deliveries()).items == waiting
        assert [one.attempts for one in await claim(store)] == [1, 1]


async def test_a_new_envelope_never_replaces_one_that_is_there(opening: Opening, claim: Claim, tmp_path: Path) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery()))
        (one,) = await claim(store)
        await store.outbox.delivered(one)
        assert await store.outbox.replay(planned(new=(delivery(), delivery(seq=2)))) == {delivery(seq=2).key}
        assert sorted(posted.state for posted in (await store.reader.deliveries()).items) == ["pending", "sent"]


async def test_a_jobs_envelopes_go_out_again_in_their_order(opening: Opening, clock: StillClock, claim: Claim) -> None:
    in_order = [delivery(seq=seq) for seq in (1, 2, 10)]
    async with opening() as store:
        await store.jobs.commit(letters(*in_order))
        for _ in in_order:
            (one,) = await claim(store)
            await store.outbox.delivered(one)
        clock.time += HOUR
        await store.outbox.replay(planned(*reversed(in_order)))
        for expected in in_order:
            (one,) = await claim(store, HOUR)
            assert one.delivery == expected
            await store.outbox.delivered(one)


async def test_the_content_is_not_touched_by_a_byte(opening: Opening, claim: Claim, sql: Sql) -> None:
    def content() -> list[str]:
        return [row.message for row in sql("SELECT message FROM outbox ORDER BY key")]

    async with opening() as store:
        await store.jobs.commit(letters(delivery("a"), delivery("b")))
        stored = content()
        for one in await claim(store):
            await store.outbox.delivered(one)
        await store.outbox.replay(planned(delivery("a"), delivery("b")))
        assert content() == stored


@pytest.mark.fault("P19")
@pytest.mark.parametrize("way", ["requeue", "replay"])
async def test_news_goes_before_all_that_is_redelivered(opening: Opening, claim: Claim, way: str) -> None:
    old, late = [delivery(f"old-{n}") for n in range(5)], [delivery("old-0", seq=2), delivery("new")]
    async with opening() as store:
        await store.jobs.commit(letters(*old))
        for one in await claim(store):
            await store.outbox.dead_letter(one, reason="r")
        await (store.outbox.requeue(None) if way == "requeue" else store.outbox.replay(planned(*old)))
        await store.jobs.commit(letters(*late, based_on=1))
        assert await store.outbox.next_due("ops") == timedelta(0)
        first = await claim(store, limit=3)
        assert [one.key for one in first] == ["research/new/1@ops", "research/old-0/2@ops", "research/old-0/1@ops"]
        for one in first:
            await store.outbox.delivered(one)
        assert [one.key for one in await claim(store)] == [f"research/old-{n}/1@ops" for n in (1, 2, 3, 4)]


async def test_what_is_new_of_a_replay_waits_with_it(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.outbox.replay(planned(new=(delivery("late"),)))
        await store.jobs.commit(letters(delivery("now")))
        assert [one.key for one in await claim(store, MINUTE)] == ["research/now/1@ops", "research/late/1@ops"]


async def test_a_live_delivery_that_is_put_off_stays_live(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery("a"), delivery("b")))
        for one in await claim(store):
            await (
                store.outbox.delivered(one)
                if one.delivery.subject.id == "a"
                else store.outbox.postpone(one, MINUTE, reason="r")
            )
        await store.outbox.replay(planned(delivery("a")))
        assert [one.key for one in await claim(store, MINUTE)] == ["research/b/1@ops", "research/a/1@ops"]


async def test_requeued_letters_are_not_marked_as_repetitions(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery()))
        (first,) = await claim(store)
        await store.outbox.postpone(first, timedelta(0), reason="r", ambiguous=True)
        (second,) = await claim(store)
        await store.outbox.dead_letter(second, reason="ambiguous")
        assert await store.outbox.requeue(None) == 1
        (again,) = await claim(store)
        assert (again.attempts, again.ambiguous) == (1, False)


@pytest.mark.parametrize("way", ["requeue", "retell"])
async def test_couriers_and_readers_are_woken(opening: Opening, claim: Claim, way: str) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery()))
        (one,) = await claim(store)
        await store.outbox.dead_letter(one, reason="r")
        mark, changes = store.outbox.enqueued, store.reader.changes.count
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.outbox.wait_enqueued, mark)
                await (store.outbox.requeue(None) if way == "requeue" else store.outbox.replay(planned(delivery())))
        touched = store.reader.changes.since(changes)
        assert touched is not None
        assert [(one.topic, one.org, one.job) for one in touched] == [("delivery", "research", "ftjob-1")]
