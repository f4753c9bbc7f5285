"""`make bench`: every figure beside its target, `ok` or `short`, on a machine of two cores that does nothing else.

`--quick` takes five minutes, with fewer and shorter rounds of fewer organisations: what is fixed in a process weighs
more in its ratios. `--only P7,history` measures these alone. `--json FILE` keeps the figures and what they were
measured on, and `--readme FILE` writes a table of such figures into README.md, measuring nothing. `--tiny` proves in a
few minutes that everything runs; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import aiohttp

from monitor.store import StoreError
from tests.bench.figures import Figure, between, kept, line, machine, table
from tests.bench.processes import SERVER
from tests.bench.sections import FULL, QUICK, SECTIONS, TINY, Section, Size

README = Path(__file__).parents[2] / "README.md"
FAILURES = (OSError, ValueError, ZeroDivisionError, AssertionError, StoreError, subprocess.SubprocessError,
            aiohttp.ClientError)  # fmt: skip
"""What a section may fail with that is no mistake of ours: TimeoutError is one of OSError."""


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in whatever is still under way after so long."""

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"broken off after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def measured(section: Section, size: Size, most: float) -> Iterator[Figure]:
    """The figures of a section; where it breaks off, a last one says so."""
    try:
        with bounded(most):
            yield from section.of(size)
    except FAILURES as error:
        name = f"{'/'.join(section.names)}: not measured"
        yield Figure(name=name, value=float("inf"), most=0, note=f"{type(error).__name__}: {error}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--quick", action="store_const", dest="size", const=QUICK, default=FULL)
    parser.add_argument("--tiny", action="store_const", dest="size", const=TINY)
    every = [name for section in SECTIONS for name in section.names]
    parser.add_argument("--only", default=",".join(every), help=f"of {', '.join(every)}")
    parser.add_argument("--most", type=float, default=float("inf"), help="seconds of a section, where that is less")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--readme", type=Path)
    given = parser.parse_args()
    if given.readme is not None:
        README.write_text(between(README.read_text(encoding="utf-8"), table(json.loads(given.readme.read_text()))))
        return
    wanted = frozenset(given.only.split(","))
    if unknown := wanted.difference(every):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    of, found = machine(), list[Figure]()
    print("; ".join(f"{name} {value}" for name, value in of.items()), flush=True)
    os.sched_setaffinity(0, {SERVER})  # what measures leaves the other core to what is measured
    for section in SECTIONS:
        if wanted.isdisjoint(section.names):
            continue
        began = time.monotonic()
        for figure in measured(section, given.size, min(section.most, given.most)):
            found.append(figure)
            print(line(figure), flush=True)
        print(f"   ({section.names[0]} took {time.monotonic() - began:.0f} s)", flush=True)
        if given.json is not None:  # after each: what breaks off later leaves what there is
            told = kept(found, size=asdict(given.size), of=of)
            given.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    sys.exit(any("not measured" in figure.name for figure in found))


if __name__ == "__main__":
    main()
