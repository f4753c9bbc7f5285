"""Whole processes, each on its core: started, measured from outside by /proc, and ended."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

TICK = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
PRODUCT, SERVER = CORES[0], CORES[-1]
START_PATIENCE = 300.0
SIGNING = "whsec_" + "YmVuY2g" * 6 + "YQ=="


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far."""

    cpu: float
    """Seconds, user and system, of all its threads."""
    rss: float
    """MB now."""
    peak: float
    """MB at most."""


def usage(pid: int) -> Usage:
    """Read from /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    rss, peak = (int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[index] # the kernel always tells
    return Usage((int(fields[11]) + int(fields[12])) / TICK, rss, peak)


@contextmanager
def process(core: int, *command: str, output: IO[bytes] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process on one core, ended with the context."""
    with subprocess.Popen((sys.executable, *command), stdout=output or subprocess.PIPE, stderr=output) as child:
        os.sched_setaffinity(child.pid, {core})
        try:
            yield child
        finally:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()


def get(url: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> bytes:
    """What a server of ours answers."""
    request = urllib.request.Request(url, method=method, headers=headers or {})  # noqa: S310 - our own address
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own address
        body: bytes = answer.read()
    return body


@dataclass(frozen=True, slots=True)
class Load:
    """A load server that runs."""

    url: str
    pid: int

    def stats(self) -> dict[str, Any]:
        """What it has counted."""
        found: dict[str, Any] = json.loads(get(f"{self.url}/-/stats"))
        return found

    def end(self, count: int) -> None:
        """Let some jobs end."""
        get(f"{self.url}/-/end?count={count}", method="POST")


@contextmanager
def load(**of: Any) -> Iterator[Load]:
    """A load server with these organisations."""
    flags = [f"--{name}={value}" for name, value in of.items() if name != "changing"]
    flags += ["--changing"] if of.get("changing") else []
    with process(SERVER, "-m", "tests.bench.load", *flags) as child:
        assert child.stdout is not None
        yield Load(child.stdout.readline().decode().strip(), child.pid)


@dataclass(slots=True)
class Watcher:
    """A process that watches: the script or the monitor."""

    pid: int
    log: Path
    url: str = ""
    """Where the monitor serves."""
    ready_after: float = 0.0
    """Seconds from its start until it was done with its first look at everything."""
    polled_after: float = 0.0
    """Seconds from its start to its first request."""
    loads: Load | None = None

    def cycles(self) -> int:
        """How many cycles the script has done, which take longer than its interval where it needs more than a core.

        0 of the monitor, which has none: its polls come at their intervals.
        """
        return 0 if self.url else self.log.read_bytes().count(b"cycle\n")

    def seen(self) -> dict[str, float]:
        """When it told of which end, in seconds since 1970."""
        if self.url and self.loads is not None:
            told: dict[str, float] = self.loads.stats()["told"]
            return told
        lines = (line.split() for line in self.log.read_text(encoding="utf-8").splitlines() if line != "cycle")
        return {job: float(at) for job, at in lines}


@contextmanager
def script(of: Load, orgs: int, interval: float, *, events: bool = True) -> Iterator[Watcher]:
    """The comparator, after its first cycle."""
    flags = [f"--url={of.url}", f"--orgs={orgs}", f"--interval={interval}", *([] if events else ["--no-events"])]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        began = time.monotonic()
        with log.open("wb") as output, process(PRODUCT, "-m", "tests.bench.script", *flags, output=output) as child:
            patience(lambda: b"cycle" in log.read_bytes(), child, log)
            yield Watcher(child.pid, log, ready_after=time.monotonic() - began)


@contextmanager
def monitor(of: Load, orgs: int, interval: float, *, store: str = "", **poll: Any) -> Iterator[Watcher]:
    """The monitor, from when it is ready; `store` is an URL, where it is not to begin with an empty file."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        config = Path(folder, "monitor.yaml")
        pace = {"interval": f"{interval:g}s", "idle_interval": f"{interval:g}s", "max_requests_per_second": 50}
        config.write_text(
            json.dumps(
                {
                    "organizations": [
                        {
                            "name": f"o{n}",
                            "provider": "openai",
                            "api_key": "sk-bench",
                            "base_url": f"{of.url}/o{n}/v1",
                            "webhook_secret": SIGNING,
                        }
                        for n in range(orgs)
                    ],
                    "poll": {**pace, **poll},
                    "server": {"listen": "127.0.0.1:0"},
                    "store": {"url": store or f"sqlite:///{folder}/monitor.db"},
                    "metrics": {"max_jobs": 100_000},
                    "notifiers": [{"name": "hook", "type": "webhook", "url": f"{of.url}/hook"}],
                    "routes": [{"on": ["succeeded"], "notify": ["hook"]}],
                    "log": {"level": "info", "format": "json"},
                }
            ),
            encoding="utf-8",
        )
        began = time.monotonic()
        command = ("-m", "monitor", "run", "--config", str(config))
        with log.open("wb") as output, process(PRODUCT, *command, output=output) as child:
            url = patience(lambda: address(log), child, log)
            patience(lambda: of.stats()["requests"], child, log)
            polled = time.monotonic() - began
            # asking is work, too: more of it where there are more organisations
            patience(lambda: is_ready(url), child, log, every=max(0.05, orgs / 1000))
            yield Watcher(child.pid, log, url, time.monotonic() - began, polled, of)


def patience(done: Callable[[], T], child: subprocess.Popen[bytes], log: Path, every: float = 0.05) -> T:
    """Wait for it; what the wait was for."""
    until = time.monotonic() + START_PATIENCE
    while not (found := done()):
        if child.poll() is not None or time.monotonic() > until:
            sys.stderr.write(log.read_text(encoding="utf-8")[-2000:])
            raise TimeoutError("it does not come up")
        time.sleep(every)
    return found


def address(log: Path) -> str:
    """Where the monitor says that it listens."""
    found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text(encoding="utf-8"))
    return found[0] if found else ""


def is_ready(url: str) -> bool:
    """Whether every organisation was polled once."""
    try:
        get(f"{url}/-/ready")
    except OSError:  # it says that it is not, or is too busy to say anything
        return False
    return True


@contextmanager
def probing(url: str, every: float = 0.01) -> Iterator[list[float]]:
    """How long each answer of `/-/healthy` took, which asks nobody: for so long the event loop was held, and a bit."""
    found: list[float] = []
    done = threading.Event()
    thread = threading.Thread(target=_probe, args=(url, every, found, done), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join(60)


def _probe(url: str, every: float, found: list[float], done: threading.Event) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("GET", "/-/healthy")  # the first connects
    connection.getresponse().read()
    while not done.wait(every):
        began = time.perf_counter()
        connection.request("GET", "/-/healthy")
        connection.getresponse().read()
        found.append(time.perf_counter() - began)
    connection.close()
