from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog.testing

from monitor import notifiers
from monitor.clock import SystemClock
from monitor.courier import Courier, DeliveryPolicy, Lanes
from monitor.notifiers import WebhookSettings
from monitor.notifiers.base import Attempt, FailureKind, Notifier
from monitor.secret import Redactor
from monitor.store import StoreUnavailable
from tests.courier.parts import HOUR, Office, Scripted, error, office, step
from tests.notifiers.receivers import receiver


class Failing:
    """The real outbox, whose disk is full now and then."""

    def __init__(self, outbox: Any) -> None:
        self._outbox = outbox
        self.full = False

    def __getattr__(self, name: str) -> Any:
        if self.full and name in {"claim", "delivered", "postpone", "dead_letter"}:
            raise StoreUnavailable("the disk is full")
        return getattr(self._outbox, name)


@pytest.mark.parametrize(
    ("said", "state"),
    [
        pytest.param(None, "sent", id="delivered"),
        pytest.param(error(FailureKind.MESSAGE), "dead why", id="refused"),
        pytest.param(error(FailureKind.TRANSIENT), "pending why", id="failed"),
    ],
)
async def test_what_a_full_disk_could_not_take_is_settled_before_anything_is_sent_again(
    tmp_path: Path, said: Any, state: str
) -> None:
    async with office(tmp_path) as here:
        await here.enqueue("a", seqs=(1, 2))
        disk = Failing(here.store.outbox)

        async def fill(_: Attempt) -> None:
            disk.full = True
            if said is not None:
                raise said

        target = Scripted([fill])
        courier = here.courier(target, outbox=disk)  # type: ignore[arg-type]  # the store, but for its faults
        assert await step(here, courier) == 1
        for _ in range(5):
            here.clock.move(HOUR)
            with pytest.raises(StoreUnavailable):
                await step(here, courier)
        assert len(target.tried) == 1
        disk.full = False
        await step(here, courier)
        assert (await here.states())["a/1@ops"] == state
        here.clock.move(10)
        while await step(here, courier):
            pass
        assert (await here.states())["a/2@ops"] == "sent"
        assert len(target.tried) == (3 if state.startswith("pending") else 2)


async def test_the_loop_outlives_a_full_disk_and_tells_it_once(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue("a")
        disk = Failing(here.store.outbox)
        disk.full = True
        arrived = anyio.Event()

        async def arrive(_: Attempt) -> None:
            arrived.set()

        target = Scripted(always=arrive)
        with structlog.testing.capture_logs() as logs:
            async with anyio.create_task_group() as group:
                group.start_soon(here.courier(target, outbox=disk).run)  # type: ignore[arg-type]  # but for its faults
                await seen(logs, "courier.store_unavailable")
                disk.full = False
                await arrived.wait()
                await seen(logs, "courier.store_available")
                await anyio.sleep(0.05)  # it could say it again
                group.cancel_scope.cancel()
        told = [entry["event"] for entry in logs if entry["event"].startswith("courier.")]
        assert told == ["courier.store_unavailable", "courier.store_available"]
        assert len(target.tried) == 1


async def seen(logs: Sequence[Mapping[str, object]], event: str) -> None:
    """Wait until this was logged."""
    with anyio.fail_after(30):
        while not any(entry["event"] == event for entry in logs):  # noqa: ASYNC110 - seen from outside
            await anyio.sleep(0.01)


def in_real_time(here: Office, target: Notifier, grace: float = 8.0) -> Courier:
    return Courier(
        outbox=here.store.outbox,
        notifier=target,
        clock=SystemClock(),
        owner="me",
        policy=DeliveryPolicy(retry_base=0.02, max_age=timedelta(days=36500)),
        jitter=lambda: 0.0,
        lanes=Lanes(),
        metrics=here.metrics,
        grace=grace,
    )


async def test_a_new_letter_wakes_the_loop_at_once(tmp_path: Path) -> None:
    async with office(tmp_path, due_by=SystemClock()) as here:
        arrived = anyio.Event()

        async def arrive(_: Attempt) -> None:
            arrived.set()

        async with anyio.create_task_group() as group:
            group.start_soon(in_real_time(here, Scripted(always=arrive)).run)
            await anyio.sleep(0.1)
            await here.enqueue("a")
            with anyio.fail_after(8):  # unwoken, it looks every ten seconds
                await arrived.wait()
            group.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("lasts", "grace", "state"),
    [
        pytest.param(0.1, 5.0, "sent", id="a letter in flight lands"),
        pytest.param(30.0, 0.1, "pending", id="one that hangs is left to its lease"),
    ],
)
async def test_stopping_waits_for_what_is_in_flight_but_not_for_ever(
    tmp_path: Path, lasts: float, grace: float, state: str
) -> None:
    async with office(tmp_path, due_by=SystemClock()) as here:
        await here.enqueue("a")
        begun = anyio.Event()

        async def fly(_: Attempt) -> None:
            begun.set()
            await anyio.sleep(lasts)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(in_real_time(here, Scripted(always=fly), grace).run)
                await begun.wait()
                group.cancel_scope.cancel()
        assert await here.states() == {"a/1@ops": state}


@pytest.mark.fault("D16")
async def test_a_notifier_that_crashes_holds_up_no_other_letter_and_may_have_sent_it(tmp_path: Path) -> None:
    async with office(tmp_path) as here:
        await here.enqueue("a", "b")

        async def crash(_: Attempt) -> None:
            raise RuntimeError("a bug")

        target = Scripted([crash])
        courier = here.courier(target)
        assert await step(here, courier) == 2
        assert (await here.states())["b/1@ops"] == "sent"
        here.clock.move(61)
        assert await step(here, courier) == 1
        assert [one.repeated for one in target.tried] == [False, False, True]


@pytest.mark.fault("G3", "G9")
async def test_over_http_every_attempt_has_the_same_id_and_body_and_each_job_its_order(tmp_path: Path) -> None:
    async with (
        office(tmp_path, due_by=SystemClock()) as here,
        receiver((500, ""), (503, ""), (429, ""), (204, "")) as target,
    ):
        await here.enqueue("a", "b", seqs=(1, 2))
        async with notifiers.session() as client, anyio.create_task_group() as group:
            settings = WebhookSettings(name="ops", type="webhook", url=target.url)  # type: ignore[arg-type]  # as in a file
            hook = notifiers.build(settings, session=client, redactor=Redactor(), timeout=5.0)
            group.start_soon(in_real_time(here, hook).run)
            with anyio.fail_after(30):
                while here.metrics.sent_["ops"] < 4:  # noqa: ASYNC110 - seen from outside, as a scrape would
                    await anyio.sleep(0.01)
            await anyio.sleep(0.05)
            group.cancel_scope.cancel()
        assert set((await here.states()).values()) == {"sent"}
    ids = [heard.headers["webhook-id"] for heard in target.heard]
    assert len(ids) == 7
    assert len({(heard.headers["webhook-id"], heard.body) for heard in target.heard}) == 4
    for job in ("a", "b"):
        assert [key for key in ids if f"/{job}/" in key] == sorted(key for key in ids if f"/{job}/" in key)
