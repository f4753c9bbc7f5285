"""Counters that outlive the process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from monitor.domain.flow import CounterIncrement
from monitor.store.documents import read_labels
from monitor.store.schema import insert, tally

_insert = insert(tally)
_ADD: Final = _insert.on_conflict_do_update(
    index_elements=["metric", "labels"], set_={"amount": tally.c.amount + _insert.excluded.amount}
)
_ALL: Final = sa.select(tally.c.metric, tally.c.labels, tally.c.amount).order_by(tally.c.metric, tally.c.labels)


def add(connection: sa.Connection, amounts: Mapping[tuple[str, str], int]) -> None:
    """Add to counters, each given by its metric and its labels as JSON text."""
    # in the same order everywhere, so that two transactions do not wait for each other
    rows = [{"metric": metric, "labels": labels, "amount": n} for (metric, labels), n in sorted(amounts.items())]
    if rows:
        connection.execute(_ADD, rows)


def read(connection: sa.Connection, orgs: Sequence[str]) -> Iterable[CounterIncrement]:
    """The counters of these organisations, and those that are of none."""
    shown = {None, *orgs}
    for metric, labels, amount in connection.execute(_ALL):
        one = CounterIncrement(metric=metric, labels=read_labels(labels), amount=amount)
        if dict(one.labels).get("org") in shown:
            yield one
