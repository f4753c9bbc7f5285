"""`make bench`: every figure beside its target, `ok` or `short`, on a machine of two cores that does nothing else.

`--quick` takes five minutes, with fewer and shorter rounds. `--only P7,P10` measures these alone. `--json FILE` keeps
the figures. `--tiny` proves in a minute that everything runs; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, median
from typing import Any

import aiohttp
from standardwebhooks import Webhook

from tests.bench.processes import PRODUCT, SIGNING, Load, Watcher, get, load, monitor, process, script, usage

QUIET = {"events": 20, "period": 30.0}
BUSY = {"events": 150, "period": 1.0}
GZIP = {"Accept-Encoding": "gzip"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured."""

    orgs: int = 50
    jobs: int = 200
    active: int = 20
    interval: float = 10.0
    cycles: int = 6
    """Measured in a round, after a first one that is not: all that falls due at the default cadences does in six."""
    rounds: int = 2
    latency: float = 0.15
    series: int = 100_000
    producers: int = 500
    growth: tuple[int, ...] = (10, 100, 500)
    history: tuple[int, ...] = (10_000, 100_000)
    ends: int = 1000
    many: tuple[int, int, float, float] = (1000, 100, 30.0, 240.0)
    """Organisations, jobs of each, interval, seconds: P13."""


