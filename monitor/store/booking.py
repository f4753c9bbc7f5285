"""Keeps the books: what was spent, used and billed, which models there are, and what was told of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from monitor.domain.costs import Bill, TunedModel, Usage
from monitor.domain.news import News
from monitor.store.documents import to_ms, write
from monitor.store.rows import OUTBOX, TALLY, model_row, nano, outbox_row
from monitor.store.schema import CHUNK, bill, book, insert, notice, tuned_model, usage

Row = dict[str, Any]
_KINDS: Final = ("input", "cached_input", "output")
_PRICES: Final = tuple(f"{kind}_nanodollars" for kind in _KINDS)
_FIGURES: Final = (*_KINDS, *_PRICES)
_KEPT: Final = timedelta(days=400)  # of the bill: a year can be compared with the one before

_org, _since, _until = (sa.bindparam(name, type_=sa.Text) for name in ("b_org", "b_since", "b_until"))
_USAGES: Final = sa.select(usage).where(usage.c.org == _org, usage.c.day >= _since, usage.c.day <= _until)
_usage = insert(usage)
_USAGE: Final = _usage.on_conflict_do_update(
    index_elements=["org", "project", "model", "day", "batch"],
    set_={name: _usage.excluded[name] for name in (*_KINDS, *_PRICES)},
)
_CLEAR: Final = sa.delete(bill).where(bill.c.org == _org, bill.c.day >= _since, bill.c.day <= _until)
_AGED: Final = sa.delete(bill).where(bill.c.org == _org, bill.c.day < _since)
_book = insert(book)
_BOOK: Final = {
    name: _book.on_conflict_do_update(index_elements=["org"], set_={name: _book.excluded[name]})
    for name in ("usage_until", "bill_until")
}
_GONE: Final = sa.delete(tuned_model).where(tuned_model.c.org == _org, tuned_model.c.id == sa.bindparam("b_id"))
_LISTED: Final = sa.select(tuned_model.c.id).where(tuned_model.c.org == _org, tuned_model.c.listed == 1)
_model = insert(tuned_model)
_STOCK: Final = _model.on_conflict_do_update(
    index_elements=["org", "id"],
    set_={
        "base": _model.excluded.base,
        "shutdown": _model.excluded.shutdown,
        "listed": 1,
        "shared": sa.case((_model.excluded.shared == 1, 1), else_=tuned_model.c.shared),
    },
)
_DATE: Final = (
    sa.update(tuned_model)
    .where(tuned_model.c.org == _org, tuned_model.c.id == sa.bindparam("b_id"), tuned_model.c.shutdown.is_(None))
    .values(shutdown=sa.bindparam("b_day", type_=sa.Text))
)
_TOLD: Final = sa.select(notice.c.id).where(notice.c.id.in_(sa.bindparam("b_ids", expanding=True)))
_NOTICE: Final = insert(notice).on_conflict_do_nothing(index_elements=["id"])


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageImport:
    """Days of usage, read whole."""

    org: str
    usages: tuple[Usage, ...]
    until: date


@dataclass(frozen=True, slots=True, kw_only=True)
class BillImport:
    """Days of the bill, read whole."""

    org: str
    bills: tuple[Bill, ...]
    since: date
    until: date
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """A provider's own list of an organisation's models, read whole."""

    org: str
    models: tuple[TunedModel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """Notices to tell, if they were not told yet."""

    notices: tuple[News, ...]
    at: datetime


def book_usage(connection: sa.Connection, read: UsageImport) -> None:
    """Put the days in; a count that was higher before stays. What grew is tallied."""
    if read.usages:
        days = sorted(one.day for one in read.usages)
        wanted = {"b_org": read.org, "b_since": days[0].isoformat(), "b_until": days[-1].isoformat()}
        before = {_place(row): row for row in map(dict, connection.execute(_USAGES, wanted).mappings())}
        rows = [_grown(before.get(_place(row)), row) for row in _merged(read.usages)]
        connection.execute(_USAGE, rows)
        amounts = Counter[tuple[str, str]]()
        for row in rows:
            for counter, amount in _growth(before.get(_place(row)) or {}, row):
                amounts[counter] += amount
        grown = [{"metric": m, "labels": labels, "amount": n} for (m, labels), n in amounts.items() if n > 0]
        if grown:
            connection.execute(TALLY, grown)
    _until_day(connection, read.org, "usage_until", read.until)


def book_bill(connection: sa.Connection, read: BillImport) -> None:
    """Let the days say what the bill says now: late bookings come in, what was taken back goes."""
    span = {"b_org": read.org, "b_since": read.since.isoformat(), "b_until": read.until.isoformat()}
    connection.execute(_CLEAR, span)
    connection.execute(_AGED, {"b_org": read.org, "b_since": (read.at - _KEPT).date().isoformat()})
    amounts = Counter[tuple[str, str, str]]()
    for one in read.bills:
        amounts[one.project, one.line_item, one.day.isoformat()] += nano(one.usd)
    rows = [
        {"org": read.org, "project": project, "line_item": item, "day": day, "nanodollars": amount}
        for (project, item, day), amount in amounts.items()
    ]
    if rows:
        connection.execute(insert(bill), rows)
    _until_day(connection, read.org, "bill_until", read.until)


def take_stock(connection: sa.Connection, stock: Stock) -> None:
    """The list is the truth about what it once listed; what is only known from jobs stays."""
    names = {one.id for one in stock.models}
    gone = [name for name in connection.execute(_LISTED, {"b_org": stock.org}).scalars() if name not in names]
    if gone:
        connection.execute(_GONE, [{"b_org": stock.org, "b_id": name} for name in gone])
    if stock.models:
        connection.execute(_STOCK, [model_row(one) for one in stock.models])


def date_models(connection: sa.Connection, models: Sequence[TunedModel]) -> None:
    """Write down when they end, where that was not known."""
    rows = [{"b_org": one.org, "b_id": one.id, "b_day": one.shutdown.isoformat()} for one in models if one.shutdown]
    if rows:
        connection.execute(_DATE, rows)


def announce(connection: sa.Connection, told: Announcement) -> tuple[str, ...]:
    """Enqueue each notice that is new, and remember that it was told."""
    ids = [one.id for one in told.notices]
    known: set[str] = set()
    for start in range(0, len(ids), CHUNK):
        known.update(connection.execute(_TOLD, {"b_ids": ids[start : start + CHUNK]}).scalars())
    fresh = {one.id: one for one in told.notices if one.id not in known}
    if fresh:
        at = to_ms(told.at)
        connection.execute(_NOTICE, [{"id": id_, "topic": one.subject.topic, "at": at} for id_, one in fresh.items()])
        letters = [outbox_row(letter, told.at) for one in fresh.values() for letter in one.deliveries]
        if letters:
            connection.execute(OUTBOX, letters)
    return tuple(fresh)


def _until_day(connection: sa.Connection, org: str, name: str, day: date) -> None:
    connection.execute(_BOOK[name], {"org": org, name: day.isoformat()})


def _merged(usages: Sequence[Usage]) -> list[Row]:
    """One row for each place; rows that share one are added up."""
    rows: dict[tuple[str, ...], Row] = {}
    for one in usages:
        row = _usage_row(one)
        same = rows.get(_place(row))
        rows[_place(row)] = row if same is None else row | {name: _sum(same[name], row[name]) for name in _FIGURES}
    return list(rows.values())


def _usage_row(one: Usage) -> Row:
    tokens, usd = one.tokens, one.usd
    return {
        "org": one.org,
        "project": one.project,
        "model": one.model,
        "day": one.day.isoformat(),
        "batch": int(one.batch),
        **{kind: getattr(tokens, kind) for kind in _KINDS},
        **{name: nano(getattr(usd, kind)) if usd else None for kind, name in zip(_KINDS, _PRICES, strict=True)},
    }


def _place(row: Mapping[str, Any]) -> tuple[str, ...]:
    return row["org"], row["project"], row["model"], row["day"], str(row["batch"])


def _grown(was: Row | None, now: Row) -> Row:
    if was is None:
        return now
    return now | {name: max(was[name] or 0, now[name]) if now[name] is not None else was[name] for name in _FIGURES}


def _growth(was: Row, now: Row) -> Iterator[tuple[tuple[str, str], int]]:
    for kind, price in zip(_KINDS, _PRICES, strict=True):
        labels = write((("org", now["org"]), ("model", now["model"]), ("kind", kind)))
        yield ("usage_tokens", labels), now[kind] - (was.get(kind) or 0)
        yield ("usage_nanodollars", labels), (now[price] or 0) - (was.get(price) or 0)


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
