"""The outbox: leased in order, settled by its owner only, never lost."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from monitor.store import Claimed, Store
from tests.builders import DAY, HOUR, MINUTE, NOON, SECOND, tracked
from tests.store.conftest import Opening
from tests.store.samples import LEASE, StillClock, change, delivery, letters, message


async def claim(store: Store, after: timedelta = timedelta(), notifier: str = "ops", limit: int = 10) -> list[Claimed]:
    return list(await store.claim(notifier, NOON + after, owner="me", limit=limit, lease=LEASE))


def names(claims: list[Claimed]) -> list[str]:
    return [f"{one.delivery.subject.id}/{one.delivery.seq}" for one in claims]


async def test_an_envelope_comes_out_as_it_went_in(opening: Opening) -> None:
    async with opening() as store:
        await store.commit(letters(delivery()))
        (claimed,) = await claim(store)
    assert claimed == Claimed(delivery=delivery(), attempts=1, created_at=NOON, ambiguous=False, owner="me")
    assert claimed.delivery.message == message()


async def test_a_claimed_envelope_is_nobody_elses_until_its_lease_ends_and_then_it_is_marked(opening: Opening) -> None:
    async with opening() as store:
        await store.commit(letters(delivery()))
        assert len(await claim(store)) == 1
        assert await claim(store, LEASE - SECOND) == []
        (again,) = await claim(store, LEASE)
        assert (again.attempts, again.ambiguous) == (2, True)


async def test_only_the_first_of_each_job_and_notifier_is_handed_out(opening: Opening) -> None:
    async with opening() as store:
        await store.commit(
            letters(delivery("a", 2), delivery("a", 1), delivery("b", 9), delivery("b", 10), delivery("a", 1, "other"))
        )
        first = await claim(store)
        assert sorted(names(first)) == ["a/1", "b/9"]
        assert await claim(store) == []
        await store.delivered(first[0], NOON)
        assert names(await claim(store)) == ["a/2"]
        assert names(await claim(store, notifier="other")) == ["a/1"]


async def test_a_postponed_envelope_holds_back_those_of_its_job_and_no_others(opening: Opening) -> None:
    async with opening() as store:
        await store.commit(letters(delivery("a", 1), delivery("a", 2), delivery("b", 1)))
        first, other = await claim(store)
        assert await store.postpone(first, NOON + HOUR, reason="http_500")
        await store.delivered(other, NOON)
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
    opening: Opening, counted: bool, ambiguous: bool, expected: tuple[int, bool]
) -> None:
    async with opening() as store:
        await store.commit(letters(delivery()))
        (first,) = await claim(store)
        await store.postpone(first, NOON, reason="r", counted=counted, ambiguous=ambiguous)
        (second,) = await claim(store)
        assert (second.attempts, second.ambiguous) == expected
        await store.postpone(second, NOON, reason="r")
        (third,) = await claim(store)
        assert third.ambiguous is ambiguous


async def test_a_buried_envelope_is_dead_with_its_reason_and_those_behind_it_go_out(opening: Opening) -> None:
    async with opening() as store:
        await store.commit(letters(delivery(seq=1), delivery(seq=2)))
        (poison,) = await claim(store)
        assert await store.bury(poison, NOON + SECOND, reason="invalid_blocks")
        assert names(await claim(store)) == ["ftjob-1/2"]
        (dead,) = (await store.deliveries(state="dead")).items
        assert (dead.key, dead.reason, dead.settled_at) == (poison.delivery.key, "invalid_blocks", NOON + SECOND)
        assert (dead.type, dead.title, dead.attempts) == ("finetune.job.succeeded", "It ended", 1)


async def test_a_late_owner_changes_nothing(opening: Opening) -> None:
    async with opening() as store:
        await store.commit(letters(delivery()))
        (late,) = await claim(store)
        (fresh,) = await claim(store, LEASE)
        assert not await store.delivered(late, NOON)
        assert not await store.postpone(late, NOON, reason="r")
        assert not await store.bury(late, NOON, reason="r")
        assert await store.delivered(fresh, NOON, reference="171.5")
        assert not await store.delivered(fresh, NOON)
        assert [one.state for one in (await store.deliveries()).items] == ["sent"]


async def test_an_envelope_that_was_given_back_is_no_longer_its_former_owners(opening: Opening) -> None:
    async with opening() as store:
        await store.commit(letters(delivery()))
        (former,) = await claim(store)
        await store.postpone(former, NOON, reason="shutdown", counted=False)
        assert not await store.delivered(former, NOON)
        (ours,) = await store.claim("ops", NOON, owner="another", limit=1, lease=LEASE)
        assert ours.attempts == former.attempts
        assert not await store.delivered(former, NOON)
        assert await store.delivered(ours, NOON)


async def test_dead_letters_that_are_asked_for_again_start_anew(opening: Opening) -> None:
    async with opening() as store:
        await store.commit(letters(delivery("a"), delivery("b"), delivery("c")))
        for one in await claim(store):
            await store.bury(one, NOON, reason="r")
        mark = store.enqueued
        assert await store.requeue([delivery("a").key, "unknown"], NOON + DAY) == 1
        assert store.enqueued == mark + 1
        (again,) = await claim(store, DAY)
        assert (again.delivery.key, again.attempts, again.created_at) == (delivery("a").key, 1, NOON + DAY)
        assert await store.requeue(None, NOON) == 2
        assert await store.requeue(None, NOON) == 0


async def test_what_waited_too_long_is_given_up_but_not_while_it_is_being_sent(opening: Opening) -> None:
    async with opening() as store:
        await store.commit(letters(delivery("a"), delivery("b"), delivery("c", notifier="hook")))
        (flying,) = await claim(store, DAY - SECOND, limit=1)
        assert await store.expire(NOON + DAY, DAY) == {}
        assert await store.expire(NOON + DAY + SECOND, DAY) == {"ops": 1, "hook": 1}
        assert {one.reason for one in (await store.deliveries(state="dead")).items} == {"expired"}
        assert await store.delivered(flying, NOON + DAY)


async def test_a_clock_that_is_put_back_does_not_silence_what_was_put_off(opening: Opening, clock: StillClock) -> None:
    async with opening() as store:
        await store.commit(letters(delivery()))
        clock.time = NOON + DAY
        (one,) = await claim(store, DAY)
        await store.postpone(one, NOON + DAY + 10 * MINUTE, reason="r")
        await store.expire(NOON, 3 * DAY)
        assert len(await claim(store)) == 1


async def test_next_due_is_when_a_claim_will_find_something(opening: Opening) -> None:
    async with opening() as store:
        assert await store.next_due("ops") is None
        await store.commit(letters(delivery(seq=1), delivery(seq=2)))
        assert await store.next_due("ops") == NOON
        (one,) = await claim(store)
        assert await store.next_due("ops") == NOON + LEASE
        await store.postpone(one, NOON + HOUR, reason="r")
        assert await store.next_due("ops") == NOON + HOUR


async def test_a_restart_hands_out_at_once_what_the_dead_process_had_claimed_and_says_it_may_have_arrived(
    opening: Opening,
) -> None:
    async with opening() as store:
        await store.commit(letters(delivery("a"), delivery("b")))
        await claim(store, limit=1)
    async with opening() as store:
        assert [(one.delivery.subject.id, one.ambiguous) for one in await claim(store)] == [("a", True), ("b", False)]


async def test_a_claim_takes_the_oldest_first_and_no_more_than_asked(opening: Opening) -> None:
    async with opening() as store:
        await store.commit(letters(delivery("young"), at=NOON + SECOND))
        await store.commit(letters(delivery("old"), delivery("older"), based_on=1))
        assert names(await claim(store, MINUTE, limit=2)) == ["old/1", "older/1"]


async def test_whoever_waits_for_envelopes_is_woken_by_a_commit_that_brings_some(opening: Opening) -> None:
    async with opening() as store:
        mark = store.enqueued
        with anyio.move_on_after(0.05) as silence:
            await store.commit(change(tracked=(tracked(),)))
            await store.wait_enqueued(mark)
        assert silence.cancelled_caught
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.wait_enqueued, mark)
                await store.commit(letters(delivery(), delivery(notifier="hook"), based_on=1))
            assert store.enqueued == mark + 2
            await store.wait_enqueued(mark)
