"""What is measured, section by section: each starts its own processes, and gives figures beside their targets."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import mean, median
from typing import Any

import aiohttp
from standardwebhooks import Webhook

from tests.bench.figures import Figure, quantile
from tests.bench.history import seed
from tests.bench.processes import (
    PRODUCT,
    SIGNING,
    Load,
    Watcher,
    get,
    load,
    monitor,
    probing,
    process,
    script,
    usage,
)
from tests.replicas.cluster import cluster

QUIET = {"events": 20, "period": 30.0}
BUSY = {"events": 150, "period": 1.0}
GZIP = {"Accept-Encoding": "gzip"}
PACE = 5
"""Requests a second and organisation, by default."""


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
    page_cycles: int = 24
    """Polls of each page: P5."""
    latency: float = 0.15
    series: int = 100_000
    producers: int = 500
    many_orgs: int = 500
    """Of whatever is measured with many organisations besides."""
    growth: tuple[int, ...] = (10, 100, 500)
    history: tuple[tuple[int, float], ...] = ((100_000, 1.2), (1_000_000, 1.5))
    """Ended jobs in the store, and what an answer may take of what it takes without them."""
    asked: int = 100
    """How often each address is asked."""
    ends: int = 4000
    pushes: int = 5000
    many: tuple[int, int, float, float] = (1000, 100, 30.0, 240.0)
    """Organisations, jobs of each, interval, seconds: P13."""
    tracked: tuple[int, int] = (100, 100)
    """Organisations, and active jobs of each: P9."""
    databases: tuple[str, ...] = ("sqlite", "postgresql")


FULL = Size()
QUICK = Size(
    orgs=6, interval=1.0, rounds=1, page_cycles=6, many_orgs=40, growth=(), history=((10_000, 1.2),), asked=30,
    ends=300, pushes=2000, many=(100, 50, 5.0, 10.0), tracked=(10, 40), databases=("sqlite",),
)  # fmt: skip
TINY = Size(
    orgs=3, jobs=120, active=2, interval=2.0, cycles=2, rounds=1, page_cycles=4, series=4000, producers=20, many_orgs=4,
    growth=(5,), history=((300, 1.2),), asked=5, ends=20, pushes=100, many=(5, 20, 2.0, 4.0), tracked=(10, 3),
    databases=("sqlite",),
)  # fmt: skip


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


def measure(size: Size, start: Start, kind: dict[str, float], *, ends: int = 3, **over: Any) -> Round:
    """One round: a fresh load server, a fresh watcher, a cycle to settle, and the cycles that count.

    So many jobs end in each of these.
    """
    with load(orgs=size.orgs, jobs=size.jobs, active=size.active, latency=size.latency, **kind, **over) as server:
        with start(server) as watcher:
            time.sleep(size.interval)
            before, asked, began = usage(watcher.pid), server.stats(), time.monotonic()
            counted = watcher.cycles()
            for _ in range(size.cycles):
                server.end(ends)
                time.sleep(size.interval)
            after, done, passed = usage(watcher.pid), server.stats(), time.monotonic() - began
            cycles = watcher.cycles() - counted if counted else passed / size.interval
            time.sleep(size.interval + 2 * size.latency + 1.0)  # the last ends are told
            seen, ended = watcher.seen(), server.stats()["ends"]
    requests = _listed(done) - _listed(asked)
    delays = [seen[job] - at for job, at in ended.items() if job in seen]
    missed = [job for job in ended if job not in seen]
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
        yield Figure(name=f"P6 end to announcement at most, {load_name}, {size.orgs} organisations",
                     value=max(delays["default"]), unit="s", most=interval + 0.5,
                     note=f"p50 {median(delays['default']):.1f}; script {max(delays['script']):.1f}")  # fmt: skip
        yield Figure(name=f"   CPU of the load server, {load_name}", value=server, unit="of its core", most=0.8)


def pages(size: Size) -> Iterator[Figure]:
    """P5: the CPU of one polled page of 100 jobs, changed and unchanged, with no event stream to read."""
    shape = Size(orgs=size.orgs, jobs=100, active=1, interval=1.0, cycles=size.page_cycles, latency=0.02)
    found: dict[str, float] = {}
    for name, changing in (("unchanged", False), ("changed", True)):
        one = measure(
            shape, lambda of: monitor(of, shape.orgs, 1.0, events_interval="1h"), {"events": 0, "period": 0.0},
            ends=0, changing=changing,
        )  # fmt: skip
        found[name] = one.cpu / one.requests
    one = measure(shape, lambda of: script(of, shape.orgs, 1.0, events=False), {"events": 0, "period": 0.0}, ends=0)
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


def settled(server: Load, streams: int, most: float = 180.0) -> None:
    """Wait until every stream of events was read once."""
    until = time.monotonic() + most
    while server.stats()["requests"].get("list_events", 0) < streams and time.monotonic() < until:
        time.sleep(0.5)


def loop_lag(size: Size) -> Iterator[Figure]:
    """P8: how long the event loop keeps whoever asks it waiting, while it polls, commits and is scraped."""
    for orgs, most in ((size.orgs, 20), (size.many_orgs, 50)):
        with load(orgs=orgs, jobs=size.jobs, active=size.active, latency=size.latency, **QUIET) as server:
            with monitor(server, orgs, size.interval) as watcher:
                settled(server, orgs * size.active)
                time.sleep(size.interval)
                before = lag(watcher.url)
                with probing(watcher.url) as answers:
                    for _ in range(size.cycles):
                        time.sleep(size.interval)
                        get(f"{watcher.url}/metrics", headers=GZIP)
                held = worst(before, lag(watcher.url))
        note = f"p99 {1000 * quantile(answers, 0.99):.1f}; its own ticks, two a second: at most {1000 * held:g}"
        yield Figure(name=f"P8 worst tick, {orgs} organisations", value=1000 * max(answers), unit="ms", most=most,
                     note=note)  # fmt: skip


def memory(size: Size) -> Iterator[Figure]:
    """P9: what tracked jobs take, as the difference of two processes, and what reading their events took at most."""
    (orgs, jobs), found = size.tracked, []
    for active in (1, jobs):
        with load(orgs=orgs, jobs=jobs, active=active, latency=0.0, events=400, period=0.0) as server:
            with monitor(server, orgs, size.interval) as watcher:
                settled(server, 4 * orgs * active, 900.0)
                time.sleep(size.interval)
                found.append(usage(watcher.pid))
    (few, many), added = found, orgs * (jobs - 1)
    per = (many.rss - few.rss) / added * 10_000
    yield Figure(name="P9 memory of 10,000 tracked jobs", value=per, unit="MB", most=15,
                 note=f"from {orgs * jobs} with 400 events each; {many.peak - few.rss:.0f} MB at most")  # fmt: skip


def courier(size: Size) -> Iterator[Figure]:
    """P11: very many ends at once, all seen within a second, to a receiver that answers at once.

    The rate is that of the middle half: at its ends, ends are still being seen, or the last retries are waited for.
    """
    orgs, jobs = 10, size.ends // 10
    shape = {"orgs": orgs, "jobs": jobs, "active": jobs, "events": 0, "period": 0.0, "latency": 0.0}
    with load(**shape) as server, monitor(server, orgs, 1.0, events_interval="1h") as watcher:
        settled(server, orgs * jobs, 60.0)
        time.sleep(3.0)
        before = usage(watcher.pid)
        server.end(orgs * jobs)
        until = time.monotonic() + 120
        while len(told := sorted(watcher.seen().values())) < orgs * jobs and time.monotonic() < until:
            time.sleep(0.5)
        used = usage(watcher.pid).cpu - before.cpu
    if len(told) < orgs * jobs:
        raise TimeoutError(f"{len(told)} of {orgs * jobs} ends were told")
    first, last = len(told) // 4, 3 * len(told) // 4
    yield Figure(name="P11 deliveries to an instant receiver", value=(last - first) / (told[last] - told[first]),
                 unit="a second", least=1000, note=f"{len(told)} ends")  # fmt: skip
    yield Figure(name="P11 CPU of an end, from poll to delivery", value=1000 * used / len(told), unit="ms", most=1.5)


@contextmanager
def database(kind: str) -> Iterator[str]:
    """The URL of an empty database that keeps what it has committed."""
    with ExitStack() as stack:
        if kind == "postgresql":
            yield stack.enter_context(cluster(durable=True)).url()
        else:
            yield f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory())}/monitor.db"


def webhooks(size: Size) -> Iterator[Figure]:
    """P12: signed webhooks, each answered when it is stored: as many as it takes, and at a calm pace how soon."""
    for kind in size.databases:
        with database(kind) as url, load(orgs=1, jobs=100, active=1, events=0, period=0.0, latency=0.0) as server:
            with monitor(server, 1, 60.0, store=url) as watcher:
                address = f"{watcher.url}/webhooks/o0"
                ready = signed("many", size.pushes)
                began, before = time.monotonic(), usage(watcher.pid).cpu
                asyncio.run(pushed(address, ready, rate=None))
                passed, used = time.monotonic() - began, usage(watcher.pid).cpu - before
                took = asyncio.run(pushed(address, signed("calm", size.pushes // 5), rate=200.0))
        yield Figure(name=f"P12 signed webhooks stored, {kind}", value=size.pushes / passed, unit="a second",
                     least=1000, note=f"{1000 * used / size.pushes:.2f} ms of CPU each")  # fmt: skip
        yield Figure(name=f"P12 answer to a webhook, p99, {kind}", value=1000 * quantile(took, 0.99), unit="ms",
                     most=50, note=f"p50 {1000 * median(took):.1f}, at 200 a second")  # fmt: skip


Signed = tuple[str, dict[str, str]]


def signed(name: str, count: int) -> list[Signed]:
    """Bodies and headers of webhooks, each of another event."""
    signer, now, found = Webhook(SIGNING), datetime.now(UTC), []
    for number in range(count):
        event = {"object": "event", "id": f"evt_{name}_{number}", "type": "fine_tuning.job.succeeded"}
        body = json.dumps({**event, "created_at": int(now.timestamp()), "data": {"id": f"ftjob-o0-{number % 100}"}})
        id_ = f"wh_{name}_{number}"
        headers = {"webhook-id": id_, "webhook-timestamp": str(int(now.timestamp()))}
        signature = signer.sign(id_, now, body)
        found.append((body, {**headers, "webhook-signature": signature, "content-type": "application/json"}))
    return found


async def pushed(url: str, requests: Sequence[Signed], *, rate: float | None) -> list[float]:
    """Send them, 64 at once or so many a second; how long each answer took, in seconds."""
    took: list[float] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as client:

        async def send(number: int, body: str, headers: dict[str, str]) -> None:
            if rate is not None:
                await asyncio.sleep(number / rate)
            began = time.perf_counter()
            async with client.post(url, data=body, headers=headers) as answer:
                answer.raise_for_status()
            took.append(time.perf_counter() - began)

        await asyncio.gather(*(send(number, *request) for number, request in enumerate(requests)))
    return took


def many(size: Size) -> Iterator[Figure]:
    """P13: a thousand organisations, at the default number of requests a second."""
    orgs, jobs, interval, seconds = size.many
    for kind in size.databases:
        share, peak = (12, 200) if kind == "sqlite" else (25, 300)
        with database(kind) as url, load(orgs=orgs, jobs=jobs, active=2, latency=size.latency, **QUIET) as server:
            with monitor(server, orgs, interval, store=url, max_requests_per_second=PACE) as watcher:
                settled(server, 2 * orgs)
                time.sleep(interval)
                before, began = usage(watcher.pid), time.monotonic()
                time.sleep(seconds)
                after, passed = usage(watcher.pid), time.monotonic() - began
        name = f"P13 {orgs} × {jobs} jobs, {interval:g} s, {kind}"
        used = 100 * (after.cpu - before.cpu) / passed
        growth = 60 * (after.rss - before.rss) / passed
        yield Figure(name=f"{name}: CPU", value=used, unit="% of a core", most=share)
        yield Figure(name=f"{name}: peak RSS", value=after.peak, unit="MB", most=peak)
        yield Figure(name=f"{name}: growth", value=growth, unit="MB a minute", most=0.5)
        yield Figure(name=f"{name}: ready", value=watcher.ready_after, unit="s", most=15)


def starting(size: Size) -> Iterator[Figure]:
    """P14: how long it takes to begin; the best of three."""
    times = []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "monitor", "--help"], stdout=subprocess.DEVNULL, check=True)
        times.append(time.monotonic() - began)
    yield Figure(name="P14 --help", value=min(times), unit="s", most=0.15)
    for orgs, most in ((1, 1.0), (size.many_orgs, 1.5)):
        first = []
        for _ in range(3):
            with load(orgs=orgs, jobs=100, active=2, latency=0.0, **QUIET) as server:
                with monitor(server, orgs, 60.0) as watcher:
                    first.append(watcher.polled_after)
        yield Figure(name=f"P14 start to the first poll, {orgs} organisations", value=min(first), unit="s", most=most)


def cold(size: Size) -> Iterator[Figure]:
    """A start with very many busy organisations: ready, told and scraped meanwhile; and how it is once that is over."""
    orgs, interval = size.many_orgs, size.interval
    with load(orgs=orgs, jobs=100, active=size.active, latency=size.latency, **BUSY) as server:
        with monitor(server, orgs, interval, max_requests_per_second=PACE) as watcher:
            yield Figure(name=f"cold start, {orgs} × {size.active} busy: ready", value=watcher.ready_after, unit="s",
                         most=60)  # fmt: skip
            began = time.monotonic()
            get(f"{watcher.url}/metrics", headers=GZIP)
            yield Figure(name=f"cold start, {orgs} × {size.active} busy: /metrics", value=time.monotonic() - began,
                         unit="s", most=2)  # fmt: skip
            told = delays(server, watcher, size)
            yield Figure(name=f"cold start, {orgs} × {size.active} busy: end to announcement at most", value=max(told),
                         unit="s", most=interval + 2)  # fmt: skip
            settled(server, 2 * orgs * size.active)
            time.sleep(interval)
            before, asked = usage(watcher.pid).cpu, server.stats()
            began = time.monotonic()
            told = delays(server, watcher, size)
            passed, done = time.monotonic() - began, server.stats()
            used, busy = usage(watcher.pid).cpu - before, done["cpu"] - asked["cpu"]
    note = f"p50 {median(told):.1f}; CPU {100 * used / passed:.0f} % of a core"
    yield Figure(name=f"P6 end to announcement at most, busy, {orgs} organisations", value=max(told), unit="s",
                 most=interval + 0.5, note=note)  # fmt: skip
    yield Figure(
        name=f"   CPU of the load server, {orgs} organisations", value=busy / passed, unit="of its core", most=0.8
    )


def delays(server: Load, watcher: Watcher, size: Size) -> list[float]:
    """From the end of a job to its being told, in seconds, of some that end in each of the next cycles."""
    before = set(server.stats()["ends"])
    for _ in range(size.cycles):
        server.end(3)
        time.sleep(size.interval)
    time.sleep(size.interval + 2 * size.latency + 1.0)
    ends, seen = server.stats()["ends"], watcher.seen()
    return [seen[job] - at if job in seen else float("inf") for job, at in ends.items() if job not in before]


PATHS = (
    "/metrics", "/", "/api/v1/jobs", "/api/v1/jobs?status=failed", "/api/v1/models", "/api/v1/costs",
    "/api/v1/deliveries", "/api/v1/deliveries?state=dead",
)  # fmt: skip
FEW = 5000
"""Ended jobs of a store whose lists fill a page each: what is compared is as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """How a monitor on a store with a past starts and answers, in seconds."""

    started: float
    ready: float
    took: dict[str, list[float]]
    rss: float


