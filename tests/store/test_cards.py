"""The contract of cards: where they stand, when they are due, who edits them, and what becomes of a lost one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from monitor.domain.cards import EDIT_GAP, appearance
from monitor.domain.model import Status
from monitor.domain.news import Card, CardChange, Delivery, Hold, job_subject
from monitor.store import ClaimedCard, Stores
from tests.builders import DAY, HOUR, SECOND, job, tracked
from tests.store.conftest import Opening, Sql
from tests.store.samples import LEASE, StillClock, change, delivery, message

CARD = Card(place="C1", reference="1.5")
ELSEWHERE = Card(place="C2", reference="2.5")
JOB = job_subject("research", "ftjob-1")


def of_card(seq: int = 1, **over: Any) -> Delivery:
    return replace(delivery(seq=seq), card=True, **over)


class Cards:
    """A store in which the job `ftjob-1` has a card, and the versions that are committed to it."""

    def __init__(self, store: Stores, clock: StillClock) -> None:
        self.store = store
        self.clock = clock
        self.version = 0

    async def commit(self, *deliveries: Delivery, status: Status = Status.RUNNING, cards: bool = True) -> None:
        """The job has changed."""
        await self.store.jobs.commit(
            change(
                self.version,
                tracked=(tracked(job(status=status)),),
                deliveries=deliveries,
                cards=(CardChange(subject=JOB),) if cards else (),
            )
        )
        self.version += 1

    async def post(self, card: Card = CARD) -> None:
        """The delivery that waits is posted."""
        [claimed] = await self.store.outbox.claim("ops", owner="me", limit=1, lease=LEASE)
        assert claimed.card is None
        assert await self.store.outbox.delivered(claimed, posted=card)

    async def claim(self, owner: str = "me") -> ClaimedCard | None:
        return await self.store.cards.claim("ops", owner=owner, lease=LEASE)

    async def claimed(self, owner: str = "me") -> ClaimedCard:
        found = await self.claim(owner)
        assert found is not None
        return found

    def wait(self, time: timedelta) -> None:
        self.clock.time += time

    async def edit(self, appearance: str = "new") -> None:
        assert await self.store.cards.shown(await self.claimed(), appearance, CARD)


async def begun(store: Stores, clock: StillClock) -> Cards:
    cards = Cards(store, clock)
    await cards.commit(of_card())
    await cards.post()
    return cards


async def test_the_first_news_becomes_the_card_and_the_next_go_below_it(opening: Opening, clock: StillClock) -> None:
    async with opening() as store:
        cards = await begun(store, clock)
        await cards.commit(of_card(2), delivery(seq=3))
        [second] = await store.outbox.claim("ops", owner="me", limit=5, lease=LEASE)
        assert second.card == CARD
        await store.outbox.delivered(second)
        [third] = await store.outbox.claim("ops", owner="me", limit=5, lease=LEASE)
        assert (third.delivery.seq, third.card, third.delivery.card) == (3, None, False)


async def test_every_address_has_a_card_of_its_own(opening: Opening, clock: StillClock) -> None:
    async with opening() as store:
        cards = await begun(store, clock)
        await cards.commit(of_card(2, message=message(channel="#nlp")))
        await cards.post(ELSEWHERE)
        await cards.commit(of_card(3), of_card(4, message=message(channel="#nlp")))
        found = []
        for _ in range(2):
            [one] = await store.outbox.claim("ops", owner="me", limit=1, lease=LEASE)
            found.append(one.card)
            await store.outbox.delivered(one)
        assert found == [CARD, ELSEWHERE]


async def test_a_card_is_due_when_its_job_changes_and_not_twice_within_a_minute(
    opening: Opening, clock: StillClock
) -> None:
    async with opening() as store:
        cards = await begun(store, clock)
        assert await cards.claim() is None
        await cards.commit(status=Status.PAUSED)
        claimed = await cards.claimed()
        assert claimed.tracked is not None
        assert (claimed.subject, claimed.key, claimed.card) == (JOB, "research/ftjob-1/card@ops", CARD)
        assert (claimed.tracked.job.status, claimed.shown) == (Status.PAUSED, appearance(of_card().message))
        assert await store.cards.shown(claimed, "paused", CARD)
        assert await store.cards.next_due("ops") is None
        await cards.commit()
        assert await store.cards.next_due("ops") == EDIT_GAP
        cards.wait(EDIT_GAP - SECOND)
        assert await cards.claim() is None
        cards.wait(SECOND)
        assert (await cards.claimed()).shown == "paused"


async def test_what_changed_before_the_card_stood_is_looked_for_after_a_minute(
    opening: Opening, clock: StillClock
) -> None:
    async with opening() as store:
        cards = await begun(store, clock)
        cards.wait(EDIT_GAP)
        claimed = await cards.claimed()
        assert await store.cards.unchanged(claimed)
        assert await store.cards.next_due("ops") is None
        await cards.commit()
        assert await cards.claim() is not None


async def test_what_changes_while_it_is_edited_is_shown_a_minute_later(opening: Opening, clock: StillClock) -> None:
    async with opening() as store:
        cards = await begun(store, clock)
        await cards.commit()
        claimed = await cards.claimed()
        await cards.commit(status=Status.FAILED)
        assert await store.cards.shown(claimed, "running", CARD)
        assert await store.cards.next_due("ops") == EDIT_GAP
        cards.wait(EDIT_GAP)
        newest = (await cards.claimed()).tracked
        assert newest is not None
        assert newest.job.status is Status.FAILED


async def test_progress_moves_the_cards_alone_that_follow_it(opening: Opening, clock: StillClock) -> None:
    async with opening() as store:
        cards = await begun(store, clock)
        for addresses, due in ((frozenset({"other"}), None), (frozenset({"ops", "other"}), timedelta(0))):
            await cards.store.jobs.commit(
                change(cards.version, tracked=(tracked(),), cards=(CardChange(subject=JOB, addresses=addresses),))
            )
            cards.version += 1
            at = await store.cards.next_due("ops")
            assert at == (due if due is not None else EDIT_GAP)


async def test_one_of_several_replicas_edits_a_card_and_a_late_one_is_refused(
    opening: Opening, clock: StillClock
) -> None:
    async with opening() as store:
        cards = await begun(store, clock)
        await cards.commit()
        late = await cards.claimed("late")
        assert await cards.claim("other") is None
        cards.wait(max(LEASE, EDIT_GAP))
        other = await cards.claimed("other")
        assert not await store.cards.shown(late, "old", CARD)
        assert not await store.cards.postpone(late, HOUR)
        assert not await store.cards.lose(late)
        assert await store.cards.shown(other, "new", CARD)


async def test_who_is_killed_while_editing_does_not_edit_twice_within_a_minute(
    opening: Opening, clock: StillClock
) -> None:
    async with opening() as store:
        cards = await begun(store, clock)
        await cards.commit()
        await cards.claimed()
    async with opening() as store:
        cards.store = store
        await cards.commit()
        cards.wait(EDIT_GAP - SECOND)
        assert await cards.claim("next") is None
        cards.wait(SECOND)
        assert (await cards.claimed("next")).card == CARD


async def test_a_failed_edit_waits_and_a_change_does_not_wait_for_it(opening: Opening, clock: StillClock) -> None:
    async with opening() as store:
        cards = await begun(store, clock)
        await cards.commit()
        assert await store.cards.postpone(await cards.claimed(), HOUR)
        assert await store.cards.next_due("ops") == HOUR
        await cards.commit(status=Status.FAILED)
        assert await store.cards.next_due("ops") == EDIT_GAP
        cards.wait(EDIT_GAP)
        assert (await cards.claimed()).attempts == 2


async def test_a_lost_card_is_posted_anew_once(opening: Opening, clock: StillClock) -> None:
    async with opening() as store:
        cards = await begun(store, clock)
        await cards.commit()
        claimed = await cards.claimed()
        assert await store.cards.lose(claimed)
        assert await store.cards.shown(claimed, "anew", ELSEWHERE)
        cards.wait(EDIT_GAP)
        await cards.commit()
        again = await cards.claimed()
        assert (again.card, again.shown) == (ELSEWHERE, "anew")
        assert not await store.cards.lose(again)
        await cards.commit()
        assert await store.cards.next_due("ops") is None
        await cards.commit(of_card(2))
        await cards.post()  # news begins a card again
        await cards.commit()
        cards.wait(EDIT_GAP)
        assert (await cards.claimed()).card == CARD


async def test_a_card_is_posted_anew_twice_at_most_where_nobody_says_whether_it_arrived(
    opening: Opening, clock: StillClock
) -> None:
    async with opening() as store:
        cards = await begun(store, clock)
        await cards.commit()
        assert await store.cards.lose(await cards.claimed())
        assert await store.cards.next_due("ops") == max(LEASE, EDIT_GAP)
        cards.wait(HOUR)
        second = await cards.claimed()
        assert (second.card, second.posts, second.tracked is not None) == (None, 2, True)
        cards.wait(HOUR)
        third = await cards.claimed()
        assert (third.card, third.posts, third.tracked) == (None, 3, None)
        assert await store.cards.abandon(third)
        assert await store.cards.next_due("ops") is None


async def test_what_has_certainly_not_arrived_is_no_post(opening: Opening, clock: StillClock) -> None:
    async with opening() as store:
        cards = await begun(store, clock)
        await cards.commit()
        claimed = await cards.claimed()
        assert await store.cards.lose(claimed)
        for _ in range(5):
            assert await store.cards.postpone(claimed, HOUR, unposted=True)
            cards.wait(HOUR)
            claimed = await cards.claimed()
            assert (claimed.posts, claimed.tracked is not None) == (1, True)


async def test_news_that_was_posted_meanwhile_is_the_card(opening: Opening, clock: StillClock) -> None:
    async with opening() as store:
        cards = await begun(store, clock)
        await cards.commit(of_card(2))
        claimed = await cards.claimed()
        assert await store.cards.lose(claimed)
        await cards.post(ELSEWHERE)
        assert not await store.cards.shown(claimed, "late", CARD)
        cards.wait(EDIT_GAP)
        assert (await cards.claimed()).card == ELSEWHERE


async def test_a_clock_that_is_put_back_silences_no_card(opening: Opening, clock: StillClock) -> None:
    async with opening() as store:
        cards = await begun(store, clock)
        cards.wait(DAY)
        await cards.commit()
        await cards.edit()
        await cards.commit()
        cards.wait(-DAY)
        assert await cards.claim() is not None


async def test_a_bundle_is_nobody_s_card(opening: Opening, clock: StillClock) -> None:
    async with opening() as store:
        cards = await begun(store, clock)
        held = Hold(group="wait", wait=timedelta(seconds=5))
        await cards.commit(of_card(2, hold=held), of_card(1, subject=job_subject("research", "b"), hold=held))
        cards.wait(5 * SECOND)
        [claimed] = await store.outbox.claim("ops", owner="me", limit=5, lease=LEASE)
        assert (claimed.others, claimed.card, claimed.delivery.card) == (1, None, False)


async def test_retention_forgets_a_card_with_its_job_and_never_before(
    opening: Opening, clock: StillClock, sql: Sql
) -> None:
    async with opening() as store:
        cards = await begun(store, clock)
        cards.wait(200 * DAY)
        await store.jobs.prune(clock.time, 90 * DAY)
        assert (await store.reader.deliveries(limit=5)).items == ()
        await cards.commit(of_card(2))
        [claimed] = await store.outbox.claim("ops", owner="me", limit=1, lease=LEASE)
        assert claimed.card == CARD
        await store.outbox.delivered(claimed)
        await cards.commit(status=Status.SUCCEEDED)
        cards.wait(200 * DAY)
        assert await store.jobs.prune(clock.time, 90 * DAY) == 1
        assert sql("SELECT count(*) FROM card")[0][0] == 0


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_a_card_without_a_job_is_claimed_to_be_abandoned(opening: Opening, clock: StillClock, sql: Sql) -> None:
    async with opening() as store:
        cards = await begun(store, clock)
        await cards.commit()
        sql("DELETE FROM job")
        claimed = await cards.claimed()
        assert claimed.tracked is None
        assert await store.cards.abandon(claimed)
        assert await cards.claim() is None


async def test_a_renamed_notifier_keeps_its_cards(opening: Opening, clock: StillClock, sql: Sql) -> None:
    async with opening() as store:
        cards = await begun(store, clock)
        await cards.commit(of_card(2))
        assert await store.outbox.adopt("renamed", "ops") == 1
        [claimed] = await store.outbox.claim("renamed", owner="me", limit=1, lease=LEASE)
        assert (claimed.card, claimed.key) == (CARD, "research/ftjob-1/2@ops")
        assert await store.outbox.delivered(claimed, posted=ELSEWHERE)
        await cards.commit(of_card(3))
        await store.outbox.delivered(
            (await store.outbox.claim("ops", owner="me", limit=1, lease=LEASE))[0], posted=CARD
        )
        assert await store.outbox.adopt("renamed", "ops") == 0
        assert [tuple(row) for row in sql("SELECT notifier, place, reference FROM card")] == [("renamed", "C2", "2.5")]
