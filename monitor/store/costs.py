"""Stores cost records (training, usage and bill) and fine-tuned models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa

from monitor.domain.costs import Bill, Spending, TokenDollars, TrainingDay, TunedModel, Usage
from monitor.domain.hosting import Hosting
from monitor.domain.model import TokenCount
from monitor.domain.snapshot import MODELS
from monitor.store import counters
from monitor.store.database import Database
from monitor.store.documents import Row, cursor, from_ms, place, read_spending, read_tracked, to_ms, write
from monitor.store.schema import (
    bill,
    chunks,
    deployment,
    import_state,
    insert,
    job,
    spending,
    training_day,
    tuned_model,
    usage,
)
from monitor.store.values import CostRecords, ImportState, ResultPage, Spent

NANO: Final = 1_000_000_000
"""Nano-dollars in a US dollar."""
_KINDS: Final = ("input", "cached_input", "output")
_PRICES: Final = tuple(f"{kind}_nanodollars" for kind in _KINDS)
_FIGURES: Final = (*_KINDS, *_PRICES)
_LARGEST: Final = 2**63 - 1  # what a column holds
_BILLS_KEPT: Final = timedelta(days=400)  # more than a year, so that a month can be compared with a year ago
_ALWAYS: Final = -(2**62)  # milliseconds: a moment before all others
_EPOCH: Final = date(1970, 1, 1)
_MS_A_DAY: Final = 86_400_000

_org = sa.bindparam("b_org", type_=sa.Text)
_orgs = sa.bindparam("b_orgs", type_=sa.Text, expanding=True)
_id = sa.bindparam("b_id", type_=sa.Text)
_day, _until = sa.bindparam("b_day", type_=sa.Text), sa.bindparam("b_until", type_=sa.Text)
_since = sa.bindparam("b_since", type_=sa.BigInteger)
_most = sa.bindparam("b_most", type_=sa.Integer)


def _sums(amount: sa.ColumnElement[int]) -> tuple[sa.ColumnElement[int], sa.ColumnElement[int]]:
    """The sums of whole dollars and of the remaining nano-dollars. A sum of nano-dollars could exceed 64 bits."""
    return sa.func.sum(amount // NANO), sa.func.sum(amount % NANO)


_IMPORTED: Final = sa.select(import_state).where(import_state.c.org == _org)
_MODELS: Final = (
    sa.select(tuned_model).where(tuned_model.c.org.in_(_orgs)).order_by(tuned_model.c.org, tuned_model.c.id)
)
# The concatenation makes SQLite use the index of shutdowns: by organisation it would read all models of each.
_of_orgs = tuned_model.c.org.concat("").in_(_orgs)
ENDING_MODELS: Final = (
    sa.select(tuned_model)
    .where(_of_orgs, tuned_model.c.shutdown >= _day)
    .order_by(tuned_model.c.shutdown, tuned_model.c.org, tuned_model.c.id)
    .limit(_most)
)
ENDED_MODELS: Final = (
    sa.select(tuned_model)
    .where(_of_orgs, tuned_model.c.shutdown < _day)
    .order_by(tuned_model.c.shutdown.desc(), tuned_model.c.org.desc(), tuned_model.c.id.desc())
    .limit(_most)
)
UNENDING_MODELS: Final = (
    sa.select(tuned_model)
    .where(_of_orgs, tuned_model.c.shutdown.is_(None))
    .order_by(tuned_model.c.org, tuned_model.c.id)
)
_TRAINING: Final = (
    sa.select(spending.c.doc)
    .where(spending.c.org.in_(_orgs), spending.c.at >= _since)
    .order_by(spending.c.at, spending.c.org, spending.c.job)
)
_ACTIVE: Final = (
    sa.select(job.c.doc).where(job.c.org.in_(_orgs), job.c.ended_at.is_(None)).order_by(job.c.org, job.c.id)
)
_USAGES: Final = sa.select(usage).where(usage.c.org.in_(_orgs), usage.c.day >= _day).order_by(usage.c.day)
_BILLS: Final = sa.select(bill).where(bill.c.org.in_(_orgs), bill.c.day >= _day).order_by(bill.c.day)
_BILLED: Final = (
    sa.select(bill.c.org, bill.c.line_item, *_sums(bill.c.nanodollars))
    .where(bill.c.org.in_(_orgs), bill.c.day >= _day, bill.c.day <= _until)
    .group_by(bill.c.org, bill.c.line_item)
    .order_by(bill.c.org, bill.c.line_item)
)
_of_days = training_day.c.org.in_(_orgs) & (training_day.c.day >= _since)
_DAYS: Final = sa.select(training_day).where(_of_days).order_by(training_day.c.org, training_day.c.day)
_TRAINED: Final = (
    sa.select(training_day.c.org, sa.func.sum(training_day.c.dollars), sa.func.sum(training_day.c.nanodollars))
    .where(_of_days)
    .group_by(training_day.c.org)
)
_USED: Final = (
    sa.select(usage.c.org, *(part for name in _PRICES for part in _sums(usage.c[name])))
    .where(usage.c.org.in_(_orgs), usage.c.day >= _day)
    .group_by(usage.c.org)
)

_USAGES_BETWEEN: Final = sa.select(usage).where(usage.c.org == _org, usage.c.day >= _day, usage.c.day <= _until)
_usage = insert(usage)
_USAGE: Final = _usage.on_conflict_do_update(
    index_elements=["org", "project", "model", "day", "batch"],
    set_={name: _usage.excluded[name] for name in _FIGURES},
)
_BILL: Final = insert(bill)
_CLEAR_BILLS: Final = sa.delete(bill).where(bill.c.org == _org, bill.c.day >= _day, bill.c.day <= _until)
_OLD_BILLS: Final = sa.delete(bill).where(bill.c.org == _org, bill.c.day < _day)
_state = insert(import_state)
_IMPORTED_UNTIL: Final = {
    name: _state.on_conflict_do_update(index_elements=["org"], set_={name: _state.excluded[name]})
    for name in ("usage_until", "bill_until")
}
_spending = insert(spending)
_RECORD_TRAINING: Final = _spending.on_conflict_do_update(
    index_elements=["org", "job"],
    set_={"nanodollars": _spending.excluded.nanodollars, "doc": _spending.excluded.doc},
)
_HOSTINGS: Final = (
    sa.select(deployment)
    .where(deployment.c.org.in_(_orgs), deployment.c.until > _since)
    .order_by(deployment.c.org, deployment.c.name, deployment.c.since)
)
_hosting = insert(deployment)
_RECORD_HOSTING: Final = _hosting.on_conflict_do_update(
    index_elements=["org", "name", "since"],
    set_={name: _hosting.excluded[name] for name in ("model", "until", "nanodollars")},
)
_ADD_MODEL: Final = insert(tuned_model).on_conflict_do_nothing(index_elements=["org", "id"])
_LISTED: Final = sa.select(tuned_model.c.id).where(tuned_model.c.org == _org, tuned_model.c.listed == 1)
_DELETE_MODEL: Final = sa.delete(tuned_model).where(tuned_model.c.org == _org, tuned_model.c.id == _id)
_model = insert(tuned_model)
_LIST_MODEL: Final = _model.on_conflict_do_update(
    index_elements=["org", "id"],
    set_={
        "base": _model.excluded.base,
        "shutdown": _model.excluded.shutdown,
        "listed": 1,
        "shared": sa.case((_model.excluded.shared == 1, 1), else_=tuned_model.c.shared),
    },
)
_DATE_MODEL: Final = (
    sa.update(tuned_model)
    .where(tuned_model.c.org == _org, tuned_model.c.id == _id, tuned_model.c.shutdown.is_(None))
    .values(shutdown=_day)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostStore:
    """The stored costs and models. Every method may raise StoreError."""

    database: Database

    async def record_usage(self, org: str, usages: Sequence[Usage], *, until: date) -> None:
        """Store the usage of days that were read completely, of which `until` is the last.

        The figures of a stored day are replaced, but never become lower. Their growth is added to the counters.
        """
        await self.database.write(_record_usage, org, usages, until)

    async def record_bill(self, org: str, bills: Sequence[Bill], *, since: date, until: date, now: datetime) -> None:
        """Replace the bill of the days from `since` to `until`, which were read completely."""
        await self.database.write(_record_bill, org, bills, since, until, now)

    async def imported(self, org: str) -> ImportState:
        """The last imported days of the usage and of the bill."""
        return await self.database.read(_imported, org)

    async def replace_models(self, org: str, models: Sequence[TunedModel]) -> None:
        """Store the provider's complete list of models. Models that it no longer lists are deleted."""
        await self.database.write(_replace_models, org, models)

    async def date_models(self, models: Sequence[TunedModel]) -> None:
        """Store the shutdown dates of models that have none yet."""
        if models:
            await self.database.write(_date_models, models)

    async def hostings(self, orgs: Sequence[str], since: datetime | None) -> tuple[Hosting, ...]:
        """The deployments that were seen after a moment (None: ever)."""
        return await self.database.read(read_hostings, orgs, since)

    async def record_hosting(self, hostings: Sequence[Hosting]) -> None:
        """Keep the times for which deployments are known to have existed; a later one replaces an earlier one."""
        if hostings:
            await self.database.write(_record_hosting, hostings)

    async def tuned_models(self, orgs: Sequence[str]) -> tuple[TunedModel, ...]:
        """The models that jobs have produced and those that the provider lists."""
        return await self.database.read(_read_models, orgs)

    async def models(self, orgs: Sequence[str], *, limit: int, after: str | None = None) -> ResultPage[TunedModel]:
        """A page of the same models: the earliest shutdown first, those without a known one last.

        Raises BadCursor.
        """
        return await self.database.read(_page_of_models, orgs, limit, after)

    async def spent(self, since: datetime | None, orgs: Sequence[str]) -> Spent:
        """The costs since a moment (None: all costs), and the active jobs with their estimates."""
        return await self.database.read(_spent, _from(since, orgs))

    async def records(self, since: datetime, orgs: Sequence[str]) -> CostRecords:
        """The computed and billed costs since the start of the UTC day of a moment."""
        return await self.database.read(_records, _from(since, orgs))


