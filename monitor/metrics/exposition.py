"""The text of a scrape: Prometheus' format or OpenMetrics, all of it or the series asked for by name."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from monitor.domain.snapshot import Snapshot
from monitor.metrics.families import families
from monitor.metrics.health import Health
from monitor.metrics.labels import with_org_labels
from monitor.metrics.own import Own

_OPENMETRICS: Final = "application/openmetrics-text"
_EOF: Final = b"# EOF\n"
_PLAIN: Final[Callable[[Collector], bytes]] = generate_latest
_OPEN: Final[Callable[[Collector], bytes]] = openmetrics.generate_latest
_VERSIONS: Final = frozenset({"", "0.0.1", "1.0.0"})


@dataclass(frozen=True, slots=True)
class _One:
    """A collector of one family: what the encoders ask for."""

    metric: Metric

    def collect(self) -> tuple[Metric]:
        """The family."""
        return (self.metric,)


def render(snapshot: Snapshot, health: Health, own: Own, accept: str, names: Sequence[str]) -> tuple[bytes, str]:
    """The body and the content type of a scrape. With names, only the series of these names.

    It computes for as long as there are series, so that it is called in a worker thread. Each family is made, encoded
    and let go before the next: a hundred thousand samples at once would make the garbage collector stop all threads.
    """
    encode, content_type = _PLAIN, CONTENT_TYPE_PLAIN_0_0_4
    if _wants_openmetrics(accept):
        encode, content_type = _OPEN, openmetrics.CONTENT_TYPE_LATEST
    metrics = chain(families(snapshot, health), with_org_labels(own.registry.collect(), health))
    asked = _named(metrics, frozenset(names)) if names else metrics
    body = b"".join(encode(_One(metric)).removesuffix(_EOF) for metric in asked)
    return (body + _EOF if encode is _OPEN else body), content_type


def _named(metrics: Iterable[Metric], names: Container[str]) -> Iterator[Metric]:
    for metric in metrics:
        metric.samples = [sample for sample in metric.samples if sample.name in names]
        if metric.samples:
            yield metric


def _wants_openmetrics(accept: str) -> bool:
    """Whether OpenMetrics 1 is accepted, and at least as gladly as plain text (RFC 9110, section 12.5.1)."""
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
