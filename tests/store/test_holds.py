"""What is held back: it waits in the store, comes out as one message, and is told once whatever happens."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta

from monitor.domain.bundle import MOST
from monitor.domain.news import Delivery, Hold
from monitor.domain.replay import Plan, ReplayedDelivery
from monitor.store import Stores
from tests.builders import DAY, HOUR, NOON, SECOND
from tests.store.conftest import Claim, Opening
from tests.store.samples import LEASE, delivery, letters

WAIT = Hold(group="wait", wait=30 * SECOND)
NIGHT = Hold(group="until 7", until=NOON + 10 * HOUR)


def held(job: str, hold: Hold | None = WAIT, seq: int = 1, notifier: str = "ops") -> Delivery:
    return replace(delivery(job, seq, notifier), hold=hold)


async def states(store: Stores) -> dict[str, str]:
    return {one.key.split("/")[1]: one.state for one in (await store.reader.deliveries(limit=500)).items}


async def test_what_ends_together_is_one_message_with_a_key_of_its_own(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(*(held(f"job-{n:02}") for n in range(20))))
        assert await claim(store, 29 * SECOND) == []
        (one,) = await claim(store, 30 * SECOND)
        assert (one.key, one.others) == ("research/job-00/1+19@ops", 19)
        assert one.delivery.message.title == "20 jobs succeeded"
        assert json.loads(one.delivery.message.data)["count"] == 20
        assert await claim(store, 30 * SECOND) == []
        assert await store.outbox.delivered(one, reference="ts")
        assert Counter((await states(store)).values()) == {"sent": 20}


async def test_one_that_waited_in_vain_goes_out_as_ever(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(held("a"), held("b", notifier="chat")))
        (one,) = await claim(store, 30 * SECOND)
        assert (one.key, one.others, one.delivery) == ("research/a/1@ops", 0, delivery("a"))


async def test_what_comes_within_the_wait_joins_and_what_comes_later_does_not(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(held("a")))
        await claim(store, 20 * SECOND)
        await store.jobs.commit(letters(held("b"), based_on=1))
        (first,) = await claim(store, 30 * SECOND)
        assert first.key == "research/a/1+1@ops"
        await store.jobs.commit(letters(held("c"), based_on=2))
        assert await claim(store, 59 * SECOND) == []
        (second,) = await claim(store, 60 * SECOND)
        assert second.key == "research/c/1@ops"


async def test_a_restart_changes_nothing_of_a_message_that_was_begun(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(held("a"), held("b")))
        (before,) = await claim(store, 30 * SECOND)
        await store.jobs.commit(letters(held("c"), based_on=1))
    async with opening() as store:
        after, third = await claim(store, 30 * SECOND + LEASE)
        assert third.key == "research/c/1@ops"
        assert (after.key, after.delivery) == (before.key, before.delivery)
        assert (after.ambiguous, after.attempts) == (True, 2)
        assert await store.outbox.delivered(after)
        assert await states(store) == {"a": "sent", "b": "sent", "c": "pending"}


async def test_a_stale_claim_settles_none_of_the_bundle(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(held("a"), held("b")))
        (stale,) = await claim(store, 30 * SECOND)
        await claim(store, 30 * SECOND + LEASE)
        assert not await store.outbox.delivered(stale)
        assert set((await states(store)).values()) == {"pending"}


async def test_dead_letters_and_replays_are_of_each_job(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(held("a"), held("b"), held("c")))
        (one,) = await claim(store, 30 * SECOND)
        assert await store.outbox.dead_letter(one, reason="http_400", answer="400 no")
        dead = (await store.reader.deliveries(state="dead")).items
        assert {(each.key, each.reason, each.answer) for each in dead} == {
            (f"research/{job}/1@ops", "http_400", "400 no") for job in "abc"
        }
        again = ReplayedDelivery(
            org="research", job="b", seq=1, address="ops", type="t", title="", new=False, key="research/b/1@ops"
        )
        assert await store.outbox.replay(Plan(deliveries=(again,))) == {"research/b/1@ops"}
        (alone,) = await claim(store, 31 * SECOND)
        assert (alone.key, alone.delivery) == ("research/b/1@ops", delivery("b"))
        await store.outbox.delivered(alone)
        assert await store.outbox.requeue(None) == 2
        assert sorted(each.key for each in await claim(store, 32 * SECOND)) == ["research/a/1@ops", "research/c/1@ops"]


async def test_none_overtakes_an_earlier_one_of_its_job(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(held("a", None, seq=1), held("a", seq=2), held("b"), held("c")))
        (first,) = await claim(store)
        assert first.key == "research/a/1@ops"
        (others,) = await claim(store, 30 * SECOND)
        assert others.key == "research/b/1+1@ops", "a/2 waits for a/1"
        await store.outbox.delivered(first)
        assert [one.key for one in await claim(store, 31 * SECOND)] == ["research/a/2@ops"]


async def test_several_of_one_job_are_in_their_order_and_hold_back_what_follows(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(held("a", seq=1), held("a", seq=2), held("a", None, seq=3)))
        assert await claim(store, 29 * SECOND) == []
        (one,) = await claim(store, 30 * SECOND)
        assert one.key == "research/a/1+1@ops"
        assert await claim(store, 30 * SECOND) == []
        await store.outbox.delivered(one)
        assert [each.key for each in await claim(store, 30 * SECOND)] == ["research/a/3@ops"]


async def test_what_is_muted_comes_as_one_message_and_what_is_urgent_passes(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(held("a", NIGHT, 1), held("b", NIGHT), held("a", None, 2), held("c")))
        (urgent,) = await claim(store)
        assert urgent.key == "research/a/2@ops"
        await store.outbox.delivered(urgent)
        (waited,) = await claim(store, 30 * SECOND)
        assert waited.key == "research/c/1@ops"
        await store.outbox.delivered(waited)
        assert await claim(store, 10 * HOUR - SECOND) == []
        assert await store.outbox.next_due("ops") == SECOND
    async with opening() as store:
        (summary,) = await claim(store, 10 * HOUR)
        assert summary.key == "research/a/1+1@ops"


async def test_who_groups_by_itself_gets_each_when_the_mute_ends(opening: Opening, claim: Claim) -> None:
    alone = Hold(group="alone", until=NOON + HOUR)
    later = Hold(group="alone", until=NOON + 2 * HOUR)
    async with opening() as store:
        await store.jobs.commit(letters(held("a", alone), held("b", alone), held("c", later)))
        assert await claim(store, HOUR - SECOND) == []
        assert sorted(one.key for one in await claim(store, HOUR)) == ["research/a/1@ops", "research/b/1@ops"]


async def test_what_is_held_back_does_not_age_and_expires_with_its_bundle(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        long = Hold(group="until", until=NOON + 5 * DAY)
        await store.jobs.commit(letters(held("a", long), held("b", long)))
        await claim(store, 4 * DAY)
        assert await store.outbox.expire(timedelta(days=3)) == {}
        (backlog,) = (await store.reader.snapshot(NOON, orgs=["research"], job_retention=HOUR, max_jobs=10)).backlogs
        assert (backlog.pending, backlog.oldest) == (2, NOON + 5 * DAY)
        (one,) = await claim(store, 5 * DAY)
        assert await store.outbox.postpone(one, HOUR, reason="http_500")
        await claim(store, 7 * DAY, notifier="nobody")
        assert await store.outbox.expire(timedelta(days=3)) == {}
        await claim(store, 8 * DAY + HOUR, notifier="nobody")
        assert await store.outbox.expire(timedelta(days=3)) == {"ops": 2}
        assert set((await states(store)).values()) == {"dead"}


async def test_what_waits_for_a_notifier_that_is_gone_expires(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(held("a", NIGHT)))
        await claim(store, 10 * HOUR + 3 * DAY + SECOND, notifier="other")
        assert await store.outbox.expire(timedelta(days=3)) == {"ops": 1}


async def test_a_message_has_a_bound_and_the_rest_comes_in_the_next(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(*(held(f"job-{n:03}") for n in range(MOST + 2))))
        found = [one.others for _ in range(2) for one in await claim(store, 30 * SECOND)]
        assert found == [MOST - 1, 1]