def record_training(connection: sa.Connection, spendings: Iterable[Spending]) -> None:
    """Store the training costs of jobs, once per job. The correction of an end replaces the amount."""
    rows = (
        {"org": one.org, "job": one.job, "at": to_ms(one.at), "nanodollars": _nano(one.usd), "doc": write(one)}
        for one in spendings
    )
    for chunk in chunks(rows):
        connection.execute(_RECORD_TRAINING, chunk)


def add_models(connection: sa.Connection, models: Sequence[TunedModel]) -> None:
    """Store the models that jobs have produced. Models that are stored already stay as they are."""
    if models:
        connection.execute(_ADD_MODEL, [_model_row(one) for one in models])


def hosted_since(
    connection: sa.Connection, orgs: Sequence[str], since: datetime, now: datetime
) -> dict[tuple[str, str], Decimal]:
    """What hosting cost since a moment, by organisation and model."""
    found: dict[tuple[str, str], Decimal] = {}
    for one in read_hostings(connection, orgs, since):
        key = one.org, one.model
        found[key] = found.get(key, Decimal(0)) + one.usd(since, now)
    return found


def read_hostings(connection: sa.Connection, orgs: Sequence[str], since: datetime | None) -> tuple[Hosting, ...]:
    """The deployments of these organisations that were seen after a moment."""
    return _read_hostings(connection, _from(since, orgs))


