"""Stores the counters that outlive the process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from monitor.domain.counters import MOST_NAMES, OTHER_NAME
from monitor.domain.flow import CounterIncrement
from monitor.store.documents import read_labels, write
from monitor.store.schema import LOW, chunks, counter, insert

_insert = insert(counter)
_low = counter.c.amount + _insert.excluded.amount
_ADD: Final = _insert.on_conflict_do_update(
    index_elements=["metric", "labels"],
    set_={"amount": _low % LOW, "carry": counter.c.carry + _insert.excluded.carry + _low // LOW},
)
_MODEL: Final = "model"
_FEW: Final = 100  # models of an organisation: up to this number, their order does not matter
_KEPT: Final = tuple(MOST_NAMES)
"""The metrics of the rows that record which names of an organisation have counters of their own, such as `model`.

Their values number them in the order in which they became known.
"""
_SUMMED: Final = tuple(f"{label}s" for label in MOST_NAMES)
"""The metrics of the rows with the number of these names."""
_ALL: Final = sa.select(counter).where(counter.c.metric.not_in(_SUMMED)).order_by(counter.c.metric, counter.c.labels)
_ROWS: Final = sa.select(counter.c.metric, counter.c.labels, counter.c.amount).where(
    counter.c.metric.in_([*_KEPT, *_SUMMED]),
    counter.c.labels.in_(sa.bindparam("b_labels", type_=sa.Text, expanding=True)),
)


def add(connection: sa.Connection, amounts: Mapping[tuple[str, str], int]) -> None:
    """Add amounts to counters, which are identified by metric and labels as JSON text. Sums may exceed 64 bits.

    The first names of an organisation's models and endpoints have counters of their own; all others are counted as
    `other`, since a server may invent a name for each job.
    """
    # in the same order everywhere, so that transactions cannot deadlock
    rows = [
        {"metric": metric, "labels": labels, "amount": amount % LOW, "carry": amount // LOW}
        for (metric, labels), amount in sorted(_bounded(connection, amounts).items())
    ]
    if rows:
        connection.execute(_ADD, rows)


def _bounded(connection: sa.Connection, amounts: Mapping[tuple[str, str], int]) -> Mapping[tuple[str, str], int]:
    """The amounts by the labels under which they are counted, with rows for names that get counters from now on."""
    given = {labels: dict(read_labels(labels)) for labels in {labels for _, labels in amounts}}
    names = {
        (label, labels["org"], labels[label])
        for labels in given.values()
        for label in MOST_NAMES.keys() & labels.keys()
        if "org" in labels and labels[label] != OTHER_NAME
    }
    texts = {_text(org) for _, org, _ in names} | {_text(org, label, name) for label, org, name in names}
    known = {
        (row.metric, row.labels): row.amount
        for chunk in chunks(sorted(texts))
        for row in connection.execute(_ROWS, {"b_labels": chunk})
    }
    found: defaultdict[tuple[str, str], int] = defaultdict(int)
    others = set()
    for label, org, name in sorted(names):
        one, number = (label, _text(org, label, name)), (f"{label}s", _text(org))
        if one in known:
            continue
        if known.get(number, 0) + found[number] >= MOST_NAMES[label]:
            others.add((label, org, name))
        else:
            found[number] += 1
            found[one] = known.get(number, 0) + found[number]
    for (metric, labels), amount in amounts.items():
        of = given[labels]
        shown = {name: OTHER_NAME if (name, of.get("org"), of[name]) in others else of[name] for name in of}
        found[metric, labels if shown == of else write(tuple(shown.items()))] += amount
    return found


def _text(org: str, label: str | None = None, name: str = "") -> str:
    """An organisation, or one of its names, as the labels of a row."""
    return write((("org", org), (label, name)) if label is not None else (("org", org),))


def read(connection: sa.Connection, orgs: Sequence[str]) -> Sequence[CounterIncrement]:
    """The counters of these organisations, and those without an organisation.

    Where there are many models, those that became known last come last: metrics name the first ones only, and a model
    must keep its name.
    """
    shown, found, places = {None, *orgs}, list[CounterIncrement](), dict[tuple[str, str], int]()
    for row in connection.execute(_ALL):
        one = CounterIncrement(metric=row.metric, labels=read_labels(row.labels), amount=row.carry * LOW + row.amount)
        of = dict(one.labels)
        if row.metric == _MODEL:
            places[of["org"], of[_MODEL]] = one.amount
        elif row.metric not in _KEPT and of.get("org") in shown:
            found.append(one)
    if max(places.values(), default=0) > _FEW:
        found.sort(key=lambda increment: _place(increment, places))
    return found


def _place(increment: CounterIncrement, places: Mapping[tuple[str, str], int]) -> int:
    """The number of the counter's model; 0 if it has none."""
    labels = dict(increment.labels)
    return places.get((labels.get("org", ""), labels.get(_MODEL, "")), 0)
