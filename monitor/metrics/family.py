"""What a metric family is: name, type, help and labels, and how its series are computed from a view."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Literal

from monitor.domain.buckets import INFINITY
from monitor.metrics.encoding import label_text
from monitor.metrics.view import JobSeries, View

Labels = tuple[str, ...]
"""Label values in the order of the family's label names."""
Kind = Literal["gauge", "counter", "histogram"]


_HELP: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})
_OPENMETRICS_HELP: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


@dataclass(frozen=True, slots=True)
class Distribution:
    """The observations of a histogram under one set of labels."""

    counts: tuple[int, ...]
    """Observations per bucket, not cumulative; the last one is the bucket up to infinity."""
    sum: float


Rows = Mapping[Any, float | Distribution]
"""Values by label values. The key type is Any since Mapping is invariant in it and the tuples have different
lengths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A metric family with few series, or with series that change together."""

    name: str
    """The name of the series; for a histogram without the suffixes."""
    kind: Kind
    text: str
    labels: Labels = ()
    rows: Callable[[View], Rows]
    """Compute the values. The result is cached and compared with the next one, so it must not be modified
    afterwards."""
    bounds: tuple[float, ...] = ()
    """For a histogram: the upper bounds of the buckets, without infinity."""

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The names of its series."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))

    def lines(self, rows: Rows, org_labels: Mapping[str, Mapping[str, str]]) -> list[str]:
        """The series in the text format. `org_labels` are the operator's labels, see `labels.org_labels`."""
        lines: list[str] = []
        for values, value in rows.items():
            labels = dict(zip(self.labels, values, strict=True))
            if org_labels and "org" in labels:
                labels = {**org_labels.get(labels["org"], org_labels[""]), **labels}
            if isinstance(value, Distribution):
                lines += self._histogram(labels, value)
            else:
                lines.append(f"{self.name}{_braces(labels)} {float(value)!r}\n")
        return lines

    def _histogram(self, labels: Mapping[str, str], distribution: Distribution) -> list[str]:
        bounds = [*map(str, self.bounds), INFINITY]
        counts = list(accumulate(distribution.counts))
        lines = [
            f"{self.name}_bucket{_braces({**labels, 'le': bound})} {float(count)!r}\n"
            for bound, count in zip(bounds, counts, strict=True)
        ]
        text = _braces(labels)
        lines.append(f"{self.name}_count{text} {float(counts[-1])!r}\n")
        lines.append(f"{self.name}_sum{text} {distribution.sum!r}\n")
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFamily:
    """A gauge with one or more series per job. There are thousands, of which few change between two scrapes."""

    name: str
    text: str
    labels: Labels = ("org", "job_id")
    lines: Callable[[Sequence[JobSeries], View], list[str]]
    """Render the series of these jobs in the text format."""
    moves: bool = False
    """Whether the values of an active job change with time alone."""
    kind: Kind = "gauge"

    @property
    def sample_names(self) -> tuple[str, ...]:
        """The names of its series."""
        return (self.name,)


def header(family: Family | JobFamily, *, openmetrics: bool) -> str:
    """The HELP and TYPE lines of a family."""
    name = family.name.removesuffix("_total") if openmetrics and family.kind == "counter" else family.name
    text = family.text.translate(_OPENMETRICS_HELP if openmetrics else _HELP)
    return f"# HELP {name} {text}\n# TYPE {name} {family.kind}\n"


def _braces(labels: Mapping[str, str]) -> str:
    return f"{{{label_text(labels)}}}" if labels else ""
