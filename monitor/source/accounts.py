"""Reads an organisation's books at its provider: whole stretches of days, or nothing of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from typing import Final, Protocol, TypeVar

import anyio
import structlog

from monitor.domain.costs import Bill, Usage
from monitor.providers.base import Accounts, Bucket, Malformed, Page, Request, Response, TimedOut
from monitor.source.asking import Asking


class Dated(Protocol):
    """What the books have: usage or a line of the bill."""

    @property
    def day(self) -> date:
        """The UTC day it is of."""
        ...


T = TypeVar("T", bound=Dated)

log = structlog.get_logger()

_MOST_PAGES: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSource(Asking):
    """One organisation's books. Its key is the admin key."""

    dialect: Accounts
    deadline: float = 60.0
    """Seconds for one stretch, all its pages."""
    _skipped: dict[str, int] = field(default_factory=dict, init=False, repr=False)

    async def usage(self, since: date, until: date) -> tuple[Usage, ...]:
        """What tuned models were used for from one day to another, both of them whole; without prices.

        Raises SourceError, and nothing may be concluded of any of the days then.
        """
        ask = partial(self.dialect.list_usage, since, until)
        found = await self._whole("usage", ask, partial(self.dialect.read_usage, self.org))
        return within(found, since, until)

    async def bills(self, since: date, until: date) -> tuple[Bill, ...]:
        """What was billed from one day to another, both of them whole. Raises SourceError as `usage` does."""
        ask = partial(self.dialect.list_bills, since, until)
        found = await self._whole("bill", ask, partial(self.dialect.read_bills, self.org))
        return within(found, since, until)

    async def check(self, day: date) -> None:
        """Ask for the books of one day. Raises SourceError."""
        await self.usage(day, day)
        await self.bills(day, day)

    async def _whole(
        self, name: str, ask: Callable[[str | None], Request], read: Callable[[Response], Page[Bucket[T]]]
    ) -> tuple[T, ...]:
        """Every page. A bucket that comes again was told anew: what it says last counts."""
        buckets: dict[datetime, Bucket[T]] = {}
        skipped, cursor = 0, None
        cursors: set[str] = set()
        with anyio.move_on_after(self.deadline) as scope:
            while cursor is None or cursor not in cursors:
                if cursor is not None:
                    cursors.add(cursor)
                page = await self.ask(ask(cursor), read)
                buckets |= {bucket.start: bucket for bucket in page.items}
                skipped += page.skipped
                if page.next is None:
                    self._note(name, skipped)
                    return tuple(item for bucket in buckets.values() for item in bucket.items)
                if not page.next or len(cursors) >= _MOST_PAGES:
                    break
                cursor = page.next
        if scope.cancelled_caught:
            raise TimedOut(f"the {name} was not told within {self.deadline:g} s")
        raise Malformed(f"the pages of the {name} lead nowhere")

    def _note(self, name: str, skipped: int) -> None:
        """Say it once, and again when it becomes more."""
        if skipped > self._skipped.get(name, 0):
            log.warning("books.not_understood", org=self.org, books=name, rows=skipped)
        self._skipped[name] = skipped


def within(items: Iterable[T], since: date, until: date) -> tuple[T, ...]:
    """The items of these days: servers that take no end tell more."""
    return tuple(item for item in items if since <= item.day <= until)
