"""The fast exposition equals prometheus_client's, for random jobs and whatever was cached before."""

from __future__ import annotations

import gzip
import re
import zlib
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain.flow import CounterIncrement, Tracked
from monitor.domain.model import Basis, Cost, Method, Metrics, Status, Training
from monitor.domain.snapshot import Snapshot
from monitor.metrics.encoding import Deflater, gzipped, plain
from monitor.metrics.exposition import Exposition, in_blocks, parse_scrape_request
from monitor.metrics.process import ProcessMetrics
from monitor.metrics.view import COUNTERS, build_view
from tests.builders import NOON, job, tracked
from tests.metrics.scrapes import OPENMETRICS, health, snapshot
from tests.metrics.twin import Twin

STATE = health("research", "search", labels={"research": {"team": 'n"l\\p'}, "search": {"le": "7", "cost-centre": "x"}})
OF_PYTHON = re.compile(r"(?m)^(# (HELP|TYPE) )?(process_|python_).*\n")

TEXTS = ('"', "\\", "\n", '"} 1\n# EOF\n', "\u202e", "\ud800", "", " ", "é" * 300, "ft:gpt-4o:acme::abc")


@dataclass(frozen=True, slots=True)
class Dice:
    """Generates random values."""

    of: Random

    def text(self) -> str:
        """A random text, hostile or plain."""
        return f"{self.of.choice(TEXTS)}{self.of.choice(['', self.of.randrange(1000)])}"

    def maybe(self, value: Any) -> Any:
        """The value, or None."""
        return self.of.choice([value, None])

    def number(self) -> float | None:
        """A float of any size, or None."""
        exact = (0.0, -0.0, 1e6, 999999.9, 1e300, 5e-324)
        found: float | None = self.maybe(self.of.choice([*exact, self.of.gauss(0, 10 ** self.of.randrange(12))]))
        return found

    def count(self) -> int | None:
        """A count from 0 to more than a float can represent, or None."""
        found: int | None = self.maybe(self.of.choice([0, 10**400, self.of.randrange(10 ** self.of.randrange(1, 12))]))
        return found

    def moment(self) -> Any:
        """A time around noon or years away, or None."""
        return self.maybe(NOON + timedelta(seconds=self.of.gauss(0, 10 ** self.of.randrange(9))))

    def job(self) -> Tracked:
        """A job of one of two organisations."""
        names = ("train_loss", "valid_loss", "train_accuracy", "valid_accuracy", "train_reward", "valid_reward")
        figures: dict[str, Any] = {name: self.number() for name in names}
        latest = Metrics(step=self.maybe(self.of.randrange(9999)), steps=self.count(), **figures)
        times = ("created_at", "started_at", "finished_at", "estimated_finish")
        return tracked(
            job(
                self.text(), self.of.choice(list(Status)), org=self.of.choice(["research", "search"]),
                method=self.of.choice(list(Method)), model=self.text(), name=self.maybe(self.text()),
                fine_tuned_model=self.maybe(self.text()), trained_tokens=self.count(),
                training=Training(latest=latest), **{name: self.moment() for name in times},
            ),
            cost=self.maybe(self.cost()),
        )  # fmt: skip

    def cost(self) -> Cost:
        """An estimated or computed cost."""
        usd = Decimal(self.of.randrange(10**15)) / 10**9
        return Cost(basis=self.of.choice([Basis.COMPUTED, Basis.ESTIMATED]), usd=usd)

    def counter(self) -> CounterIncrement:
        """A stored counter."""
        metric = self.of.choice(sorted(COUNTERS))
        closed = {"org": ("research", "search", "gone"), "le": ("10.0", "60.0", "50.0", "+Inf", "nonsense")}
        labels = {name: self.of.choice(closed.get(name, (self.text(),))) for name in COUNTERS[metric]}
        return CounterIncrement(metric=metric, labels=tuple(labels.items()), amount=self.of.randrange(10**12))


