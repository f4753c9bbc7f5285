"""What a metric is: its name, kind, help and labels, and how its series follow from a view."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, Literal

from monitor.domain.buckets import INFINITY
from monitor.metrics.encoding import label_text
from monitor.metrics.view import JobSeries, View

Labels = tuple[str, ...]
"""Label values, in the order of the family's label names."""
Kind = Literal["gauge", "counter", "histogram"]


_HELP: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})
_OPENMETRICS_HELP: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a histogram has observed under one set of labels."""

    counts: tuple[int, ...]
    """Observations by bound, each in the first bucket that holds it; one more than there are bounds."""
    sum: float


Rows = Mapping[Any, float | Distribution]
"""By label values. A mapping is invariant in its keys: with Labels, no tuple of a known length would do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A metric whose series are few, or change together."""

    name: str
    """As its series are called; of a histogram, without the suffixes."""
    kind: Kind
    text: str
    labels: Labels = ()
    rows: Callable[[View], Rows]
    """May not be changed by whoever gave it: it is kept and compared with the next."""
    bounds: tuple[float, ...] = ()
    """Of a histogram: the upper bounds of its buckets, without infinity."""

    @property
    def sample_names(self) -> tuple[str, ...]:
        """What its series are called."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))

    def lines(self, rows: Rows, org_labels: Mapping[str, Mapping[str, str]]) -> list[str]:
        """The series in the text format. `org_labels` are the operator's, as in `labels.org_labels`."""
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

    def _histogram(self, labels: Mapping[str, str], of: Distribution) -> list[str]:
        bounds = [*map(str, self.bounds), INFINITY]
        counts = list(accumulate(of.counts))
        lines = [
            f"{self.name}_bucket{_braces({**labels, 'le': bound})} {float(count)!r}\n"
            for bound, count in zip(bounds, counts, strict=True)
        ]
        text = _braces(labels)
        lines.append(f"{self.name}_count{text} {float(counts[-1])!r}\n")
        lines.append(f"{self.name}_sum{text} {of.sum!r}\n")
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFamily:
    """A gauge of single jobs. There are thousands, of which few change between two scrapes."""

    name: str
    text: str
    labels: Labels = ("org", "job_id")
    lines: Callable[[Sequence[JobSeries], View], list[str]]
    """The series of these jobs in the text format."""
    moves: bool = False
    """Whether the series of an active job change by themselves, with the time."""
    kind: Kind = "gauge"

    @property
    def sample_names(self) -> tuple[str, ...]:
        """What its series are called."""
        return (self.name,)


def header(family: Family | JobFamily, *, openmetrics: bool) -> str:
    """The lines that describe a family."""
    name = family.name.removesuffix("_total") if openmetrics and family.kind == "counter" else family.name
    text = family.text.translate(_OPENMETRICS_HELP if openmetrics else _HELP)
    return f"# HELP {name} {text}\n# TYPE {name} {family.kind}\n"


def _braces(labels: Mapping[str, str]) -> str:
    return f"{{{label_text(labels)}}}" if labels else ""