def past(size: Size) -> Iterator[Figure]:
    """Answers of a store with very many ended jobs beside those of one with few."""
    for kind in size.databases:
        few = answers(size, kind, min(FEW, size.history[0][0] // 2))
        for jobs, most in size.history:
            found = answers(size, kind, jobs)
            name = f"{jobs:,} ended jobs, {kind}"
            for path in PATHS:
                now, then = (1000 * median(one.took[path]) for one in (found, few))
                note = f"{now:.1f} : {then:.1f} ms, p99 {1000 * quantile(found.took[path], 0.99):.0f}"
                yield Figure(name=f"{name}: {path} p50", value=now / then, unit="×", most=most, note=note)
            late = max(quantile(took, 0.99) for path, took in found.took.items() if path != "/metrics")
            yield Figure(name=f"{name}: page and API p99", value=1000 * late, unit="ms", most=150)
            note = f"ready {found.ready:.1f} : {few.ready:.1f} s, RSS {found.rss:.0f} : {few.rss:.0f} MB"
            yield Figure(name=f"{name}: start", value=found.started, unit="s", most=3, note=note)


def answers(size: Size, kind: str, jobs: int) -> Answers:
    """Seed a store, watch organisations on it, and ask."""
    with database(kind) as url:
        asyncio.run(seed(url, orgs=size.orgs, jobs=jobs))
        with load(orgs=size.orgs, jobs=20, active=2, latency=0.02, **QUIET) as server:
            with monitor(server, size.orgs, 30.0, store=url) as watcher:
                settled(server, 2 * size.orgs)
                time.sleep(2.0)
                took = {path: [asked(watcher.url + path) for _ in range(size.asked + 2)][2:] for path in PATHS}
                rss = usage(watcher.pid).rss
    return Answers(started=watcher.polled_after, ready=watcher.ready_after, took=took, rss=rss)


def asked(url: str) -> float:
    """Seconds until it is answered."""
    began = time.perf_counter()
    get(url, headers=GZIP)
    return time.perf_counter() - began


def growing(size: Size) -> Iterator[Figure]:
    """How costs grow with the organisations; nothing is promised of that."""
    for orgs in size.growth:
        shape = Size(orgs=orgs, jobs=100, interval=size.interval, cycles=2, active=size.active, latency=size.latency)
        one = measure(shape, lambda of: monitor(of, orgs, size.interval), QUIET)  # noqa: B023 - called at once
        note = f"RSS {one.rss:.0f} MB, ready {one.ready:.1f} s, told at most after {max(one.delays):.1f} s"
        yield Figure(name=f"growth: {orgs} organisations, CPU a cycle", value=one.cpu, unit="s", note=note)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What is measured together, and the seconds after which it is broken off."""

    of: Callable[[Size], Iterator[Figure]]
    names: tuple[str, ...]
    """What it goes by; the first is its own."""
    most: float


SECTIONS = (
    Section(of=beside, names=("P1", "P2", "P3", "P4", "P6"), most=2400),
    Section(of=pages, names=("P5",), most=600),
    Section(of=parts, names=("P7", "P10"), most=300),
    Section(of=loop_lag, names=("P8",), most=900),
    Section(of=memory, names=("P9",), most=2400),
    Section(of=courier, names=("P11",), most=300),
    Section(of=webhooks, names=("P12", "push"), most=300),
    Section(of=starting, names=("P14", "start"), most=300),
    Section(of=cold, names=("cold",), most=900),
    Section(of=many, names=("P13", "many"), most=1800),
    Section(of=past, names=("history",), most=3600),
    Section(of=growing, names=("growth",), most=1200),
)
