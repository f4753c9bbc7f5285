"""The store's books: one method for each moment they are written or read, each one transaction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import TypeVar

import sqlalchemy as sa

from monitor.domain.costs import Bill, TunedModel, Usage
from monitor.domain.news import News
from monitor.store import accounts, booking
from monitor.store.values import Accounts, Booked, Spent
from monitor.store.writer import Writer, each

T = TypeVar("T")
_book_usage = each(booking.book_usage)
_book_bill = each(booking.book_bill)
_take_stock = each(booking.take_stock)
_announce = each(booking.announce)
_date_models = each(booking.date_models)


class Books(ABC):
    """What was spent, used and billed, which models there are, and what was told of them."""

    _writer: Writer

    @abstractmethod
    async def _read(self, query: Callable[[sa.Connection], T]) -> T:
        """Ask in a transaction of its own."""

    @abstractmethod
    def _enqueued(self, count: int) -> None:
        """Wake the couriers: envelopes were enqueued."""

    async def book_usage(self, org: str, usages: Sequence[Usage], *, until: date) -> None:
        """Keep what tuned models were used for on days that were read whole; `until` is the last of them.

        A day that was there is replaced, but no count ever falls. What grew is tallied.
        """
        read = booking.UsageImport(org=org, usages=tuple(usages), until=until)
        await self._writer.run(_book_usage, read)

    async def book_bill(self, org: str, bills: Sequence[Bill], *, since: date, until: date, now: datetime) -> None:
        """Let the days from `since` to `until`, which were read whole, say what the bill says now."""
        read = booking.BillImport(org=org, bills=tuple(bills), since=since, until=until, at=now)
        await self._writer.run(_book_bill, read)

    async def booked(self, org: str) -> Booked:
        """How far the two imports have come."""
        return await self._read(lambda connection: accounts.booked(connection, org))

    async def take_stock(self, org: str, models: Sequence[TunedModel]) -> None:
        """Keep the provider's own list, read whole: what it once listed and lists no more is forgotten."""
        await self._writer.run(_take_stock, booking.Stock(org=org, models=tuple(models)))

    async def date_models(self, models: Sequence[TunedModel]) -> None:
        """Keep when these models end, where that was not known."""
        if models:
            await self._writer.run(_date_models, tuple(models))

    async def tuned_models(self, orgs: Sequence[str]) -> tuple[TunedModel, ...]:
        """The models that jobs have brought forth and those that the provider lists."""
        return await self._read(lambda connection: accounts.tuned_models(connection, orgs))

    async def announce(self, news: Sequence[News], now: datetime) -> tuple[str, ...]:
        """Enqueue the envelopes of each notice that was never told; gives the ids of those."""
        if not news:
            return ()
        fresh = await self._writer.run(_announce, booking.Announcement(notices=tuple(news), at=now))
        letters = {one.id: len(one.deliveries) for one in news}
        count = sum(letters[id_] for id_ in fresh)
        if count:
            self._enqueued(count)
        return fresh

    async def notified(self, topics: Sequence[str]) -> frozenset[str]:
        """The ids of all news of these topics."""
        return await self._read(lambda connection: accounts.told(connection, topics))

    async def spent(self, since: datetime | None, orgs: Sequence[str]) -> Spent:
        """What was spent from that moment on (None: ever), and what active jobs are spending."""
        wanted = accounts.Since(orgs=tuple(orgs), at=since)
        return await self._read(lambda connection: accounts.spent(connection, wanted))

    async def accounts(self, since: datetime, orgs: Sequence[str]) -> Accounts:
        """What was computed, used and billed from that moment on."""
        wanted = accounts.Since(orgs=tuple(orgs), at=since)

        def query(connection: sa.Connection) -> Accounts:
            found = accounts.spent(connection, wanted)
            bills = accounts.bills(connection, wanted)
            return Accounts(spendings=found.spendings, usages=found.usages, bills=bills)

        return await self._read(query)
