"""What a figure is, how it is printed for people, and the README's table of them."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

BEGIN, END = '<!-- figures: written by `make bench ARGS="--readme FILE"` -->', "<!-- end of figures -->"


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

    @property
    def target(self) -> str:
        """What it should be, in signs."""
        target = "" if self.most is None else f"≤ {self.most:g}"
        return target if self.least is None else f"≥ {self.least:g}"

    @property
    def shown(self) -> str:
        """The value with as many digits as it deserves."""
        if not isfinite(self.value):
            return "never"
        return f"{self.value:.3f}" if abs(self.value) < 10 else f"{self.value:.0f}"


def line(figure: Figure) -> str:
    """A figure for people."""
    columns = f"{figure.name:<56} {figure.shown:>8} {figure.unit:<12} {figure.target:>8} {figure.verdict:<6}"
    return f"{columns} {figure.note}".rstrip()


def machine() -> dict[str, str]:
    """What it was measured on, and how much that did besides."""
    cpus = re.findall(r"^model name\s*:\s*(.+)$", _text("/proc/cpuinfo"), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+)", _text("/proc/meminfo"), re.MULTILINE)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": cpus[0] if cpus else platform.processor() or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(memory[1]) / 1024**2:.0f} GB" if memory is not None else "",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load": f"{os.getloadavg()[0]:.2f}",
    }


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def table(found: Mapping[str, Any]) -> str:
    """The figures of a run as Markdown, and the machine below them. Figures without a target are left out."""
    of, figures = found["machine"], [figure(one) for one in found["figures"]]
    rows = [
        f"| {_cell(one.name)} | {_cell(f'{one.shown} {one.unit}'.strip())} | {one.target} | {one.verdict} |"
        for one in figures
        if one.verdict
    ]
    system = f"{of['cores']} cores of {of['cpu']}, {of['memory']}, {of['system']}"
    software = f"Python {of['python']}, SQLite {of['sqlite']}"
    where = f"Measured on {of['date']}: {system}, {software}; load average {of['load']} before it began."
    return "\n".join(["| figure | measured | target | |", "|---|---|---|---|", *rows, "", where])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def figure(of: Mapping[str, Any]) -> Figure:
    """A figure as it was kept; a value that is none is one that never came."""
    fields = {name: of[name] for name in ("name", "unit", "most", "least", "note")}
    return Figure(value=float("inf") if of["value"] is None else of["value"], **fields)


def kept(figures: Iterable[Figure], *, size: Mapping[str, Any], of: Mapping[str, str]) -> dict[str, Any]:
    """What a run has found, to be written as JSON."""
    told = [
        {
            "name": one.name, "value": one.value if isfinite(one.value) else None, "unit": one.unit, "most": one.most,
            "least": one.least, "verdict": one.verdict, "note": one.note,
        }
        for one in figures
    ]  # fmt: skip
    return {"machine": dict(of), "size": dict(size), "figures": told}


def between(text: str, inner: str) -> str:
    """The text with this between its two marks. Raises ValueError where it has none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError("there is no place for the figures")
    return f"{before}{begin}\n\n{inner}\n\n{end}{after}"


def quantile(values: Sequence[float], share: float) -> float:
    """The value that so many of them do not exceed."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]
