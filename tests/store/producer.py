"""Run as a process: commits change after change for some organisations, and prints each one that was acknowledged."""

from __future__ import annotations

import sys
from itertools import count

import anyio

from monitor.clock import SystemClock
from monitor.store import Stores, opened
from tests.store.samples import full

ORGS = tuple(f"org-{number}" for number in range(5))


async def produce(store: Stores, org: str) -> None:
    """For ever."""
    for number in count((await store.jobs.known(org)).version):
        await store.jobs.commit(full(number, org))
        sys.stdout.write(f"{org} {number + 1}\n")
        sys.stdout.flush()


async def main(url: str) -> None:
    async with opened(url, clock=SystemClock()) as store, anyio.create_task_group() as tasks:
        for org in ORGS:
            tasks.start_soon(produce, store, org)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
