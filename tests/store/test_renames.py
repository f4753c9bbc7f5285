"""Renamed notifiers, organisations and budgets: nothing is lost on the way, and nothing is told twice."""

from __future__ import annotations

from datetime import timedelta

import pytest

from monitor.domain.news import News, Subject, SubjectKind
from monitor.domain.replay import Plan, ReplayedDelivery
from tests.builders import NOON, job, tracked
from tests.store.conftest import Claim, Opening
from tests.store.samples import change, delivery, letters, transition


@pytest.mark.fault("P24")
async def test_what_waits_for_a_notifier_is_sent_by_its_new_name_under_the_keys_it_has(
    opening: Opening, claim: Claim
) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(*(delivery(seq=seq, notifier="old") for seq in (1, 2, 3))))
        (sent,) = await claim(store, notifier="old")
        await store.outbox.delivered(sent)
        (flying,) = await claim(store, notifier="old")
        assert await store.outbox.orphans(["new"]) == {"old": 2}
        assert await store.outbox.adopt("new", "old") == 2
        assert await store.outbox.adopt("new", "old") == 0
        assert await store.outbox.orphans(["new"]) == {}
        assert await claim(store, notifier="new") == [], "its predecessor is being sent"
        assert await store.outbox.delivered(flying), "whoever has claimed it may say what became of it"
        await store.jobs.commit(letters(delivery(seq=4, notifier="new"), based_on=1))
        keys = []
        while claimed := await claim(store, notifier="new"):
            keys += [one.key for one in claimed]
            for one in claimed:
                assert await store.outbox.delivered(one)
        assert keys == ["research/ftjob-1/3@old", "research/ftjob-1/4@new"]
        assert {one.notifier for one in (await store.reader.deliveries()).items} == {"new"}


async def test_a_replay_knows_what_was_sent_under_a_former_name(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        of = change(
            tracked=(tracked(job("a")),), transitions=(transition("a"),), deliveries=(delivery("a", notifier="old"),)
        )
        await store.jobs.commit(of)
        (sent,) = await claim(store, notifier="old")
        await store.outbox.delivered(sent)
        await store.outbox.adopt("new", "old")
        (past,) = (await store.outbox.past(NOON - timedelta(days=1))).items
        assert past.stored["new"].key == "research/a/1@old"
        again = ReplayedDelivery(
            org="research", job="a", seq=1, address="new", type="t", title="", new=False, key=past.stored["new"].key
        )
        assert await store.outbox.replay(Plan(deliveries=(again,))) == {"research/a/1@old"}
        assert [one.key for one in await claim(store, notifier="new")] == ["research/a/1@old"]


def budget(name: str, seq: int, amount: str | None = None) -> News:
    subject = Subject(kind=SubjectKind.BUDGET, org=None, id=f"{name}/2026-11")
    return News(subject=subject, seq=seq, judged_by=amount)


async def test_what_was_announced_under_a_former_name_counts_as_announced(opening: Opening) -> None:
    async with opening() as store:
        await store.outbox.announce([budget("first", 500, "10.00"), budget("second", 800, "10.00"), budget("other", 1)])
        await store.outbox.announce([budget("third", 1000, "20.00"), budget("second-eu", 500)])
        former = [("budget:first", "budget:third"), ("budget:second", "budget:third")]
        notified = await store.outbox.notified(["budget:third"], former)
    assert {id_: by for id_, by in notified.items() if id_.startswith("budget:third/")} == {
        "budget:third/2026-11/500": "10.00",
        "budget:third/2026-11/800": "10.00",
        "budget:third/2026-11/1000": "20.00",
    }
