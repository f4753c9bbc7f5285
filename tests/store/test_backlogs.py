"""What waits for a notifier, as the store knows it: what fails, since when, and what was accepted last."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from monitor.domain.news import Delivery, EventType, Hold
from monitor.domain.notifier_outages import NotifierBacklog
from tests.builders import MINUTE, NOON
from tests.store.conftest import Claim, Opening
from tests.store.samples import StillClock, delivery, letters, message


async def test_only_what_failed_counts_and_only_troubled_notifiers_are_looked_at(
    opening: Opening, claim: Claim, clock: StillClock
) -> None:
    held = replace(delivery("held"), hold=Hold(group="until", until=NOON + 60 * MINUTE))
    async with opening() as store:
        await store.jobs.commit(letters(delivery("a"), delivery("b"), held, delivery("c", notifier="mail")))
        assert await store.outbox.backlogs(["ops", "mail"], down=[]) == {}
        first, second = await claim(store)
        await store.outbox.postpone(first, 30 * MINUTE, reason="unreachable")
        clock.time += MINUTE / 2
        assert await store.outbox.delivered(second)
        found = await store.outbox.backlogs(["ops", "mail"], down=["mail"])
    assert found == {
        "ops": NotifierBacklog(
            name="ops",
            at=NOON + MINUTE / 2,
            waiting=1,
            failing_since=NOON,
            reason="unreachable",
            last_delivered=NOON + MINUTE / 2,
        ),
        "mail": NotifierBacklog(name="mail", at=NOON + MINUTE / 2, waiting=1),
    }


async def test_the_last_failure_says_why(opening: Opening, claim: Claim, clock: StillClock) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery("a"), delivery("b")))
        first, second = await claim(store)
        await store.outbox.postpone(first, timedelta(hours=1), reason="server_error", answer="502 bad gateway")
        clock.time += MINUTE / 2
        await store.outbox.postpone(second, timedelta(hours=1), reason="unauthorized", answer="403 no")
        found = await store.outbox.backlogs(["ops"], down=[])
    assert (found["ops"].reason, found["ops"].answer, found["ops"].waiting) == ("unauthorized", "403 no", 2)


def stalled(job_id: str, seq: int = 1, event: str = "stalled") -> Delivery:
    of = delivery(job_id, seq)
    return replace(of, message=message(event_type=EventType(event), subject=of.subject))


async def test_the_last_word_on_a_state_is_found_and_sent_again_under_its_key(
    opening: Opening, claim: Claim, clock: StillClock
) -> None:
    of = delivery("c")
    looks_so = replace(of, message=message(title='"event_type":"stalled"', subject=of.subject))
    async with opening() as store:
        await store.jobs.commit(letters(stalled("a"), stalled("b"), looks_so))
        for one in await claim(store):
            await store.outbox.delivered(one)
        await store.jobs.commit(letters(stalled("b", 2, "moving"), based_on=1))
        clock.time = NOON + 59 * MINUTE
        assert await store.outbox.lasting("ops", 60 * MINUTE) == ()
        clock.time = NOON + 60 * MINUTE
        found = await store.outbox.lasting("ops", 60 * MINUTE)
        assert [one.key for one in found] == ["research/a/1@ops"]
        assert await store.outbox.resend(found) == 1
        assert await store.outbox.resend(found) == 0, "it waits already"
        again = await claim(store, 60 * MINUTE)
        assert {one.key for one in again} == {"research/a/1@ops", "research/b/2@ops"}
        assert (await store.outbox.lasting("ops", MINUTE)) == ()