def counted() -> ProcessMetrics:
    """Process metrics with some counts."""
    process = ProcessMetrics(version="1")
    process.watch(["research", "search"], ["chat"])
    process.requested("research", "list_jobs", "200")
    process.polled("search", 0.3)
    return process


def in_families(text: str) -> list[list[str]]:
    """The lines of each family with sorted series, since the order of jobs and the spelling of numbers may differ."""
    found: list[list[str]] = []
    for line in OF_PYTHON.sub("", text).splitlines():
        if line.startswith("# HELP") or line == "# EOF":
            found.append([])
        name, _, value = line.rpartition(" ")
        found[-1].append(line if line.startswith("#") else f"{name} {float(value)!r}")
    return [[*lines[:2], *sorted(lines[2:])] for lines in found]


def scraped(exposition: Exposition, of: Snapshot, process: ProcessMetrics, *, modern: bool, compressed: bool) -> str:
    """The decompressed body of a scrape."""
    asked, _ = parse_scrape_request(OPENMETRICS if modern else "", compressed=compressed)
    body = b"".join(exposition.scrape(of, STATE, process, asked))
    return (gzip.decompress(body) if compressed else body).decode()


@pytest.mark.parametrize("seed", range(24))
def test_every_scrape_equals_that_of_prometheus_client(seed: int) -> None:
    dice = Dice(Random(seed))
    modern, compressed = bool(seed & 1), bool(seed & 2)
    exposition, process = Exposition(), counted()
    some = [dice.job() for _ in range(dice.of.randrange(40))]
    sums = [dice.counter() for _ in range(dice.of.randrange(40))]
    for number in range(4):
        now = Snapshot(at=NOON + timedelta(seconds=number), jobs=tuple(some), counters=tuple(sums))
        text = scraped(exposition, now, process, modern=modern, compressed=compressed)
        assert in_families(text) == in_families(Twin(now, STATE, process).text(modern=modern))
        if some:  # one changes, one goes, one comes
            some = [dice.job(), replace(some[0], cost=dice.cost()), *some[2:]]
        sums = [*sums[1:], dice.counter()]
        process.polled("research", number)


@given(st.lists(st.text(max_size=300) | st.integers(0, 200_000).map("x".__mul__), max_size=8))
def test_pieces_in_any_order_are_one_gzip_stream(parts: list[str]) -> None:
    pieces = list(map(Deflater(), parts))
    for order in (pieces, pieces[::-1], [*pieces, *pieces]):
        body = b"".join(gzipped(order))
        assert gzip.decompress(body) == b"".join(plain(order)) == b"".join(piece.text for piece in order)
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        inflater.decompress(body)
        assert inflater.eof
        assert inflater.unused_data == b""


def test_a_block_is_kept_until_one_of_its_jobs_changes() -> None:
    some = [tracked(job(id=f"job-{n}", status=Status.SUCCEEDED)) for n in range(2000)]
    first = build_view(snapshot(*some), STATE)
    before = in_blocks(tuple(first.jobs.values()), {})
    some[7] = replace(some[7], cost=Cost(basis=Basis.COMPUTED, usd=Decimal(1)))
    second = build_view(snapshot(*some), STATE, first)
    after = in_blocks(tuple(second.jobs.values()), before)
    assert sum(after[key] is not before[key] for key in before) == 1
    assert sum(len(block.jobs) for block in after.values()) == 2000


@pytest.mark.parametrize("names", [["finetune_queue_duration_seconds_count"], ["finetune_jobs", "process_max_fds"]])
def test_a_name_filter_selects_series_within_a_family(names: list[str]) -> None:
    sums: Any = (
        CounterIncrement(
            metric="queue_seconds_bucket", labels=(("org", "research"), ("model", "m"), ("le", "60.0")), amount=2
        ),
    )
    asked, _ = parse_scrape_request("", compressed=False, names=names)
    body = b"".join(Exposition().scrape(snapshot(counters=sums), STATE, counted(), asked)).decode()
    assert {re.split(r"[{ ]", line)[0] for line in body.splitlines() if not line.startswith("#")} == set(names)