def _read_hostings(connection: sa.Connection, wanted: Row) -> tuple[Hosting, ...]:
    return tuple(
        Hosting(
            org=row.org,
            deployment=row.name,
            model=row.model,
            since=from_ms(row.since),
            until=from_ms(row.until),
            usd_per_hour=_usd(row.nanodollars),
        )
        for row in connection.execute(_HOSTINGS, wanted)
    )


def _record_hosting(connection: sa.Connection, hostings: Sequence[Hosting]) -> None:
    rows = [
        {
            "org": one.org,
            "name": one.deployment,
            "since": to_ms(one.since),
            "model": one.model,
            "until": to_ms(one.until),
            "nanodollars": _nano(one.usd_per_hour),
        }
        for one in hostings
    ]
    connection.execute(_RECORD_HOSTING, rows)


def ending_models(connection: sa.Connection, orgs: Sequence[str], today: date) -> tuple[TunedModel, ...]:
    """At most MODELS models with a known shutdown: the next ones first, then those that were shut down last."""
    wanted = {"b_orgs": tuple(orgs), "b_day": today.isoformat(), "b_most": MODELS}
    rows = list(connection.execute(ENDING_MODELS, wanted))
    if len(rows) < MODELS:
        rows += connection.execute(ENDED_MODELS, {**wanted, "b_most": MODELS - len(rows)})
    return tuple(map(_read_model, rows))


def _read_models(connection: sa.Connection, orgs: Sequence[str]) -> tuple[TunedModel, ...]:
    return tuple(map(_read_model, connection.execute(_MODELS, {"b_orgs": tuple(orgs)})))


