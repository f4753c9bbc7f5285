"""The work that SQLite does for a request does not depend on deliveries that it is not about."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from monitor.domain.news import Delivery, Hold
from monitor.store import Stores, opened
from tests.builders import DAY, NOON, SECOND
from tests.store.samples import LEASE, StillClock, change, delivery, ended

WAITING = [delivery(f"waiting-{number}", notifier="busy") for number in range(3000)]
SENT = [delivery(f"sent-{number}") for number in range(3000)]
HELD = [replace(delivery(f"held-{number}"), hold=Hold(group="few", wait=SECOND)) for number in range(3)]
NIGHT = Hold(group="night", until=NOON + DAY)
HELD_BACK = [replace(delivery(f"night-{number}", notifier="busy"), hold=NIGHT) for number in range(3000)]
ENDED = [ended(f"ended-{number}", NOON - 100 * DAY) for number in range(20)]
_SETTLE = "UPDATE outbox SET state = 'sent', settled_at = created_at WHERE subject_id LIKE 'sent-%'"


@contextmanager
def counted() -> Iterator[Callable[[], int]]:
    """The instructions that SQLite has executed, in hundreds."""
    number = 0

    def count() -> int:
        nonlocal number
        number += 1
        return 0

    def connected(connection: sqlite3.Connection, _record: Any) -> None:
        connection.set_progress_handler(count, 100)

    sa.event.listen(sa.Engine, "connect", connected)
    try:
        yield lambda: number
    finally:
        sa.event.remove(sa.Engine, "connect", connected)


async def claim(store: Stores) -> None:
    """Claim, settle and ask when the next delivery is due."""
    claimed = await store.outbox.claim("busy", owner="me", limit=8, lease=LEASE)
    assert len(claimed) == 8
    for one in claimed:
        assert await store.outbox.delivered(one)
    assert await store.outbox.next_due("busy") is not None


async def claim_together(store: Stores) -> None:
    """Claim what was held back and is sent as one message."""
    (claimed,) = await store.outbox.claim("ops", owner="me", limit=8, lease=LEASE)
    assert claimed.others == len(HELD) - 1
    assert await store.outbox.delivered(claimed)


async def backlogs(store: Stores) -> None:
    """Ask what a notifier was sent last."""
    found = await store.outbox.backlogs(["ops"], down=["ops"])
    assert found["ops"].last_delivered == NOON


async def lasting(store: Stores) -> None:
    """Ask for states that were sent long ago."""
    assert await store.outbox.lasting("ops", DAY) == ()


async def prune(store: Stores) -> None:
    """Delete jobs that ended long ago. No delivery is as old."""
    assert await store.jobs.prune(NOON, 90 * DAY) == len(ENDED)


async def adopt(store: Stores) -> None:
    """Look for pending deliveries under a former name."""
    assert await store.outbox.adopt("new", "old", settled=False) == 0


@pytest.mark.parametrize(
    ("request_", "many"),
    [
        (claim, WAITING),
        (claim, SENT),
        (claim, HELD_BACK),
        (claim_together, WAITING),
        (claim_together, SENT),
        (claim_together, HELD_BACK),
        (backlogs, SENT),
        (lasting, SENT),
        (prune, WAITING),
        (prune, SENT),
        (adopt, SENT),
    ],
)
async def test_the_work_for(
    tmp_path: Path, request_: Callable[[Stores], Awaitable[None]], many: list[Delivery]
) -> None:
    work: list[int] = []
    for name, number in (("few", 100), ("many", len(many))):
        file, clock = tmp_path / f"{name}.db", StillClock()
        with counted() as instructions:
            async with opened(f"sqlite:///{file}", clock=clock) as store:
                deliveries = (*many[:number], *WAITING[-100:], *SENT[-100:], *HELD)
                await store.jobs.commit(change(deliveries=deliveries, tracked=tuple(ENDED)))
                with closing(sqlite3.connect(file)) as connection, connection:
                    connection.execute(_SETTLE)
                clock.time += 2 * SECOND
                before = instructions()
                await request_(store)
                work.append(instructions() - before)
    few, more = work
    assert more <= 1.5 * few + 2
