"""Run as a process: commits until files may grow no further, then with room again, and prints what happened."""

from __future__ import annotations

import resource
import sys
from dataclasses import replace

import anyio

from monitor.clock import SystemClock
from monitor.domain.flow import Change
from monitor.store import Stores, StoreUnavailable, opened
from tests.builders import event
from tests.store.samples import full

LONG = "x" * 20_000


def long(number: int, events: int) -> Change:
    """The same change, with texts that fill a disk; with many of them it does so before the transaction ends."""
    change = full(number)
    one = change.deliveries[0]
    return replace(
        change,
        deliveries=(replace(one, message=replace(one.message, error=LONG)),),
        events=tuple(event(f"e-{n}", message=LONG, job=change.tracked[0].job.id) for n in range(events)),
    )


async def fill(store: Stores, number: int, events: int) -> int:
    """Commit until there is no room; how many were acknowledged."""
    while True:
        try:
            await store.jobs.commit(long(number, events))
        except StoreUnavailable:
            return number
        number += 1


async def report(when: str, store: Stores, done: int) -> None:
    version = (await store.jobs.known("research")).version
    sys.stdout.write(f"{when} {done} {store.database.healthy} {version}\n")


async def main(url: str) -> None:
    done = 0
    async with opened(url, clock=SystemClock()) as store:
        for size, events in ((500_000, 0), (5_000_000, 500)):
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
            done = await fill(store, done, events)
            await report("full", store, done)
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            await store.jobs.commit(long(done, events))
            done += 1
            await report("again", store, done)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
