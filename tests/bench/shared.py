"""What replicas cost on one PostgreSQL: `python -m tests.bench.shared --orgs 1000 --jobs 100 --interval 30`.

Prints a line of a table for docs/sizing.md: of each replica the share of a core and the peak of its memory, and the
same of the database's server; `--replicas 0` measures one process on SQLite.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import PRODUCT, Load, address, get, is_ready, load, patience, process, usage
from tests.replicas.cluster import Cluster, cluster


@dataclass(frozen=True, slots=True)
class Replica:
    """A monitor that runs."""

    pid: int
    url: str
    ready_after: float
    """Seconds from its start."""

    @property
    def organizations(self) -> int:
        """How many are its own."""
        try:
            shown = get(f"{self.url}/metrics")
        except OSError:  # too busy just now
            return 0
        found = re.search(rb"^finetune_monitor_organizations (\d+)", shown, re.MULTILINE)
        return int(found[1]) if found else 0


@contextmanager
def replica(of: Load, store: str, orgs: int, interval: float) -> Iterator[Replica]:
    """A monitor on this database, from when it is ready."""
    with tempfile.TemporaryDirectory() as folder:
        log, config = Path(folder, "log"), Path(folder, "monitor.yaml")
        watched = [
            {
                "name": f"o{n}",
                "provider": "openai",
                "api_key": "sk-bench",
                "base_url": f"{of.url}/o{n}/v1",
                "headers": {"X-Replica": folder},
            }
            for n in range(orgs)
        ]
        settings = {
            "organizations": watched,
            "poll": {"interval": f"{interval:g}s", "idle_interval": f"{interval:g}s"},
            "server": {"listen": "127.0.0.1:0"},
            "store": {"url": store or f"sqlite:///{folder}/monitor.db"},
            "notifiers": [{"name": "chat", "type": "slack", "webhook_url": f"{of.url}/slack"}],
            "routes": [{"on": ["succeeded"], "notify": ["chat"]}],
        }
        config.write_text(json.dumps(settings), encoding="utf-8")
        began = time.monotonic()
        command = ("-m", "monitor", "run", "--config", str(config))
        with log.open("wb") as output, process(PRODUCT, *command, output=output) as child:
            url = patience(lambda: address(log), child, log)
            patience(lambda: ready(url), child, log)
            yield Replica(child.pid, url, time.monotonic() - began)


def ready(url: str) -> bool:
    """Whether it says that it is; one that is too busy to say so is not."""
    try:
        return is_ready(url)
    except OSError:
        return False


def postgres_cpu(server: Cluster | None) -> float:
    """Seconds of a processor that the server and its children have used."""
    if server is None or server.process is None:
        return 0.0
    parent, total = server.process.pid, usage(server.process.pid).cpu
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    for child in children:
        try:
            total += usage(int(child)).cpu
        except OSError:
            continue
    return total


def fair(replicas: Sequence[Replica], orgs: int) -> bool:
    """Whether each organisation is one replica's, and none has two more than another."""
    shares = sorted(one.organizations for one in replicas)
    return shares[-1] - shares[0] <= 1 and sum(shares) == orgs


def main() -> None:
    """Measure for some seconds what costs how much, once all is balanced."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind, default in (
        ("orgs", int, 300), ("jobs", int, 50), ("active", int, 2), ("interval", float, 10.0), ("replicas", int, 3),
        ("seconds", float, 120.0), ("balanced", float, 900.0),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=kind, default=default)
    args = parser.parse_args()
    with ExitStack() as stack:
        api = stack.enter_context(
            load(orgs=args.orgs, jobs=args.jobs, active=args.active, events=20, period=30, latency=0.1)
        )
        server = stack.enter_context(cluster()) if args.replicas else None
        store = server.url() if server is not None else ""
        replicas = [
            stack.enter_context(replica(api, store, args.orgs, args.interval)) for _ in range(max(args.replicas, 1))
        ]
        until = time.monotonic() + args.balanced
        while not fair(replicas, args.orgs) and time.monotonic() < until:
            time.sleep(1.0)
        shares = [one.organizations for one in replicas]
        before, database, asked = [usage(one.pid).cpu for one in replicas], postgres_cpu(server), api.stats()
        time.sleep(args.seconds)
        used = [(usage(one.pid).cpu - was) / args.seconds * 100 for one, was in zip(replicas, before, strict=True)]
        requests = sum(api.stats()["requests"].values()) - sum(asked["requests"].values())
        peaks = [usage(one.pid).peak for one in replicas]
        where = f"{args.replicas} × PostgreSQL" if args.replicas else "SQLite"
        sys.stdout.write(
            f"| {args.orgs:,} × {args.jobs} | {args.interval:g} s | {where} | {shares} | "
            f"{' '.join(f'{one:.1f}' for one in used)} % | {max(peaks):.0f} MB | "
            f"{(postgres_cpu(server) - database) / args.seconds * 100:.1f} % | {requests / args.seconds:.1f} | "
            f"{replicas[0].ready_after:.1f} s |\n"
        )


if __name__ == "__main__":
    main()
