"""All metrics of a snapshot, as a pure function: each family is always described, even where it has no series."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.metrics_core import Metric

from monitor.domain.snapshot import Snapshot
from monitor.metrics.aggregates import AGGREGATES
from monitor.metrics.health import Health
from monitor.metrics.jobs import JOBS
from monitor.metrics.labels import with_org_labels
from monitor.metrics.money import MONEY
from monitor.metrics.monitor import MONITOR
from monitor.metrics.view import View, look

FAMILIES: Final[tuple[Callable[[View], Metric], ...]] = (*AGGREGATES, *MONEY, *JOBS, *MONITOR)


def families(snapshot: Snapshot, health: Health) -> Iterator[Metric]:
    """The metrics of what is stored and of how the watching goes, with the operator's labels on the aggregates."""
    view = look(snapshot, health)
    yield from with_org_labels((family(view) for family in FAMILIES), health)
