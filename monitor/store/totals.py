"""Reads the numbers of rows that triggers maintain, so that no reader has to count what grows with history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from monitor.store.schema import total, training_day

KEPT: Final = (total, training_day)
"""The tables that are written by triggers only."""
TRIGGERS: Final = tuple(
    (table, f"{table}_{event}_counted")
    for table in ("job", "tuned_model", "spending")
    for event in ("insert", "delete", "update")
)
"""The triggers, each with the table whose rows it counts."""

_TOTALS: Final = sa.select(total).where(
    total.c.org.in_(sa.bindparam("b_orgs", type_=sa.Text, expanding=True)), total.c.number > 0
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Numbers of rows, each by organisation and name."""

    jobs: Mapping[tuple[str, str], int]
    """Fine-tuning jobs by status."""
    batches: Mapping[tuple[str, str], int]
    """Batches by status."""
    unpriced: Mapping[tuple[str, str], int]
    """Finished jobs of unknown cost by model."""
    shutdowns: Mapping[tuple[str, str], int]
    """Fine-tuned models with a known shutdown, by day."""


def read(connection: sa.Connection, orgs: Sequence[str]) -> Totals:
    """The totals of these organisations."""
    found: dict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    for org, kind, name, number in connection.execute(_TOTALS, {"b_orgs": tuple(orgs)}):
        found[kind][org, name] = number
    return Totals(jobs=found["job"], batches=found["batch"], unpriced=found["unpriced"], shutdowns=found["shutdown"])
