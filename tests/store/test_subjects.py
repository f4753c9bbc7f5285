"""What news is about has a name space of its own for each kind."""

from __future__ import annotations

from dataclasses import replace

import pytest
import structlog.testing

from monitor.domain.news import News, Subject, SubjectKind
from tests.builders import DAY, HOUR, NOON, job, tracked
from tests.store.conftest import Claim, Opening
from tests.store.samples import change, delivery, ended, letters, message, transition

pytestmark = pytest.mark.fault("P9")

OUTAGE = Subject(kind=SubjectKind.ORGANIZATION, org="research", id="outage")
SHUTDOWN = Subject(kind=SubjectKind.SHUTDOWN, org="research", id="2027-01-14")
NAMES = ("outage", "shutdown:2027-01-14", "job:outage", "batch:1")


async def test_a_job_that_is_called_like_other_news_is_told_beside_it(opening: Opening, claim: Claim) -> None:
    news = [
        News(subject=subject, seq=1, deliveries=(replace(delivery(), subject=subject),))
        for subject in (OUTAGE, SHUTDOWN)
    ]
    jobs = [delivery(name) for name in NAMES]
    async with opening() as store:
        await store.outbox.announce(news)
        await store.jobs.commit(
            change(
                tracked=tuple(tracked(job(name)) for name in NAMES),
                transitions=tuple(transition(name) for name in NAMES),
                deliveries=tuple(jobs),
            )
        )
        file = await store.reader.job("research", "outage")
        assert file is not None
        assert [one.key for one in file.deliveries] == [delivery("outage").key]
        found = await claim(store)
        assert sorted(one.key for one in found) == sorted(
            one.key for one in (*jobs, news[0].deliveries[0], news[1].deliveries[0])
        )
        assert {one.delivery.subject for one in found} == {OUTAGE, SHUTDOWN, *(one.subject for one in jobs)}
        for one in found:
            await store.outbox.delivered(one)
        past = {one.transition.job: set(one.stored) for one in (await store.outbox.past(NOON - DAY)).items}
        assert past == {name: {"ops"} for name in NAMES}


async def test_forgetting_a_job_forgets_none_of_the_news_that_is_called_like_it(opening: Opening) -> None:
    async with opening() as store:
        await store.outbox.announce([News(subject=OUTAGE, seq=1, deliveries=(replace(delivery(), subject=OUTAGE),))])
        await store.jobs.commit(change(tracked=(ended("outage"),)))
        assert await store.jobs.prune(NOON + 100 * DAY, 90 * DAY) == 1, "it waits for no news but its own"
        assert [one.key for one in (await store.reader.deliveries()).items] == ["research/outage/1@ops"]


async def test_another_message_under_a_key_that_is_taken_is_an_error_that_is_logged(opening: Opening) -> None:
    other = replace(delivery(), message=message("Something else"))
    async with opening() as store:
        await store.jobs.commit(letters(delivery()))
        with structlog.testing.capture_logs() as logs:
            await store.jobs.commit(letters(delivery(), based_on=1))
            assert logs == [], "the same once more is no news"
            await store.jobs.commit(letters(other, delivery("b"), based_on=2))
        assert [(line["event"], line["key"]) for line in logs] == [("delivery.conflict", delivery().key)]
        assert sorted(one.title for one in (await store.reader.deliveries()).items) == ["It ended", "It ended"]


async def test_the_answer_of_the_last_refusal_is_kept(opening: Opening, claim: Claim) -> None:
    async with opening() as store:
        await store.jobs.commit(letters(delivery("a"), delivery("b"), delivery("c")))
        first, second, third = await claim(store)
        await store.outbox.dead_letter(first, reason="refused", answer="400 no_text")
        await store.outbox.postpone(second, HOUR, reason="http_500", answer="500 try later")
        await store.outbox.delivered(third)
        answers = {one.job: (one.reason, one.answer) for one in (await store.reader.deliveries()).items}
        assert answers == {"a": ("refused", "400 no_text"), "b": ("http_500", "500 try later"), "c": (None, None)}
        await claim(store, 4 * DAY, limit=0)
        assert await store.outbox.expire(DAY) == {"ops": 1}
        answers = {one.job: (one.reason, one.answer) for one in (await store.reader.deliveries()).items}
        assert answers["b"] == ("expired", "http_500: 500 try later")
        await store.outbox.requeue(None)
        assert {one.answer for one in (await store.reader.deliveries()).items} == {None}
