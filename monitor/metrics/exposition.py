"""Renders a scrape in Prometheus' text format or OpenMetrics, with all series or those of given names, gzipped or not.

Unchanged parts are not rendered again: a family whose values are the same as in the last scrape, and a block of jobs of
which none has changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics

from monitor.domain.health import Health
from monitor.domain.snapshot import Snapshot
from monitor.metrics.encoding import Deflater, Piece, gzipped, plain
from monitor.metrics.families import FAMILIES
from monitor.metrics.family import Family, JobFamily, Rows, header
from monitor.metrics.labels import org_labels
from monitor.metrics.process import ProcessMetrics
from monitor.metrics.view import JobSeries, View, build_view

_OPENMETRICS: Final = "application/openmetrics-text"
_VERSIONS: Final = frozenset({"", "0.0.1", "1.0.0"})
_BLOCK: Final = 256
"""The approximate number of jobs in a block: more blocks survive the change of one job if they are small, and larger
ones compress better."""
_LINES: Final = 1000
"""Lines per piece of a family; rendering that many takes about 2 ms."""

OrgLabels = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapeRequest:
    """What a scrape requests."""

    openmetrics: bool = False
    compressed: bool = False
    names: frozenset[str] = frozenset()
    """Only series of these names; empty: all."""


@dataclass(frozen=True, slots=True)
class Block:
    """A group of jobs with the pieces that were rendered of them. It is reused as long as none of the jobs changes."""

    jobs: tuple[JobSeries, ...]
    active: bool
    rendered: dict[str, Piece] = field(default_factory=dict)
    """The pieces by family, without families whose values change with time."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A family as the last scrape rendered it."""

    rows: Rows
    org_labels: OrgLabels
    pieces: tuple[Piece, ...]


@dataclass(slots=True)
class Exposition:
    """Renders scrapes and caches what the next scrape can reuse.

    Concurrent scrapes may render a part twice, but no worse.
    """

    view: View | None = None
    blocks: Mapping[tuple[bool, int], Block] = field(default_factory=dict)
    rendered: dict[str, Rendered] = field(default_factory=dict)
    headers: dict[tuple[str, bool], Piece] = field(default_factory=dict)

    def scrape(
        self, snapshot: Snapshot, health: Health, process: ProcessMetrics, request: ScrapeRequest
    ) -> Iterator[bytes]:
        """The body in batches that take a few milliseconds each; compute them in a worker thread."""
        pieces = self._pieces(snapshot, health, process, request)
        return gzipped(pieces) if request.compressed else plain(pieces)

    def _pieces(
        self, snapshot: Snapshot, health: Health, process: ProcessMetrics, request: ScrapeRequest
    ) -> Iterator[Piece]:
        self.view = view = build_view(snapshot, health, self.view)
        self.blocks = in_blocks(tuple(view.jobs.values()), self.blocks)
        one = _Scrape(self, request, view, org_labels(health))
        for family in (*FAMILIES, *process.families):
            yield from one.described(family)
        yield from one.of_python(process)


@dataclass(frozen=True, slots=True)
class _Scrape:
    """The state of one scrape."""

    kept: Exposition
    request: ScrapeRequest
    view: View
    org_labels: OrgLabels
    deflate: Deflater = field(default_factory=Deflater)

    def described(self, family: Family | JobFamily) -> Iterator[Piece]:
        """A family with its header; nothing if its series were not requested."""
        names = self.request.names
        if names and names.isdisjoint(family.sample_names):
            return
        pieces = self._of_jobs(family) if isinstance(family, JobFamily) else self._of_all(family)
        first = next(pieces, None)
        if first is not None or not names:
            yield self._header(family)
        if first is not None:
            yield first
        yield from pieces

    def _header(self, family: Family | JobFamily) -> Piece:
        key = (family.name, self.request.openmetrics)
        if key not in self.kept.headers:
            self.kept.headers[key] = self.deflate(header(family, openmetrics=self.request.openmetrics))
        return self.kept.headers[key]

    def _of_jobs(self, family: JobFamily) -> Iterator[Piece]:
        for block in self.kept.blocks.values():
            piece = block.rendered.get(family.name)
            if piece is None:
                piece = self.deflate("".join(family.lines(block.jobs, self.view)))
                if not (family.moves and block.active):
                    block.rendered[family.name] = piece
            if piece.size:
                yield piece

    def _of_all(self, family: Family) -> Iterator[Piece]:
        rows, names = family.rows(self.view), self.request.names
        if names:
            lines = family.lines(rows, self.org_labels)
            yield from self._in_pieces([line for line in lines if re.split(r"\W", line, maxsplit=1)[0] in names])
            return
        was = self.kept.rendered.get(family.name)
        if was is None or was.rows != rows or was.org_labels != self.org_labels:
            pieces = tuple(self._in_pieces(family.lines(rows, self.org_labels)))
            was = self.kept.rendered[family.name] = Rendered(rows, self.org_labels, pieces)
        yield from was.pieces

    def _in_pieces(self, lines: Sequence[str]) -> Iterator[Piece]:
        for start in range(0, len(lines), _LINES):
            yield self.deflate("".join(lines[start : start + _LINES]))

    def of_python(self, process: ProcessMetrics) -> Iterator[Piece]:
        """The process and Python metrics of prometheus_client, about ten series."""
        encode = openmetrics.generate_latest if self.request.openmetrics else generate_latest
        names, registry = self.request.names, process.registry
        yield self.deflate(encode(registry.restricted_registry(names) if names else registry).decode())


def in_blocks(jobs: Sequence[JobSeries], before: Mapping[tuple[bool, int], Block]) -> Mapping[tuple[bool, int], Block]:
    """Divide the jobs into blocks and reuse unchanged ones.

    Active jobs change often, so they have blocks of their own.
    """
    blocks = 1 << (len(jobs) // _BLOCK).bit_length()
    members: dict[tuple[bool, int], list[JobSeries]] = {}
    for series in jobs:
        members.setdefault((series.active, series.spread % blocks), []).append(series)
    found = {}
    for key, some in members.items():
        block, was = Block(tuple(some), key[0]), before.get(key)
        found[key] = was if was is not None and was.jobs == block.jobs else block
    return found


def parse_scrape_request(accept: str, *, compressed: bool, names: Sequence[str] = ()) -> tuple[ScrapeRequest, str]:
    """The parsed request, and the content type of the response."""
    modern = _wants_openmetrics(accept)
    content_type = openmetrics.CONTENT_TYPE_LATEST if modern else CONTENT_TYPE_PLAIN_0_0_4
    return ScrapeRequest(openmetrics=modern, compressed=compressed, names=frozenset(names)), content_type


def _wants_openmetrics(accept: str) -> bool:
    """Whether the client accepts OpenMetrics 1 and does not prefer plain text (RFC 9110, section 12.5.1)."""
    weights = {"text/plain": 0.0, _OPENMETRICS: 0.0}
    for offer in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in offer.split(";"))
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        if kind in weights and (kind != _OPENMETRICS or given.get("version", "") in _VERSIONS):
            weights[kind] = max(weights[kind], _weight(given.get("q", "1")))
    return 0.0 < weights[_OPENMETRICS] >= weights["text/plain"]


def _weight(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0
