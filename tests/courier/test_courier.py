import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import structlog.testing

from monitor.courier import Courier
from monitor.courier.target import AT_ONCE
from monitor.domain.news import TemplateFailure
from monitor.metrics.process import ProcessMetrics
from monitor.notifiers.base import Attempt, FailureKind
from tests.courier.parts import HOUR, Scripted, Tallied, error, letter, office, step
from tests.metrics.scrapes import value


async def test_what_is_due_is_sent_settled_and_counted(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue("a", "b")
        target = Scripted()
        assert await step(here, here.courier(target)) == 2
        assert await step(here, here.courier(target)) == 0
        assert sorted(target.keys) == ["research/a/1@ops", "research/b/1@ops"]
        assert await here.states() == {"a/1@ops": "sent", "b/1@ops": "sent"}
        assert here.metrics.sent_ == {"ops": 2}


async def test_a_courier_takes_no_letters_of_others(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue("a", notifier="ml")
        assert await step(here, here.courier(Scripted(name="ops"))) == 0


@pytest.mark.fault("P24")
async def test_a_renamed_notifier_sends_what_waited_for_its_former_name(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue("a", "b", notifier="old")
        target = Scripted(name="ops")
        courier = replace(here.courier(target), was="old")
        with structlog.testing.capture_logs() as logs, anyio.move_on_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(courier.run)
                while len(target.keys) < 2:
                    await anyio.lowlevel.checkpoint()
                courier.retire()
        assert sorted(target.keys) == ["research/a/1@old", "research/b/1@old"]
        assert [line for line in logs if line["event"] == "deliveries.adopted"] == [
            {"event": "deliveries.adopted", "log_level": "info", "notifier": "ops", "was": "old", "count": 2}
        ]


async def test_what_a_replica_settles_under_the_former_name_is_taken_over_within_the_hour(tmp_path: Path) -> None:
    async with office(tmp_path) as here:

        async def dead_under(notifier: str) -> bool:
            page = await here.store.reader.deliveries(limit=1, state="dead")
            return [one.notifier for one in page.items] == [notifier]

        courier = replace(here.courier(Scripted(name="ops")), was="old")
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(courier.run)
                await here.enqueue("a", notifier="ops")
                while (await here.states())["a/1@ops"] != "sent":
                    await anyio.lowlevel.checkpoint()
                with closing(sqlite3.connect(tmp_path / "monitor.db")) as another, another:
                    another.execute("UPDATE outbox SET notifier = 'old', state = 'dead'")
                while not await dead_under("ops"):
                    here.clock.move(61)
                    await anyio.lowlevel.checkpoint()
                courier.retire()


async def test_a_failure_is_tried_again_later_with_the_same_key(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue("a")
        target = Scripted([error(FailureKind.TRANSIENT)])
        courier = here.courier(target)
        await step(here, courier)
        here.clock.move(3.9)
        assert await step(here, courier) == 0
        here.clock.move(0.2)
        assert await step(here, courier) == 1
        assert [(one.key, one.number, one.repeated) for one in target.tried] == [
            ("research/a/1@ops", 1, False),
            ("research/a/1@ops", 2, False),
        ]
        assert await here.states() == {"a/1@ops": "sent"}
        assert here.metrics.failed_ == {("ops", "why"): 1}


async def test_one_job_s_messages_keep_their_order_while_other_jobs_go_on(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue("a", seqs=(1, 2, 3))
        await here.enqueue("b")
        target = Scripted([error(FailureKind.TRANSIENT)])
        courier = here.courier(target)
        for _ in range(4):
            await step(here, courier)
            here.clock.move(5)
        assert [key for key in target.keys if "/a/" in key] == [
            *("research/a/1@ops", "research/a/1@ops", "research/a/2@ops", "research/a/3@ops")
        ]
        assert target.keys.index("research/b/1@ops") == 1


async def test_a_poison_letter_dies_alone(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue("a", seqs=(1, 2))
        courier = here.courier(Scripted([error(FailureKind.MESSAGE, "message_refused")]))
        await step(here, courier)
        await step(here, courier)
        assert await here.states() == {"a/1@ops": "dead message_refused", "a/2@ops": "sent"}
        assert here.metrics.dead_ == {("ops", "message_refused"): 1}


async def test_a_message_whose_template_failed_is_sent_and_counted_once(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        failure = TemplateFailure(template="short", reason="line 1: undefined value")
        words = replace(letter("a"), template_failure=failure, body='{"text": 1}')
        await here.enqueue("a", message=words)
        target = Scripted([error(FailureKind.TRANSIENT)])
        courier = here.courier(target)
        await step(here, courier)
        assert here.metrics.templates_failed == {}
        here.clock.move(600)
        await step(here, courier)
        assert await here.states() == {"a/1@ops": "sent"}
        assert here.metrics.templates_failed == {"short": 1}
        assert target.messages[-1] == words


async def test_a_limit_holds_the_whole_lane_and_is_no_failure(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue("a", notifier="one")
        await here.enqueue("b", notifier="two")
        await here.enqueue("c", notifier="three")
        limited = Scripted([error(FailureKind.RATE, retry_after=30.0)], name="one")
        first, same = here.courier(limited), here.courier(Scripted(name="two"))
        other = here.courier(Scripted(name="three", lane="another"))
        await step(here, first)
        here.clock.move(29)
        assert [await step(here, one) for one in (first, same, other)] == [0, 0, 1]
        here.clock.move(5)
        assert [await step(here, one) for one in (first, same)] == [1, 1]
        assert [attempt.number for attempt in limited.tried] == [1, 1]
        assert not here.metrics.failed_


async def test_a_limit_without_a_time_holds_the_lane_too(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue(*(f"job{number}" for number in range(100)))
        target = Scripted(always=error(FailureKind.RATE))
        courier = here.courier(target)
        for _ in range(40):
            await step(here, courier)
            here.clock.move(1)
        assert len(target.tried) <= AT_ONCE + 40, "after the first limit it is tried with one message at a time"


async def test_what_is_accepted_beside_a_limit_does_not_show_that_more_is(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue(*(f"job{number:03}" for number in range(40)))
        batches: list[int] = []
        accepted = 0

        async def three_at_a_time(_: Attempt) -> None:
            nonlocal accepted
            if accepted >= 3:
                raise error(FailureKind.RATE, retry_after=1)
            accepted += 1
            await anyio.lowlevel.checkpoint()  # a refusal comes sooner

        target = Scripted(always=three_at_a_time)
        courier = here.courier(target)
        while len(batches) < 12:
            before, accepted = len(target.tried), 0
            await step(here, courier)
            here.clock.move(2)
            batches.append(len(target.tried) - before)
        assert batches == [AT_ONCE, 1, 2, 4, 1, 2, 4, 1, 2, 4, 1, 2]


async def test_after_a_limit_the_target_gets_more_with_each_message_that_it_accepts(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue(*(f"job{number:03}" for number in range(100)))
        target = Scripted([error(FailureKind.RATE, retry_after=5)] * AT_ONCE)
        courier = here.courier(target)
        batches: list[int] = []
        while len(target.tried) < 100 + AT_ONCE:
            before = len(target.tried)
            await step(here, courier)
            here.clock.move(6)
            batches.append(len(target.tried) - before)
        assert batches[0] == AT_ONCE
        assert batches[1] == 1
        assert max(batches[1:]) == AT_ONCE
        assert all(after <= 2 * before for before, after in pairwise(batches[1:])), batches


async def test_two_notifiers_of_one_channel_keep_a_second_between_messages(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        arrived: list[float] = []

        async def slowly(_: Attempt) -> None:
            here.clock.move(0.3)
            arrived.append(here.clock.monotonic())

        couriers = []
        for name in ("one", "two"):
            await here.enqueue("a", "b", "c", notifier=name)
            couriers.append(here.courier(Scripted(always=slowly, name=name, min_gap=1.0)))
        while len(arrived) < 6:
            for courier in couriers:
                await step(here, courier)
            here.clock.move(0.1)
        assert min(after - before for before, after in pairwise(arrived)) >= 1.0
        assert arrived[-1] - arrived[0] < 8


async def test_a_target_that_refuses_us_is_suspended_probed_ever_more_rarely_and_used_again(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue("a")
        target = Scripted([error(FailureKind.TARGET, "gone")] * 9)
        courier = here.courier(target)
        with structlog.testing.capture_logs() as logs:
            await step(here, courier)
            assert here.metrics.suspended == {"ops": True}
            await here.enqueue("b", "c")
            for wait in (60, 120, 240, 480, 960, 1920, 3600, 3600):
                here.clock.move(wait - 1)
                assert await step(here, courier) == 0
                here.clock.move(1)
                assert [await step(here, courier) for _ in range(3)] == [1, 0, 0]
            here.clock.move(HOUR)
            assert await step(here, courier) == 1
            assert here.metrics.suspended == {"ops": False}
            here.clock.move(60)
            while await step(here, courier):
                pass
        assert set((await here.states()).values()) == {"sent"}
        told = [entry["event"] for entry in logs if entry["event"].startswith("notifier.")]
        assert told == ["notifier.suspended", "notifier.resumed"]


async def test_a_restart_tries_a_suspended_target_at_once(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue("a")
        await step(here, here.courier(Scripted(always=error(FailureKind.TARGET))))
        here.clock.move(5)
        assert await step(here, here.courier(Scripted())) == 1
        assert await here.states() == {"a/1@ops": "sent"}


async def test_a_lost_answer_is_repeated_once_marked_and_then_given_up(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue("a", "b")
        slack = Scripted(always=error(FailureKind.AMBIGUOUS, "answer_lost"), idempotent=False)
        courier = here.courier(slack)
        for _ in range(50):
            await step(here, courier)
            here.clock.move(60)
        assert sorted((one.key, one.repeated) for one in slack.tried) == [
            *(("research/a/1@ops", False), ("research/a/1@ops", True)),
            *(("research/b/1@ops", False), ("research/b/1@ops", True)),
        ]
        assert set((await here.states()).values()) == {"dead ambiguous"}


async def test_a_channel_that_crashes_is_tried_five_times(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue("a")
        target = Scripted([error(FailureKind.TRANSIENT)] * 4, always=error(FailureKind.CRASH, "bug"))
        courier = here.courier(target)
        for _ in range(20):
            await step(here, courier)
            here.clock.move(700)
        assert len(target.tried) == 9
        assert await here.states() == {"a/1@ops": "dead bug"}


async def test_a_message_that_fails_for_itself_slows_no_other(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue("poison")

        async def refuse(attempt: Attempt) -> None:
            if "poison" in attempt.key:
                raise error(FailureKind.TRANSIENT, "refused")

        courier = here.courier(Scripted(always=refuse))
        for _ in range(6):
            await step(here, courier)
            here.clock.move(700)
        assert await here.states() == {"poison/1@ops": "pending refused"}
        for name in ("a", "b", "c"):
            await here.enqueue(name)
            await step(here, courier)
            assert (await here.states())[f"{name}/1@ops"] == "sent"


async def test_a_dead_letter_carries_what_the_target_answered(tmp_path: Path) -> None:
    refused, slow = error(FailureKind.MESSAGE, "too_large"), error(FailureKind.TRANSIENT, "refused")
    (refused.status, refused.answer), (slow.status, slow.answer) = (413, "at most: 1 kB"), (402, "")
    async with office(tmp_path) as here:
        await here.enqueue("a")
        await step(here, here.courier(Scripted([refused])))
        await here.enqueue("b")
        await step(here, here.courier(Scripted([slow])))
        here.clock.move(73 * HOUR)
        await here.courier(Scripted())._round()
        page = await here.store.reader.deliveries(state="dead", limit=10)
        assert {(one.key, one.reason, one.answer) for one in page.items} == {
            ("research/a/1@ops", "too_large", "413 at most: 1 kB"),
            ("research/b/1@ops", "expired", "refused: 402"),
        }


async def test_a_dead_target_is_not_asked_for_every_letter(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue(*(f"job{number}" for number in range(200)))
        target = Scripted(always=error(FailureKind.TRANSIENT))
        courier = here.courier(target)
        with structlog.testing.capture_logs() as logs:
            for _ in range(600):
                await step(here, courier)
                here.clock.move(1)
            assert len(target.tried) < 40
            target.always = None
            for _ in range(700):
                await step(here, courier)
                here.clock.move(1)
        assert set((await here.states()).values()) == {"sent"}
        told = [entry["event"] for entry in logs if entry["event"].startswith("notifier.")]
        assert told == ["notifier.failing", "notifier.recovered"]


async def test_what_is_too_old_is_given_up_even_where_its_notifier_is_gone(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue("a", notifier="removed")
        here.clock.move(73 * HOUR)
        await here.courier(Scripted())._round()
        assert await here.states() == {"a/1@removed": "dead expired"}
        assert here.metrics.dead_ == {("removed", "expired"): 1}


async def test_a_clock_that_is_set_back_does_not_silence_what_was_put_off(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        here.clock.at += timedelta(days=1)
        await here.enqueue("a")
        target = Scripted([error(FailureKind.TRANSIENT)])
        courier = here.courier(target)
        await courier._round()
        here.clock.at -= timedelta(days=1)
        here.clock.ticks += 11  # the next look
        await courier._round()
        assert await here.states() == {"a/1@ops": "sent"}


async def test_two_processes_never_send_one_letter_twice(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue(*(f"job{number}" for number in range(40)))
        target = Scripted()
        couriers = [here.courier(target), here.courier(target)]

        async def drain(courier: Courier) -> None:
            while await step(here, courier):
                pass

        async with anyio.create_task_group() as group:
            for courier in couriers:
                group.start_soon(drain, courier)
        assert len(target.keys) == len(set(target.keys)) == 40


def test_the_real_counters_fit() -> None:
    own = ProcessMetrics(version="1")
    own.watch([], ["ops"])
    metrics: Any = own
    for count in (Tallied(), metrics):
        count.set_suspended("ops", True)
        count.dead("ops", "expired")
    assert value(own, "finetune_notifier_parked", {"notifier": "ops"}) == 1
    assert value(own, "finetune_notifications_dead_total", {"notifier": "ops", "reason": "expired"}) == 1