def _page_of_models(
    connection: sa.Connection, orgs: Sequence[str], limit: int, after: str | None
) -> ResultPage[TunedModel]:
    day, org, id_ = place(after, tuple[str, str, str]) if after is not None else ("", "", "")
    wanted = {"b_orgs": tuple(orgs), "b_day": "", "b_most": limit + 1}
    key = tuned_model.c.shutdown, tuned_model.c.org, tuned_model.c.id
    of_one = [tuned_model.c.org == orgs[0]] if len(orgs) == 1 else []  # an index gives this order
    rows: list[Any] = []
    if day or after is None:
        rows += connection.execute(ENDING_MODELS.where(sa.tuple_(*key) > (day, org, id_), *of_one), wanted)
        org, id_ = "", ""
    if len(rows) <= limit:
        rest = UNENDING_MODELS.where(sa.tuple_(*key[1:]) > (org, id_), *of_one).limit(limit + 1 - len(rows))
        rows += connection.execute(rest, wanted)
    shown = rows[:limit]
    more = len(rows) > len(shown) > 0
    following = cursor(shown[-1].shutdown or "", shown[-1].org, shown[-1].id) if more else None
    return ResultPage(items=tuple(map(_read_model, shown)), next=following)


def _read_model(row: Any) -> TunedModel:
    return TunedModel(
        org=row.org,
        id=row.id,
        base=row.base,
        shutdown=_date(row.shutdown),
        listed=bool(row.listed),
        shared=bool(row.shared),
    )


def billed_month(connection: sa.Connection, orgs: Sequence[str], today: date) -> dict[tuple[str, str], Decimal]:
    """The bill of this month in US dollars, by organisation and line item."""
    wanted = {"b_orgs": tuple(orgs), "b_day": today.replace(day=1).isoformat(), "b_until": today.isoformat()}
    return {(org, item): _total(sums) for org, item, *sums in connection.execute(_BILLED, wanted)}


def computed_since(
    connection: sa.Connection, orgs: Sequence[str], since: datetime
) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """The computed cost of training and of priced usage since a moment, in US dollars by organisation."""
    wanted = _from(since, orgs)
    trained = connection.execute(_TRAINED, _in_days(wanted))
    return _by_org(trained), _by_org(connection.execute(_USED, wanted))


