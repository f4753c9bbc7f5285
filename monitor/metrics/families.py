"""All metric families that are built from a snapshot. A family is described even where it has no series."""

from __future__ import annotations

from typing import Final

from monitor.metrics.aggregates import AGGREGATES
from monitor.metrics.family import Family, JobFamily
from monitor.metrics.jobs import DROPPED, JOBS
from monitor.metrics.money import MONEY
from monitor.metrics.monitor import MONITOR

FAMILIES: Final[tuple[Family | JobFamily, ...]] = (*AGGREGATES, *MONEY, *JOBS, DROPPED, *MONITOR)