FULL = Size()
QUICK = Size(
    orgs=20, interval=5.0, rounds=1, growth=(), history=(2000,), ends=300, many=(250, 100, 30.0, 30.0)
)  # fmt: skip
TINY = Size(
    orgs=3, jobs=120, active=2, interval=2.0, cycles=2, rounds=1, series=4000, producers=20, growth=(5,),
    history=(300,), ends=20, many=(5, 20, 2.0, 4.0),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure and what it should be; without a limit it is for information."""

    name: str
    value: float
    unit: str = ""
    most: float | None = None
    least: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether it is as it should be."""
        if self.most is None and self.least is None:
            return ""
        good = (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)
        return "ok" if good else "short"


@dataclass(slots=True)
class Round:
    """What one watcher has used in the measured cycles of one round."""

    cpu: float
    """Seconds a cycle."""
    requests: float
    """A cycle."""
    peak: float
    rss: float
    ready: float
    delays: list[float] = field(default_factory=list)
    """From the end of a job to its being told, in seconds."""
    server: float = 0.0
    """How busy the load server's core was, of 1."""


Start = Callable[[Load], AbstractContextManager[Watcher]]


def measure(size: Size, start: Start, kind: dict[str, float], **over: Any) -> Round:
    """One round: a fresh load server, a fresh watcher, a cycle to settle, and the cycles that count."""
    with load(orgs=size.orgs, jobs=size.jobs, active=size.active, latency=size.latency, **kind, **over) as server:
        with start(server) as watcher:
            time.sleep(size.interval)
            before, asked, began = usage(watcher.pid), server.stats(), time.monotonic()
            counted = watcher.cycles()
            for _ in range(size.cycles):
                server.end(3)
                time.sleep(size.interval)
            after, done, passed = usage(watcher.pid), server.stats(), time.monotonic() - began
            cycles = watcher.cycles() - counted if counted else passed / size.interval
            time.sleep(size.interval + 2 * size.latency + 1.0)  # the last ends are told
            seen, ends = watcher.seen(), server.stats()["ends"]
    requests = _listed(done) - _listed(asked)
    delays = [seen[job] - at for job, at in ends.items() if job in seen]
    missed = [job for job in ends if job not in seen]
    if missed:
        delays.append(float("inf"))
    return Round(
        cpu=(after.cpu - before.cpu) / cycles,
        requests=requests / cycles,
        peak=after.peak,
        rss=after.rss,
        ready=watcher.ready_after,
        delays=delays,
        server=(done["cpu"] - asked["cpu"]) / passed,
    )


def _listed(stats: dict[str, Any]) -> int:
    """Requests so far, without those for one job: copies of the API are asked for them besides, OpenAI is not."""
    return sum(count for operation, count in stats["requests"].items() if operation != "get_job")


def beside(size: Size) -> Iterator[Figure]:
    """P1 to P4 and P6: the script and the monitor, in turn, under both loads."""
    interval = size.interval
    starts: dict[str, Start] = {
        "script": lambda of: script(of, size.orgs, interval),
        "same": lambda of: monitor(of, size.orgs, interval, events_interval=f"{interval:g}s"),
        "default": lambda of: monitor(of, size.orgs, interval, events_interval=f"{6 * interval:g}s"),
    }
    for load_name, kind in (("quiet", QUIET), ("busy", BUSY)):
        rounds: dict[str, list[Round]] = {name: [] for name in starts}
        for _ in range(size.rounds):
            for name, start in starts.items():
                rounds[name].append(measure(size, start, kind))
        cpu = {name: mean(one.cpu for one in found) for name, found in rounds.items()}
        asked = {name: mean(one.requests for one in found) for name, found in rounds.items()}
        peak = {name: max(one.peak for one in found) for name, found in rounds.items()}
        delays = {name: [delay for one in found for delay in one.delays] for name, found in rounds.items()}
        server = max(one.server for found in rounds.values() for one in found)
        of = f"{cpu['same']:.2f} : {cpu['script']:.2f} s"
        yield Figure(name=f"P1 CPU, events every cycle, {load_name}", value=cpu["same"] / cpu["script"], unit="×",
                     most=0.08 if kind is QUIET else 0.15, note=of)  # fmt: skip
        of = f"{cpu['default']:.2f} : {cpu['script']:.2f} s"
        yield Figure(name=f"P2 CPU, default cadences, {load_name}", value=cpu["default"] / cpu["script"], unit="×",
                     most=0.03 if kind is QUIET else 0.08, note=of)  # fmt: skip
        of = f"{asked['default']:.0f} : {asked['script']:.0f}"
        yield Figure(name=f"P3 requests per cycle, {load_name}", value=asked["default"] / asked["script"], unit="×",
                     most=0.19, note=of)  # fmt: skip
        of = f"{peak['default']:.0f} : {peak['script']:.0f} MB"
        yield Figure(name=f"P4 peak RSS, {load_name}", value=peak["default"] / peak["script"], unit="×", most=0.40,
                     note=of)  # fmt: skip
        yield Figure(name=f"P6 end to told at most, {load_name}", value=max(delays["default"]), unit="s",
                     most=interval + 2 * size.latency + 0.25,
                     note=f"p50 {median(delays['default']):.1f}; script {max(delays['script']):.1f}")  # fmt: skip
        yield Figure(name=f"   load server busy, {load_name}", value=server, unit="of its core", most=0.8)


def pages(size: Size) -> Iterator[Figure]:
    """P5: the CPU of one polled page of 100 jobs, changed and unchanged, with no event stream to read."""
    shape = Size(orgs=size.orgs, jobs=100, active=1, interval=1.0, cycles=max(4 * size.cycles, 4), latency=0.02)
    found: dict[str, float] = {}
    for name, changing in (("unchanged", False), ("changed", True)):
        one = measure(
            shape, lambda of: monitor(of, shape.orgs, 1.0, events_interval="1h"), {"events": 0, "period": 0.0},
            changing=changing,
        )  # fmt: skip
        found[name] = one.cpu / one.requests
    one = measure(shape, lambda of: script(of, shape.orgs, 1.0, events=False), {"events": 0, "period": 0.0})
    plain = one.cpu / one.requests
    for name, most in (("changed", 0.045), ("unchanged", 0.012)):
        of = f"{1000 * found[name]:.2f} : {1000 * plain:.2f} ms"
        yield Figure(name=f"P5 CPU of a page, {name}", value=found[name] / plain, unit="×", most=most, note=of)


def parts(size: Size) -> Iterator[Figure]:
    """P7 and P10, which are measured within one process."""
    flags = ("-m", "tests.bench.parts", f"--series={size.series}", f"--producers={size.producers}")
    with process(PRODUCT, *flags) as child:
        assert child.stdout is not None
        found = json.loads(child.stdout.read())
    scrape, commits = found["scrape"], found["commits"]
    for name, most in (("changed", 0.15), ("unchanged", 0.03)):
        of = f"{1000 * scrape[name]:.0f} : {1000 * scrape['plain']:.0f} ms"
        yield Figure(name=f"P7 scrape of {scrape['series']} series, {name}", value=scrape[name] / scrape["plain"],
                     unit="×", most=most, note=of)  # fmt: skip
    yield Figure(name="P7 loop held by the rendering", value=1000 * scrape["held"], unit="ms", most=5)
    of = f"{commits['together']:.0f} : {commits['alone']:.0f} a second"
    yield Figure(name=f"P10 commits of {size.producers} producers", value=commits["together"] / commits["alone"],
                 unit="×", least=5, note=of)  # fmt: skip


def lag(url: str) -> dict[float, float]:
    """How often the loop was late by at most so much."""
    text = get(f"{url}/metrics?name[]=finetune_monitor_loop_lag_seconds_bucket").decode()
    pairs = re.findall(r'_bucket\{le="([^"]+)"\} (\S+)', text)
    return {float(bound): float(count) for bound, count in pairs}


def worst(before: dict[float, float], after: dict[float, float]) -> float:
    """The bound below which every lag between the two was."""
    new = {bound: after[bound] - before[bound] for bound in after}
    return next(bound for bound, count in sorted(new.items()) if count == max(new.values()))


def loop_lag(size: Size) -> Iterator[Figure]:
    """P8: the event loop with polling, commits and scrapes together, as the monitor measures itself."""
    for orgs, most in ((size.orgs, 20), *(((500, 50),) if size.growth[-1:] == (500,) else ())):
        with load(orgs=orgs, jobs=size.jobs, active=size.active, latency=size.latency, **QUIET) as server:
            with monitor(server, orgs, size.interval) as watcher:
                time.sleep(size.interval)
                before = lag(watcher.url)
                for _ in range(size.cycles):
                    time.sleep(size.interval)
                    get(f"{watcher.url}/metrics", headers=GZIP)
                held = worst(before, lag(watcher.url))
        yield Figure(name=f"P8 loop lag at most, {orgs} organisations", value=1000 * held, unit="ms", most=most)


def memory(size: Size) -> Iterator[Figure]:
    """P9: what tracked jobs take, as the difference of two processes."""
    orgs, jobs, found = 10, 5 * size.active, []
    for active in (1, jobs):
        with load(orgs=orgs, jobs=jobs, active=active, latency=0.0, events=400, period=0.0) as server:
            with monitor(server, orgs, size.interval) as watcher:
                patient = time.monotonic() + 60  # until the streams of all jobs were read
                while (
                    server.stats()["requests"].get("list_events", 0) < 4 * orgs * active and time.monotonic() < patient
                ):
                    time.sleep(1.0)
                time.sleep(size.interval)
                found.append(usage(watcher.pid).rss)
    per = (found[1] - found[0]) / (orgs * (jobs - 1)) * 10_000
    yield Figure(name="P9 memory of 10,000 tracked jobs", value=per, unit="MB", most=15,
                 note=f"from {orgs * jobs} with 400 events each")  # fmt: skip


def courier(size: Size) -> Iterator[Figure]:
    """P11: many ends at once, to a receiver that answers at once."""
    orgs, jobs = 10, size.ends // 10
    shape = {"orgs": orgs, "jobs": jobs, "active": jobs, "events": 0, "period": 0.0, "latency": 0.0}
    with load(**shape) as server, monitor(server, orgs, 2.0, events_interval="1h") as watcher:
        time.sleep(5.0)
        server.end(orgs * jobs)
        until = time.monotonic() + 120
        while len(told := sorted(watcher.seen().values())) < orgs * jobs and time.monotonic() < until:
            time.sleep(0.2)
    if len(told) < orgs * jobs:
        raise TimeoutError(f"{len(told)} of {orgs * jobs} ends were told")
    rate = (len(told) - 1) / (told[-1] - told[0])
    yield Figure(name="P11 deliveries to an instant receiver", value=rate, unit="a second", least=1000)


def webhooks(size: Size) -> Iterator[Figure]:
    """P12: signed webhooks of different ends, many at once, each answered when it is stored."""
    with load(orgs=1, jobs=100, active=1, events=0, period=0.0, latency=0.0) as server:
        with monitor(server, 1, 60.0) as watcher:
            rate = asyncio.run(pushed(f"{watcher.url}/webhooks/o0", 5 * size.ends))
    yield Figure(name="P12 signed webhooks taken durably", value=rate, unit="a second", least=1000)


async def pushed(url: str, count: int) -> float:
    """How many webhooks are taken in a second. They are signed beforehand."""
    signer, now, requests = Webhook(SIGNING), datetime.now(UTC), []
    for number in range(count):
        event = {"object": "event", "id": f"evt_{number}", "type": "fine_tuning.job.succeeded"}
        body = json.dumps({**event, "created_at": int(now.timestamp()), "data": {"id": f"ftjob-o0-{number % 100}"}})
        signed = {"webhook-id": f"wh_{number}", "webhook-timestamp": str(int(now.timestamp()))}
        signature = signer.sign(f"wh_{number}", now, body)
        requests.append((body, {**signed, "webhook-signature": signature, "content-type": "application/json"}))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as client:

        async def send(body: str, headers: dict[str, str]) -> None:
            async with client.post(url, data=body, headers=headers) as answer:
                answer.raise_for_status()

        began = time.monotonic()
        await asyncio.gather(*(send(*request) for request in requests))
        return count / (time.monotonic() - began)


def many(size: Size) -> Iterator[Figure]:
    """P13: a thousand organisations."""
    orgs, jobs, interval, seconds = size.many
    with load(orgs=orgs, jobs=jobs, active=2, latency=size.latency, **QUIET) as server:
        with monitor(server, orgs, interval) as watcher:
            time.sleep(interval)
            before, began = usage(watcher.pid), time.monotonic()
            time.sleep(seconds)
            after, passed = usage(watcher.pid), time.monotonic() - began
    share = 100 * (after.cpu - before.cpu) / passed
    growth = 60 * (after.rss - before.rss) / passed
    yield Figure(name=f"P13 {orgs} organisations, CPU", value=share, unit="% of a core", most=12 * orgs / 1000,
                 note=f"ready after {watcher.ready_after:.0f} s")  # fmt: skip
    yield Figure(name=f"P13 {orgs} organisations, peak RSS", value=after.peak, unit="MB", most=200)
    yield Figure(name=f"P13 {orgs} organisations, growth", value=growth, unit="MB a minute", most=0.5)


def starting(size: Size) -> Iterator[Figure]:
    """P14: how long it takes to begin."""
    times = []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "monitor", "--help"], stdout=subprocess.DEVNULL, check=True)
        times.append(time.monotonic() - began)
    with load(orgs=size.orgs, jobs=size.jobs, active=size.active, latency=0.0, **QUIET) as server:
        with monitor(server, size.orgs, 60.0) as watcher:
            first = watcher.polled_after
    yield Figure(name="P14 --help", value=min(times), unit="s", most=0.15)
    yield Figure(name="P14 start to the first poll", value=first, unit="s", most=1.0)


