"""The outbox: leased in order, settled by its owner only, never lost."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from monitor.store import ClaimedDelivery, Stores
from tests.builders import DAY, HOUR, MINUTE, NOON, SECOND, tracked
from tests.store.conftest import Claim, Opening
from tests.store.samples import LEASE, StillClock, change, delivery, letters, message


def names(claims: list[ClaimedDelivery]) -> list[str]:
    return [f"{one.delivery.subject.id}/{one.delivery.seq}" for one in claims]


async def test_an_envelope_comes_out_as_it_went_in(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery()))
        (claimed,) = await claim(store)
    assert claimed == ClaimedDelivery(delivery=delivery(), attempts=1, created_at=NOON, ambiguous=False, owner="me")
    assert claimed.delivery.message == message()


async def test_a_claimed_envelope_is_nobody_elses_until_its_lease_ends_and_then_it_is_marked(
    opening: Opening, claim: Claim
) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery()))
        assert len(await claim(store)) == 1
        assert await claim(store, LEASE - SECOND) == []
        (again,) = await claim(store, LEASE)
        assert (again.attempts, again.ambiguous) == (2, True)


async def test_only_the_first_of_each_job_and_notifier_is_handed_out(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(
            letters(delivery("a", 2), delivery("a", 1), delivery("b", 9), delivery("b", 10), delivery("a", 1, "other"))
        )
        first = await claim(store)
        assert sorted(names(first)) == ["a/1", "b/9"]
        assert await claim(store) == []
        await store.outbox.delivered(first[0])
        assert names(await claim(store)) == ["a/2"]
        assert names(await claim(store, notifier="other")) == ["a/1"]


async def test_a_postponed_envelope_holds_back_those_of_its_job_and_no_others(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery("a", 1), delivery("a", 2), delivery("b", 1)))
        first, other = await claim(store)
        assert await store.outbox.postpone(first, HOUR, reason="http_500")
        await store.outbox.delivered(other)
        assert await claim(store, HOUR - SECOND) == []
        assert names(await claim(store, HOUR)) == ["a/1"]


@pytest.mark.parametrize(
    ("counted", "ambiguous", "expected"),
    [
        pytest.param(True, False, (2, False), id="a refused attempt counts"),
        pytest.param(False, False, (1, False), id="a wait that the target asked for does not"),
        pytest.param(True, True, (2, True), id="a lost answer is remembered"),
    ],
)
async def test_a_postponed_attempt(
    opening: Opening, claim: Claim, counted: bool, ambiguous: bool, expected: tuple[int, bool]
) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery()))
        (first,) = await claim(store)
        await store.outbox.postpone(first, timedelta(0), reason="r", counted=counted, ambiguous=ambiguous)
        (second,) = await claim(store)
        assert (second.attempts, second.ambiguous) == expected
        await store.outbox.postpone(second, timedelta(0), reason="r")
        (third,) = await claim(store)
        assert third.ambiguous is ambiguous


async def test_a_buried_envelope_is_dead_with_its_reason_and_those_behind_it_go_out(
    opening: Opening, claim: Claim, clock: StillClock
) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery(seq=1), delivery(seq=2)))
        (poison,) = await claim(store)
        clock.time += SECOND
        assert await store.outbox.dead_letter(poison, reason="invalid_blocks")
        assert names(await claim(store)) == ["ftjob-1/2"]
        (dead,) = (await store.reader.deliveries(state="dead")).items
        assert (dead.key, dead.reason, dead.settled_at) == (poison.delivery.key, "invalid_blocks", NOON + SECOND)
        assert (dead.type, dead.title, dead.attempts) == ("finetune.job.succeeded", "It ended", 1)


async def test_a_late_owner_changes_nothing(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery()))
        (late,) = await claim(store)
        (fresh,) = await claim(store, LEASE)
        assert not await store.outbox.delivered(late)
        assert not await store.outbox.postpone(late, timedelta(0), reason="r")
        assert not await store.outbox.dead_letter(late, reason="r")
        assert await store.outbox.delivered(fresh, reference="171.5")
        assert not await store.outbox.delivered(fresh)
        assert [one.state for one in (await store.reader.deliveries()).items] == ["sent"]


async def test_an_envelope_that_was_given_back_is_no_longer_its_former_owners(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery()))
        (former,) = await claim(store)
        await store.outbox.postpone(former, timedelta(0), reason="shutdown", counted=False)
        assert not await store.outbox.delivered(former)
        (ours,) = await store.outbox.claim("ops", owner="another", limit=1, lease=LEASE)
        assert ours.attempts == former.attempts
        assert not await store.outbox.delivered(former)
        assert await store.outbox.delivered(ours)


async def test_dead_letters_that_are_asked_for_again_start_anew(
    opening: Opening, claim: Claim, clock: StillClock
) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery("a"), delivery("b"), delivery("c")))
        for one in await claim(store):
            await store.outbox.dead_letter(one, reason="r")
        mark = store.outbox.enqueued
        clock.time = NOON + DAY
        assert await store.outbox.requeue([delivery("a").key, "unknown"]) == 1
        assert store.outbox.enqueued == mark + 1
        (again,) = await claim(store, DAY)
        assert (again.delivery.key, again.attempts, again.created_at) == (delivery("a").key, 1, NOON + DAY)
        assert await store.outbox.requeue(None) == 2
        assert await store.outbox.requeue(None) == 0


async def test_what_waited_too_long_is_given_up_but_not_while_it_is_being_sent(
    opening: Opening, claim: Claim, clock: StillClock
) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery("a"), delivery("b"), delivery("c", notifier="hook")))
        (flying,) = await claim(store, DAY - SECOND, limit=1)
        clock.time = NOON + DAY
        assert await store.outbox.expire(DAY) == {}
        clock.time += SECOND
        assert await store.outbox.expire(DAY) == {"ops": 1, "hook": 1}
        assert {one.reason for one in (await store.reader.deliveries(state="dead")).items} == {"expired"}
        assert await store.outbox.delivered(flying)


async def test_a_clock_that_is_put_back_does_not_silence_what_was_put_off(
    opening: Opening, claim: Claim, clock: StillClock
) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery()))
        (one,) = await claim(store, DAY)
        await store.outbox.postpone(one, 10 * MINUTE, reason="r")
        clock.time = NOON
        await store.outbox.expire(3 * DAY)
        assert len(await claim(store)) == 1


async def test_next_due_is_when_a_claim_will_find_something(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        assert await store.outbox.next_due("ops") is None
        await store.jobs.commit(letters(delivery(seq=1), delivery(seq=2)))
        assert await store.outbox.next_due("ops") == timedelta(0)
        (one,) = await claim(store)
        assert await store.outbox.next_due("ops") == LEASE
        await store.outbox.postpone(one, HOUR, reason="r")
        assert await store.outbox.next_due("ops") == HOUR


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_a_restart_hands_out_at_once_what_the_dead_process_had_claimed_and_says_it_may_have_arrived(
    opening: Opening,
    claim: Claim,
) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery("a"), delivery("b")))
        await claim(store, limit=1)
    async with opening() as store:
        assert [(one.delivery.subject.id, one.ambiguous) for one in await claim(store)] == [("a", True), ("b", False)]


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_a_start_takes_nothing_from_another_replica_that_is_sending_it(opening: Opening, claim: Claim) -> None:
    async with opening() as one:
        await one.jobs.commit(letters(delivery("a"), delivery("b")))
        (sending,) = await claim(one, limit=1)
        async with opening() as other:
            assert names(await claim(other)) == ["b/1"]
            assert await one.outbox.delivered(sending)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_replicas_that_claim_at_once_get_different_deliveries(opening: Opening, claim: Claim) -> None:
    got: list[str] = []

    async def take(store: Stores) -> None:
        for _ in range(4):
            got.extend(names(await claim(store, limit=3)))

    async with opening() as one, opening() as other:
        await one.jobs.commit(letters(*(delivery(f"job-{number:02}") for number in range(20))))
        async with anyio.create_task_group() as tasks:
            for store in (one, other, one, other):
                tasks.start_soon(take, store)
    assert sorted(got) == [f"job-{number:02}/1" for number in range(20)]


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_a_replica_is_woken_by_what_another_enqueues(opening: Opening) -> None:
    async with opening() as one, opening() as other, anyio.create_task_group() as tasks:
        tasks.start_soon(other.listen)
        mark, changes = other.outbox.enqueued, other.reader.changes.count
        with anyio.fail_after(20):
            for number in range(1000):  # until it listens
                await one.jobs.commit(letters(delivery(seq=number + 1), based_on=number))
                with anyio.move_on_after(0.05):
                    await other.outbox.wait_enqueued(mark)
                    break
        assert other.outbox.enqueued > mark
        assert other.reader.changes.since(changes) is None, "what it was is to be read anew"
        tasks.cancel_scope.cancel()


async def test_a_claim_takes_the_oldest_first_and_no_more_than_asked(
    opening: Opening, claim: Claim, clock: StillClock
) -> None:
    async with opening() as store:
        clock.time = NOON + SECOND
        await store.jobs.commit(letters(delivery("young")))
        clock.time = NOON
        await store.jobs.commit(letters(delivery("old"), delivery("older"), based_on=1))
        assert names(await claim(store, MINUTE, limit=2)) == ["old/1", "older/1"]


async def test_whoever_waits_for_envelopes_is_woken_by_a_commit_that_brings_some(opening: Opening) -> None:
    async with opening() as store:
        mark = store.outbox.enqueued
        with anyio.move_on_after(0.05) as silence:
            await store.jobs.commit(change(tracked=(tracked(),)))
            await store.outbox.wait_enqueued(mark)
        assert silence.cancelled_caught
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.outbox.wait_enqueued, mark)
                await store.jobs.commit(letters(delivery(), delivery(notifier="hook"), based_on=1))
            assert store.outbox.enqueued == mark + 2
            await store.outbox.wait_enqueued(mark)
