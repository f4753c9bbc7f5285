"""What is measured inside one process, because it has no process of its own: the scrape, and durable commits.

Run as a process, it prints one JSON object. The comparators are prometheus_client's own, and one transaction each.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import anyio
from anyio import to_thread
from prometheus_client import generate_latest

from monitor.app.memory import tune_interpreter
from monitor.clock import SystemClock
from monitor.domain.flow import Tracked
from monitor.domain.model import Metrics, Status, Training
from monitor.domain.snapshot import Snapshot
from monitor.metrics.exposition import Exposition, ScrapeRequest
from monitor.metrics.process import ProcessMetrics
from monitor.store import opened
from tests.builders import HOUR, MINUTE, NOON, job, tracked
from tests.metrics.scrapes import health
from tests.metrics.twin import Twin
from tests.store.samples import full

SERIES_OF_A_JOB = 17
ORGS = 50
REPEATS = 5
FIGURES = ("train_loss", "valid_loss", "train_accuracy", "valid_accuracy", "train_reward", "valid_reward")
Figures = dict[str, float]


def watched(number: int, dice: Random) -> Tracked:
    """An ended job of which all is known."""
    figures: dict[str, Any] = {name: round(dice.random(), 4) for name in FIGURES}
    latest = Metrics(step=dice.randrange(1000), steps=1000, **figures)
    created = NOON - HOUR - number * timedelta(seconds=1)
    times = {"created_at": created, "started_at": created + MINUTE, "finished_at": NOON - dice.random() * MINUTE}
    one = job(
        f"ftjob-{number:024d}", Status.SUCCEEDED, org=f"o{number % ORGS}", name=f"model-{number}",
        trained_tokens=dice.randrange(10**6), training=Training(latest=latest), **times,
    )  # fmt: skip
    return tracked(one, last_activity_at=NOON - dice.random() * MINUTE)


def seconds(of: Callable[[], object]) -> float:
    """CPU of this thread."""
    began = time.thread_time()
    of()
    return time.thread_time() - began


async def held(body: Callable[[], Any]) -> float:
    """By how much the event loop was late at most, while a scrape was made as the server makes it: in a thread."""
    worst = 0.0
    done = False

    async def tick() -> None:
        nonlocal worst
        while not done:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            worst = max(worst, time.perf_counter() - began - 0.001)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        await to_thread.run_sync(tuple, body())
        done = True
    return worst


def scrape(series: int) -> Figures:
    """All jobs changed, none changed, and prometheus_client's way, in CPU seconds; and how long the loop was held."""
    dice, state, process = Random(7), health(*(f"o{n}" for n in range(ORGS))), ProcessMetrics()
    count = series // SERIES_OF_A_JOB
    first, second = (Snapshot(at=NOON, jobs=tuple(watched(number, dice) for number in range(count))) for _ in range(2))
    exposition, request = Exposition(), ScrapeRequest(compressed=True)
    plain, changed, unchanged = [], [], []
    for _ in range(REPEATS):  # interleaved: what slows one down slows down all
        plain.append(seconds(lambda: gzip.compress(generate_latest(Twin(second, state, process)), 1)))
        for snapshot in (first, second):
            figure = seconds(lambda: list(exposition.scrape(snapshot, state, process, request)))  # noqa: B023 - called at once
            changed.append(figure)
        later = replace(second, at=NOON + MINUTE)
        unchanged.append(seconds(lambda: list(exposition.scrape(later, state, process, request))))  # noqa: B023 - called at once
    lag = asyncio.run(held(lambda: exposition.scrape(first, state, process, request)))
    lines = generate_latest(Twin(second, state, process)).count(b"\n")
    return {"series": lines, "plain": min(plain), "changed": min(changed), "unchanged": min(unchanged), "held": lag}


def commits(producers: int) -> Figures:
    """Durable commits a second: each awaited by a producer of its own, and one after the other."""

    async def rate(at_once: bool) -> float:
        with tempfile.TemporaryDirectory() as folder:
            async with opened(f"sqlite:///{folder}/m.db", clock=SystemClock()) as store:
                began = time.perf_counter()
                if at_once:
                    async with anyio.create_task_group() as tasks:
                        for number in range(producers):
                            tasks.start_soon(store.jobs.commit, full(0, f"o{number}"))
                else:
                    for number in range(producers):
                        await store.jobs.commit(full(0, f"o{number}"))
                return producers / (time.perf_counter() - began)

    return {"together": asyncio.run(rate(True)), "alone": asyncio.run(rate(False))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--producers", type=int, default=500)
    given = parser.parse_args()
    tune_interpreter()
    json.dump({"scrape": scrape(given.series), "commits": commits(given.producers)}, sys.stdout)