def growing(size: Size) -> Iterator[Figure]:
    """How costs grow with the organisations, and that they do not grow with history."""
    for orgs in size.growth:
        shape = Size(orgs=orgs, jobs=100, interval=size.interval, cycles=2, active=size.active, latency=size.latency)
        one = measure(shape, lambda of: monitor(of, orgs, size.interval), QUIET)  # noqa: B023 - called at once
        note = f"RSS {one.rss:.0f} MB, ready {one.ready:.1f} s, told at most after {max(one.delays):.1f} s"
        yield Figure(name=f"growth: {orgs} organisations, CPU a cycle", value=one.cpu, unit="s", note=note)
    for jobs in size.history:
        with load(orgs=10, jobs=jobs // 10, active=1, latency=0.0, events=10, period=0.0) as server:
            with monitor(server, 10, size.interval) as watcher:
                for path in ("/metrics", "/", "/api/v1/models", "/api/v1/costs"):
                    get(f"{watcher.url}{path}", headers=GZIP)
                    before, began = usage(watcher.pid).cpu, time.monotonic()
                    get(f"{watcher.url}{path}", headers=GZIP)
                    passed, cpu = time.monotonic() - began, usage(watcher.pid).cpu - before
                    name = f"history: {jobs} ended jobs, {path}"
                    yield Figure(name=name, value=passed, unit="s", note=f"CPU {cpu:.2f} s")


PARTS: dict[str, Callable[[Size], Iterator[Figure]]] = {
    "P1": beside, "P5": pages, "P7": parts, "P8": loop_lag, "P9": memory, "P11": courier, "P12": webhooks, "P13": many,
    "P14": starting, "growth": growing,
}  # fmt: skip
ALSO = {"P2": "P1", "P3": "P1", "P4": "P1", "P6": "P1", "P10": "P7"}


def line(figure: Figure) -> str:
    """A figure for people."""
    target = "" if figure.most is None else f"≤ {figure.most:g}"
    target = target if figure.least is None else f"≥ {figure.least:g}"
    value = f"{figure.value:.3f}" if figure.value < 10 else f"{figure.value:.0f}"
    return f"{figure.name:<52} {value:>8} {figure.unit:<12} {target:>8} {figure.verdict:<6} {figure.note}".rstrip()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--quick", action="store_const", dest="size", const=QUICK, default=FULL)
    parser.add_argument("--tiny", action="store_const", dest="size", const=TINY)
    parser.add_argument("--only", default=",".join(PARTS), help="of P1 to P14 and growth")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    wanted = {ALSO.get(name, name) for name in given.only.split(",")}
    found = []
    for name, part in PARTS.items():
        if name in wanted:
            for figure in part(given.size):
                found.append(figure)
                print(line(figure), flush=True)
    if given.json is not None:
        told = [{**asdict(figure), "verdict": figure.verdict} for figure in found]
        given.json.write_text(json.dumps({"size": asdict(given.size), "figures": told}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