def _in_days(wanted: Row) -> Row:
    """The same parameters with the moment as a day."""
    return {**wanted, "b_since": wanted["b_since"] // _MS_A_DAY}


def _training_days(connection: sa.Connection, wanted: Row) -> tuple[TrainingDay, ...]:
    rows = connection.execute(_DAYS, _in_days(wanted))
    return tuple(
        TrainingDay(org=row.org, day=_EPOCH + timedelta(days=row.day), usd=row.dollars + _usd(row.nanodollars))
        for row in rows
    )


def _by_org(rows: Iterable[Any]) -> dict[str, Decimal]:
    return {org: _total(sums) for org, *sums in rows if None not in sums}


def _total(sums: Sequence[int]) -> Decimal:
    """The total of alternating sums of whole dollars and nano-dollars."""
    return Decimal(sum(int(whole) for whole in sums[::2])) + _usd(sum(int(rest) for rest in sums[1::2]))


def _from(since: datetime | None, orgs: Sequence[str]) -> Row:
    """The query parameters for records since a moment (None: all records)."""
    return {
        "b_orgs": tuple(orgs),
        "b_since": to_ms(since) if since is not None else _ALWAYS,
        "b_day": since.date().isoformat() if since is not None else "",
    }


def _imported(connection: sa.Connection, org: str) -> ImportState:
    row = connection.execute(_IMPORTED, {"b_org": org}).first()
    if row is None:
        return ImportState()
    return ImportState(usage_until=_date(row.usage_until), bill_until=_date(row.bill_until))


def _spent(connection: sa.Connection, wanted: Row) -> Spent:
    return Spent(
        spendings=tuple(map(read_spending, connection.execute(_TRAINING, wanted).scalars())),
        active=tuple(map(read_tracked, connection.execute(_ACTIVE, wanted).scalars())),
        usages=tuple(map(_read_usage, connection.execute(_USAGES, wanted))),
    )


def _records(connection: sa.Connection, wanted: Row) -> CostRecords:
    return CostRecords(
        trained=_training_days(connection, wanted),
        usages=tuple(map(_read_usage, connection.execute(_USAGES, wanted))),
        bills=tuple(map(_read_bill, connection.execute(_BILLS, wanted))),
        hostings=_read_hostings(connection, wanted),
    )


def _record_usage(connection: sa.Connection, org: str, usages: Sequence[Usage], until: date) -> None:
    if usages:
        days = sorted(one.day for one in usages)
        wanted = {"b_org": org, "b_day": days[0].isoformat(), "b_until": days[-1].isoformat()}
        before = {_place(row): row for row in map(dict, connection.execute(_USAGES_BETWEEN, wanted).mappings())}
        rows = [_grown(before.get(_place(row)), row) for row in _merged(usages)]
        connection.execute(_USAGE, rows)
        amounts = Counter[tuple[str, str]]()
        for row in rows:
            for counter, amount in _growth(before.get(_place(row)) or {}, row):
                amounts[counter] += amount
        counters.add(connection, {counter: amount for counter, amount in amounts.items() if amount > 0})
    _imported_until(connection, org, "usage_until", until)


def _record_bill(
    connection: sa.Connection, org: str, bills: Sequence[Bill], since: date, until: date, now: datetime
) -> None:
    connection.execute(_CLEAR_BILLS, {"b_org": org, "b_day": since.isoformat(), "b_until": until.isoformat()})
    connection.execute(_OLD_BILLS, {"b_org": org, "b_day": (now - _BILLS_KEPT).date().isoformat()})
    amounts: dict[tuple[str, str, str], int] = {}
    for one in bills:
        key = one.project, one.line_item, one.day.isoformat()
        amount = _sum(amounts.get(key, 0), _nano(one.usd))
        if amount is not None:  # an amount that would make the sum implausible is left out
            amounts[key] = amount
    rows = [
        {"org": org, "project": project, "line_item": item, "day": day, "nanodollars": amount}
        for (project, item, day), amount in amounts.items()
    ]
    if rows:
        connection.execute(_BILL, rows)
    _imported_until(connection, org, "bill_until", until)


def _imported_until(connection: sa.Connection, org: str, name: str, day: date) -> None:
    connection.execute(_IMPORTED_UNTIL[name], {"org": org, name: day.isoformat()})


def _replace_models(connection: sa.Connection, org: str, models: Sequence[TunedModel]) -> None:
    """Replace the listed models. Models that are only known from jobs stay."""
    names = {one.id for one in models}
    gone = [name for name in connection.execute(_LISTED, {"b_org": org}).scalars() if name not in names]
    if gone:
        connection.execute(_DELETE_MODEL, [{"b_org": org, "b_id": name} for name in gone])
    if models:
        connection.execute(_LIST_MODEL, [_model_row(one) for one in models])


def _date_models(connection: sa.Connection, models: Sequence[TunedModel]) -> None:
    rows = [{"b_org": one.org, "b_id": one.id, "b_day": one.shutdown.isoformat()} for one in models if one.shutdown]
    if rows:
        connection.execute(_DATE_MODEL, rows)


def _merged(usages: Sequence[Usage]) -> list[Row]:
    """One row per primary key. Records with the same key are added up."""
    rows: dict[tuple[str, ...], Row] = {}
    for one in usages:
        row = _usage_row(one)
        same = rows.get(_place(row))
        rows[_place(row)] = row if same is None else row | {name: _sum(same[name], row[name]) for name in _FIGURES}
    return list(rows.values())


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


def _sum(first: int | None, second: int | None) -> int | None:
    """The sum; None if a part is unknown, or if the sum does not fit into a column."""
    total = None if first is None or second is None else first + second
    return total if total is not None and abs(total) <= _LARGEST else None


def _usage_row(one: Usage) -> Row:
    return {
        "org": one.org,
        "project": one.project,
        "model": one.model,
        "day": one.day.isoformat(),
        "batch": int(one.batch),
        **{kind: getattr(one.tokens, kind) for kind in _KINDS},
        **{
            name: _nano(getattr(one.usd, kind)) if one.usd else None for kind, name in zip(_KINDS, _PRICES, strict=True)
        },
    }


def _read_usage(row: Any) -> Usage:
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


def _read_bill(row: Any) -> Bill:
    return Bill(
        org=row.org,
        project=row.project,
        line_item=row.line_item,
        day=date.fromisoformat(row.day),
        usd=_usd(row.nanodollars),
    )


def _model_row(one: TunedModel) -> Row:
    return {
        "org": one.org,
        "id": one.id,
        "base": one.base,
        "shutdown": one.shutdown.isoformat() if one.shutdown is not None else None,
        "listed": int(one.listed),
        "shared": int(one.shared),
    }


def _nano(usd: Decimal) -> int:
    """An amount in whole nano-dollars, truncated."""
    return int(usd * NANO)


def _usd(nanodollars: int) -> Decimal:
    return Decimal(nanodollars) / NANO


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text is not None else None
