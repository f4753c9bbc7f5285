"""Stores the counters that outlive the process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from monitor.domain.flow import CounterIncrement
from monitor.store.documents import read_labels
from monitor.store.schema import LOW, counter, insert

_insert = insert(counter)
_low = counter.c.amount + _insert.excluded.amount
_ADD: Final = _insert.on_conflict_do_update(
    index_elements=["metric", "labels"],
    set_={"amount": _low % LOW, "carry": counter.c.carry + _insert.excluded.carry + _low // LOW},
)
_ALL: Final = sa.select(counter).order_by(counter.c.metric, counter.c.labels)


def add(connection: sa.Connection, amounts: Mapping[tuple[str, str], int]) -> None:
    """Add amounts to counters, which are identified by metric and labels as JSON text. Sums may exceed 64 bits."""
    # in the same order everywhere, so that transactions cannot deadlock
    rows = [
        {"metric": metric, "labels": labels, "amount": amount % LOW, "carry": amount // LOW}
        for (metric, labels), amount in sorted(amounts.items())
    ]
    if rows:
        connection.execute(_ADD, rows)


def read(connection: sa.Connection, orgs: Sequence[str]) -> Iterable[CounterIncrement]:
    """The counters of these organisations, and those without an organisation."""
    shown = {None, *orgs}
    for row in connection.execute(_ALL):
        one = CounterIncrement(metric=row.metric, labels=read_labels(row.labels), amount=row.carry * LOW + row.amount)
        if dict(one.labels).get("org") in shown:
            yield one
