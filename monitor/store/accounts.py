"""Reads the books."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from monitor.domain.costs import Bill, TokenCount, TokenDollars, TunedModel, Usage
from monitor.store.documents import read_spending, read_tracked, to_ms
from monitor.store.rows import NANO
from monitor.store.schema import CHUNK, bill, book, job, notice, spending, tuned_model, usage
from monitor.store.values import Booked, Spent

_orgs = sa.bindparam("b_orgs", type_=sa.Text, expanding=True)
_day = sa.bindparam("b_day", type_=sa.Text)
_since = sa.bindparam("b_since", type_=sa.BigInteger)
_BOOK: Final = sa.select(book).where(book.c.org == sa.bindparam("b_org", type_=sa.Text))
_MODELS: Final = (
    sa.select(tuned_model).where(tuned_model.c.org.in_(_orgs)).order_by(tuned_model.c.org, tuned_model.c.id)
)
_TOLD: Final = sa.select(notice.c.id).where(notice.c.topic.in_(sa.bindparam("b_topics", expanding=True)))
_SPENDINGS: Final = (
    sa.select(spending.c.doc)
    .where(spending.c.org.in_(_orgs), spending.c.at >= _since)
    .order_by(spending.c.at, spending.c.org, spending.c.job)
)
_ACTIVE: Final = (
    sa.select(job.c.doc).where(job.c.org.in_(_orgs), job.c.ended_at.is_(None)).order_by(job.c.org, job.c.id)
)
_USAGES: Final = sa.select(usage).where(usage.c.org.in_(_orgs), usage.c.day >= _day).order_by(usage.c.day)
_BILLS: Final = sa.select(bill).where(bill.c.org.in_(_orgs), bill.c.day >= _day).order_by(bill.c.day)
_MONTH: Final = (
    sa.select(bill.c.org, bill.c.line_item, sa.func.sum(bill.c.nanodollars))
    .where(bill.c.org.in_(_orgs), bill.c.day >= _day, bill.c.day <= sa.bindparam("b_today", type_=sa.Text))
    .group_by(bill.c.org, bill.c.line_item)
    .order_by(bill.c.org, bill.c.line_item)
)
_COMPUTED: Final = (
    sa.select(spending.c.org, sa.func.sum(spending.c.nanodollars))
    .where(spending.c.org.in_(_orgs), spending.c.at >= _since)
    .group_by(spending.c.org)
)
_USED: Final = (
    sa.select(
        usage.c.org,
        sa.func.sum(usage.c.input_nanodollars + usage.c.cached_input_nanodollars + usage.c.output_nanodollars),
    )
    .where(usage.c.org.in_(_orgs), usage.c.day >= _day)
    .group_by(usage.c.org)
)
_ALWAYS: Final = -(2**62)


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """Which part of the books: from a moment on, or all of it."""

    orgs: tuple[str, ...]
    at: datetime | None

    @property
    def row(self) -> Mapping[str, Any]:
        """The parameters of the statements."""
        return {
            "b_orgs": self.orgs,
            "b_since": to_ms(self.at) if self.at is not None else _ALWAYS,
            "b_day": self.at.date().isoformat() if self.at is not None else "",
        }


def booked(connection: sa.Connection, org: str) -> Booked:
    """How far the imports have come."""
    row = connection.execute(_BOOK, {"b_org": org}).first()
    if row is None:
        return Booked()
    return Booked(usage_until=_date(row.usage_until), bill_until=_date(row.bill_until))


def tuned_models(connection: sa.Connection, orgs: Sequence[str]) -> tuple[TunedModel, ...]:
    """The inventory of these organisations."""
    return tuple(
        TunedModel(
            org=row.org,
            id=row.id,
            base=row.base,
            shutdown=_date(row.shutdown),
            listed=bool(row.listed),
            shared=bool(row.shared),
        )
        for row in connection.execute(_MODELS, {"b_orgs": tuple(orgs)})
    )


def told(connection: sa.Connection, topics: Sequence[str]) -> frozenset[str]:
    """What was told under these topics, ever."""
    found: set[str] = set()
    for start in range(0, len(topics), CHUNK):
        found.update(connection.execute(_TOLD, {"b_topics": list(topics[start : start + CHUNK])}).scalars())
    return frozenset(found)


def spent(connection: sa.Connection, wanted: Since) -> Spent:
    """What was spent since then, and what is being spent."""
    return Spent(
        spendings=tuple(map(read_spending, connection.execute(_SPENDINGS, wanted.row).scalars())),
        active=tuple(map(read_tracked, connection.execute(_ACTIVE, wanted.row).scalars())),
        usages=usages(connection, wanted),
    )


def usages(connection: sa.Connection, wanted: Since) -> tuple[Usage, ...]:
    """What tuned models were used for since that day."""
    return tuple(map(_usage, connection.execute(_USAGES, wanted.row)))


def bills(connection: sa.Connection, wanted: Since) -> tuple[Bill, ...]:
    """What was billed since that day."""
    return tuple(
        Bill(
            org=row.org,
            project=row.project,
            line_item=row.line_item,
            day=date.fromisoformat(row.day),
            usd=_usd(row.nanodollars),
        )
        for row in connection.execute(_BILLS, wanted.row)
    )


def month_to_date(connection: sa.Connection, orgs: Sequence[str], today: date) -> dict[tuple[str, str], Decimal]:
    """What was billed this month, by organisation and line item."""
    wanted = {"b_orgs": tuple(orgs), "b_day": today.replace(day=1).isoformat(), "b_today": today.isoformat()}
    return {(org, item): _usd(int(amount)) for org, item, amount in connection.execute(_MONTH, wanted)}


def totals(connection: sa.Connection, wanted: Since) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """By organisation: what training cost since then, and what use did, as far as there are prices."""
    trained, used = (connection.execute(statement, wanted.row) for statement in (_COMPUTED, _USED))
    return _by_org(trained), _by_org(used)


def _by_org(rows: Iterable[Any]) -> dict[str, Decimal]:
    return {org: _usd(int(amount)) for org, amount in rows if amount is not None}


def _usage(row: Any) -> Usage:
    prices = (row.input_nanodollars, row.cached_input_nanodollars, row.output_nanodollars)
    usd = None
    if None not in prices:
        usd = TokenDollars(input=_usd(prices[0]), cached_input=_usd(prices[1]), output=_usd(prices[2]))
    return Usage(
        org=row.org,
        project=row.project,
        model=row.model,
        day=date.fromisoformat(row.day),
        batch=bool(row.batch),
        tokens=TokenCount(input=row.input, cached_input=row.cached_input, output=row.output),
        usd=usd,
    )


def _usd(nanodollars: int) -> Decimal:
    return Decimal(nanodollars) / NANO


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text is not None else None
