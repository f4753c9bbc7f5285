"""Many deliveries and long outages: pace and order are kept, and other notifiers are on time."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from monitor.courier import DeliveryPolicy
from monitor.domain.replay import Plan, ReplayedDelivery
from tests.courier.parts import Hands
from tests.e2e.daemon import until
from tests.faults.delivery import Couriers, hook, running_couriers, slack
from tests.faults.machine import stopwatch
from tests.faults.targets import OK, Letter, Target, listening, say

pytestmark = pytest.mark.fault("G16")

HOUR = 3600.0


@pytest.mark.fault("D01")
async def test_an_hour_of_503_is_met_with_growing_waits_and_then_delivered_once(tmp_path: Path) -> None:
    clock, moments = Hands(), list[float]()
    policy = DeliveryPolicy(timeout=5.0, retry_base=5.0, retry_max=600.0)
    begun = clock.ticks

    async def answer(letter: Letter, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        moments.append(clock.ticks - begun)
        await (say(503) if moments[-1] < HOUR else OK)(letter, reader, writer)

    bad = Target([answer])
    async with listening(bad), running_couriers(tmp_path, hook("bad", bad), policy=policy, clock=clock) as couriers:
        await couriers.enqueue("a", to=("bad",))

        async def sent() -> bool:
            return await couriers.states("bad") == {"sent": 1}

        await until(sent)
    assert HOUR <= moments[-1] < HOUR + 610
    assert 8 <= len(moments) <= 80
    gaps = [b - a for a, b in itertools.pairwise(moments)]
    assert max(gaps[:3]) < 25
    assert max(gaps) > 60
    assert len({round(gap, 3) for gap in gaps[-5:]}) > 1, "jitter"
    assert len(set(bad.keys())) == 1


@dataclass
class Channel:
    """One Slack channel: what arrived when, by the program's clock."""

    clock: Hands
    at: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    async def take(self, letter: Letter, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Record the message and accept it."""
        self.at.append(self.clock.ticks)
        self.texts.append(json.loads(letter.body)["text"])
        await OK(letter, reader, writer)


@pytest.mark.fault("G9", "D11")
@pytest.mark.slow
async def test_five_hundred_at_once_go_to_a_shared_channel_one_each_second_and_in_order(tmp_path: Path) -> None:
    clock = Hands()
    channel = Channel(clock)
    target = Target([channel.take])
    jobs = [f"job-{n:03}" for n in range(250)]
    async with listening(target):
        async with running_couriers(tmp_path, slack("one", target), slack("two", target), clock=clock) as couriers:
            await couriers.enqueue(*jobs, to=("one", "two"))
            await until(lambda: len(channel.at) == 500, 50)
    gaps = [b - a for a, b in itertools.pairwise(channel.at)]
    assert min(gaps) >= 1.0
    titles = [text.split()[1] for text in channel.texts]
    assert sorted(titles) == sorted(jobs * 2)
    first = list(dict.fromkeys(titles))
    assert first == jobs


@pytest.mark.fault("P19")
async def test_a_failure_is_told_at_once_though_a_replay_fills_its_channel(tmp_path: Path) -> None:
    clock = Hands()
    channel = Channel(clock)
    target = Target([channel.take])
    old = [f"old-{n:02}" for n in range(25)]
    async with listening(target):
        async with running_couriers(tmp_path, slack("one", target), clock=clock) as couriers:
            await couriers.enqueue(*old, to=("one",))
            await until(lambda: len(channel.at) == 25)
            await until(lambda: settled(couriers, "one", 25))
            again = [
                ReplayedDelivery(
                    org="research", job=job, seq=1, address="one", type="t", title="", new=False,
                    key=f"research/{job}/1@one",
                )
                for job in old
            ]  # fmt: skip
            await couriers.store.outbox.replay(Plan(deliveries=tuple(again)))
            await until(lambda: len(channel.at) > 27)
            asked = clock.ticks
            await couriers.enqueue("now", to=("one",))
            await until(lambda: any(text.split()[1] == "now" for text in channel.texts))
            told = next(at for at, text in zip(channel.at, channel.texts, strict=True) if text.split()[1] == "now")
            await until(lambda: len(channel.at) == 51)
    assert told - asked <= 5, "one that was being sent may be before it; the clock runs as fast as the test"


async def settled(couriers: Couriers, notifier: str, count: int) -> bool:
    """Whether this many deliveries of a notifier were sent."""
    return await couriers.states(notifier) == {"sent": count}


@pytest.mark.fault("D11")
async def test_a_channel_that_is_full_delays_no_other(tmp_path: Path) -> None:
    full, other, good = Target(), Target(), Target()
    async with listening(full, other, good):
        settings = (slack("full", full), slack("other", other), hook("good", good))
        async with running_couriers(tmp_path, *settings) as couriers:
            await couriers.enqueue(*(f"j{n}" for n in range(200)), to=("full",))
            took = stopwatch()
            await couriers.enqueue("a", to=("other", "good"))
            await until(lambda: bool(other.letters and good.letters))
            assert took() < 1
            await until(lambda: len(full.letters) == 3)
    gaps = [b.at - a.at for a, b in itertools.pairwise(full.letters)]
    assert min(gaps) >= 0.95


@pytest.mark.fault("D19")
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_dead_target_with_ten_thousand_letters_recovers_without_a_flood(tmp_path: Path) -> None:
    at_once = most = 0
    alive = False

    async def answer(letter: Letter, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        if alive:
            await asyncio.sleep(0.01)
        await (OK if alive else say(503))(letter, reader, writer)
        at_once -= 1

    bad, good = Target([answer]), Target()
    policy = DeliveryPolicy(timeout=1.0, retry_base=0.2, retry_max=2.0)
    async with listening(bad, good):
        async with running_couriers(tmp_path, hook("bad", bad), hook("good", good), policy=policy) as couriers:
            began = time.monotonic()
            await couriers.enqueue(*(f"j{n}" for n in range(10_000)), to=("bad",))
            print(f"enqueued in {time.monotonic() - began:.1f} s")
            start, asked = time.monotonic(), len(bad.letters)
            for number in range(20):
                began = time.monotonic()
                await couriers.enqueue(f"good-{number}", to=("good",))
                await until(lambda number=number: len(good.letters) == number + 1, 3)  # type: ignore[misc] # mypy cannot infer a default
                assert good.letters[-1].at - began < 1
                await asyncio.sleep(0.15)
            rate = (len(bad.letters) - asked) / (time.monotonic() - start)
            print(f"requests to the dead target: {rate:.1f}/s")
            assert rate < 10, "a dead target is not asked for every letter"
            alive = True
            began = time.monotonic()
            before = len(bad.letters)
            await until(lambda: len(bad.letters) - before >= 2000, 120)
            print(f"drained {2000 / (time.monotonic() - began):.0f}/s, at most {most} at once")
            assert 1 < most <= 8
            drained = bad.keys()[before:]
            assert len(set(drained)) == len(drained), "nothing twice"
