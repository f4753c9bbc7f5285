"""Receivers with every fault of the catalogue, next to a good one that must not be affected."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from tests.courier.parts import Hands
from tests.e2e.daemon import until
from tests.faults.delivery import SIGNING, hook, running_couriers
from tests.faults.machine import stopwatch
from tests.faults.targets import OK, Act, Letter, Target, bomb, drip, half, hang, listening, pour, reset, say
from tests.metrics.scrapes import value

pytestmark = pytest.mark.fault("G31")

LATER = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
NOW = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)


def content(letter: Letter) -> object:
    """What a receiver may compare: everything but the time of the attempt."""
    Webhook(SIGNING).verify(letter.body.decode(), letter.headers)
    return letter.body


@pytest.mark.fault("G31", "D01", "D02", "D03", "D05", "D06")
@pytest.mark.parametrize(
    "act",
    [
        pytest.param(say(500), id="D01 500"),
        pytest.param(say(502, b"<html>bad gateway</html>", "Content-Type: text/html"), id="D01 502"),
        pytest.param(say(503), id="D01 503"),
        pytest.param(say(504), id="D01 504"),
        pytest.param(reset, id="D02 taken, then RST"),
        pytest.param(hang, id="D02 taken, then silence"),
        pytest.param(half, id="D02 half an answer"),
        pytest.param(say(429, b"", "Retry-After: 0.2"), id="D03 a fraction of a second"),
        pytest.param(say(429, b"", "Retry-After: 1"), id="D03 seconds"),
        pytest.param(say(429, b"", f"Date: {NOW}", f"Retry-After: {LATER}"), id="D03 a date"),
        pytest.param(say(429, b"", "Retry-After: soon"), id="D03 nonsense"),
        pytest.param(say(429), id="D03 none"),
        pytest.param(say(503, b"", "Retry-After: 1"), id="D03 on a 503"),
        pytest.param(say(301, b"", "Location: http://127.0.0.1:1/"), id="D05 301"),
        pytest.param(say(302, b"", "Location: /elsewhere"), id="D05 302"),
        pytest.param(say(307, b"", "Location: /elsewhere"), id="D05 307"),
        pytest.param(say(308, b"", "Location: /elsewhere"), id="D05 308"),
        pytest.param(drip, id="D07 headers that never end"),
        pytest.param(say(404, b"<html>", "Content-Type: text/html"), id="D06 404 of an ingress"),
        *(
            pytest.param(say(status), id=f"D06 {status}")
            for status in (400, 402, 405, 406, 409, 415, 418, 422, 423, 451)
        ),
    ],
)
async def test_a_passing_fault_costs_one_repetition_with_the_same_id_and_content(tmp_path: Path, act: Act) -> None:
    bad, good = Target([act, OK]), Target()
    async with listening(bad, good), running_couriers(tmp_path, hook("bad", bad), hook("good", good)) as couriers:
        took = stopwatch()
        await couriers.enqueue("a", to=("bad", "good"))
        await until(lambda: len(good.letters) == 1)
        assert took() < 1
        await until(lambda: len(bad.letters) == 2)

        async def settled() -> bool:
            return [one.state for one in await couriers.posted()] == ["sent", "sent"]

        await until(settled)
        await asyncio.sleep(0.2)
        assert bad.keys() == ["research/a/1@bad"] * 2
        assert len({content(letter) for letter in bad.letters}) == 1
        assert len(good.letters) == 1


@pytest.mark.fault("D03")
@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        pytest.param("Retry-After: 1", 1.0, 1.8, id="D03 seconds are waited for"),
        pytest.param("Retry-After: 0.4", 0.4, 1.0, id="D03 fractions are waited for"),
        pytest.param("Retry-After-Ms: 700", 0.7, 1.3, id="D03 thousandths are waited for"),
    ],
)
async def test_a_wait_that_is_asked_for_is_kept_by_all_that_wait(
    tmp_path: Path, header: str, least: float, most: float
) -> None:
    bad, good = Target([say(429, b"", header), OK]), Target()
    async with listening(bad, good), running_couriers(tmp_path, hook("bad", bad), hook("good", good)) as couriers:
        await couriers.enqueue("a", to=("bad",))
        await until(lambda: len(bad.letters) == 1)
        waited = stopwatch()
        await couriers.enqueue("b", "c", "d", to=("bad", "good"))
        await until(lambda: len(good.letters) == 3)
        await until(lambda: len(bad.letters) == 5)
        assert least <= bad.letters[1].at - bad.letters[0].at
        assert waited() < most + 2.0


@pytest.mark.fault("D03", "G12")
async def test_a_target_that_wants_a_long_wait_holds_up_no_other(tmp_path: Path) -> None:
    bad, good = Target([say(429, b"", "Retry-After: 30")]), Target()
    async with listening(bad, good), running_couriers(tmp_path, hook("bad", bad), hook("good", good)) as couriers:
        await couriers.enqueue("a", to=("bad",))
        await until(lambda: len(bad.letters) == 1)
        took = stopwatch()
        await couriers.enqueue("b", "c", "d", to=("bad", "good"))
        await until(lambda: len(good.letters) == 3)
        assert took() < 10
    assert len(bad.letters) == 1


@pytest.mark.fault("D03")
async def test_a_huge_wait_is_capped_at_an_hour(tmp_path: Path) -> None:
    bad = Target([say(429, b"", "Retry-After: 99999999")])
    async with listening(bad), running_couriers(tmp_path, hook("bad", bad)) as couriers:
        await couriers.enqueue("a", to=("bad",))

        async def waits() -> bool:
            (one,) = await couriers.posted()
            return one.reason == "rate_limited"

        await until(waits)
        (one,) = await couriers.posted()
        assert (one.state, one.attempts) == ("pending", 0)
        assert timedelta(minutes=59) < one.due_at - one.created_at <= timedelta(minutes=61)


@pytest.mark.fault("G11", "D04", "D06")
@pytest.mark.parametrize(
    ("act", "reason"),
    [
        pytest.param(say(410), "gone", id="D04 410"),
        pytest.param(say(401), "unauthorized", id="D06 401"),
        pytest.param(say(403), "unauthorized", id="D06 403"),
        pytest.param(say(404), "not_found", id="D06 404"),
    ],
)
async def test_a_target_that_refuses_us_is_suspended_at_once_and_keeps_its_letters(
    tmp_path: Path, act: Act, reason: str
) -> None:
    bad, good, clock = Target([act]), Target(), Hands()
    async with listening(bad, good), running_couriers(tmp_path, hook("bad", bad), hook("good", good)) as couriers:
        await couriers.enqueue("a", to=("bad",))
        await until(lambda: len(bad.letters) == 1)

        async def parked() -> bool:
            return value(couriers.own, "finetune_notifier_parked", {"notifier": "bad"}) == 1

        await until(parked)
        await couriers.enqueue("b", "c", to=("bad", "good"))
        await until(lambda: len(good.letters) == 2)
        await asyncio.sleep(0.5)
        assert len(bad.letters) == 1, "a suspended target is left alone"
        assert await couriers.states("bad") == {"pending": 3}
        assert value(couriers.own, "finetune_notifications_failed_total", {"notifier": "bad", "reason": reason}) == 1
    # Repaired: after a restart, and after an hour without one, everything is sent in order.
    bad.acts = [OK]
    clock.at = datetime.now(UTC) + timedelta(hours=2)
    async with listening(bad), running_couriers(tmp_path, hook("bad", bad), clock=clock) as couriers:
        await until(lambda: len(bad.letters) == 4)
    assert sorted(bad.keys()[1:]) == [f"research/{job}/1@bad" for job in "abc"]


@pytest.mark.fault("D06", "D15")
@pytest.mark.parametrize(
    "act",
    [
        pytest.param(say(413), id="D06 413"),
    ],
)
async def test_a_refused_message_is_buried_alone(tmp_path: Path, act: Act) -> None:
    async def answer(letter: Letter, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (act if letter.key.startswith("research/poison/") else OK)(letter, reader, writer)

    bad = Target([answer])
    async with listening(bad), running_couriers(tmp_path, hook("bad", bad)) as couriers:
        await couriers.enqueue("poison", to=("bad",))
        await couriers.enqueue("a", "b", to=("bad",))

        async def settled() -> bool:
            return await couriers.states("bad") == {"dead": 1, "sent": 2}

        await until(settled)
        (dead,) = await couriers.posted("dead")
        assert (dead.key, dead.reason) == ("research/poison/1@bad", "too_large")
        assert bad.keys().count("research/poison/1@bad") == 1


@pytest.mark.fault("D07")
@pytest.mark.parametrize(
    "act",
    [
        pytest.param(hang, id="D07 silence"),
        pytest.param(drip, id="D07 drips"),
        pytest.param(None, id="D07 does not even read"),
    ],
)
async def test_a_slow_target_holds_up_itself_alone(tmp_path: Path, act: Act | None) -> None:
    bad, good = Target([act or hang], deaf=act is None), Target()
    async with listening(bad, good), running_couriers(tmp_path, hook("bad", bad), hook("good", good)) as couriers:
        await couriers.enqueue(*(f"j{n}" for n in range(8)), to=("bad",), data='"' + "x" * 900_000 + '"')
        took = stopwatch()
        await couriers.enqueue("a", to=("good",))
        await until(lambda: len(good.letters) == 1)
        assert took() < 1

        async def given_up_and_tried_again() -> bool:
            return max(one.attempts for one in await couriers.posted()) >= 2

        await until(given_up_and_tried_again)


@pytest.mark.fault("G31", "D08")
@pytest.mark.parametrize(
    "act",
    [
        pytest.param(pour(512, f"Content-Length: {512 * 2**20}"), id="D08 512 MB"),
        pytest.param(pour(512), id="D08 512 MB without a length"),
        pytest.param(bomb(100), id="D08 a gzip bomb"),
    ],
)
async def test_a_huge_answer_is_not_read_and_counts_by_its_status(tmp_path: Path, act: Act) -> None:
    bad = Target([act])
    async with listening(bad), running_couriers(tmp_path, hook("bad", bad)) as couriers:
        before = resident()
        await couriers.enqueue("a", to=("bad",))

        async def sent() -> bool:
            return await couriers.states("bad") == {"sent": 1}

        await until(sent)
        assert resident() - before < 20
        assert len(bad.letters) == 1


def resident() -> int:
    """The resident size of this process in MB, including that of the receivers."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))
