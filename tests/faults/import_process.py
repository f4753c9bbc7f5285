"""Run as a process: imports an organisation's usage and bills into a database, repeatedly, until it is killed.

It reads commands: for each line a forked copy starts importing, and its process id is printed. Modules are loaded only
once, so that lives can be short.
"""

from __future__ import annotations

import os
import sys

import anyio

from monitor.clock import SystemClock
from monitor.source import transport
from monitor.store import opened
from tests.source.books import accounts
from tests.watchers.books import watcher


async def main(url: str, base_url: str) -> None:
    clock = SystemClock()
    async with opened(url, clock=clock) as store, transport() as http:
        await watcher(accounts(base_url, http), store, clock, interval=0.01, jitter=lambda: 0.0).run()


if __name__ == "__main__":
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            os.dup2(2, 1)  # the log must not be mistaken for an answer
            anyio.run(main, sys.argv[1], sys.argv[2])
        print(child, flush=True)
        os.waitpid(child, 0)
        print("gone", flush=True)
