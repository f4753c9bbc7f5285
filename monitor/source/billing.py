"""Reads an organisation's usage and bill at its provider, for complete ranges of days or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, Protocol, TypeVar

import anyio
import structlog

from monitor.domain.costs import Bill, Usage
from monitor.providers.base import Billing, Bucket, Listing, Malformed, Request, TimedOut
from monitor.source.client import Client


class Dated(Protocol):
    """Usage, or a line of the bill."""

    @property
    def day(self) -> date:
        """The UTC day."""
        ...


T = TypeVar("T", bound=Dated)

log = structlog.get_logger()

_MOST_PAGES: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingSource:
    """One organisation's usage and bill. Its client has the admin key."""

    client: Client
    billing: Billing
    deadline: float = 60.0
    """Seconds for all pages of one range of days."""
    _skipped: dict[str, int] = field(default_factory=dict, init=False, repr=False)

    @property
    def org(self) -> str:
        """The organisation, as the configuration names it."""
        return self.client.org

    async def usage(self, since: date, until: date) -> tuple[Usage, ...]:
        """The usage of fine-tuned models from one day to another, both inclusive, without prices.

        Raises SourceError, after which nothing is known about any of the days.
        """
        return within(await self._whole("usage", self.billing.usage(since, until)), since, until)

    async def bills(self, since: date, until: date) -> tuple[Bill, ...]:
        """The bill from one day to another, both inclusive. Raises SourceError like `usage`."""
        return within(await self._whole("bill", self.billing.bill(since, until)), since, until)

    async def check(self, day: date) -> None:
        """Request usage and bill of one day. Raises SourceError."""
        await self.usage(day, day)
        await self.bills(day, day)

    async def _whole(self, name: str, listing: Listing[Bucket[T]]) -> tuple[T, ...]:
        """The items of all pages. If a bucket is repeated, the last one counts."""
        buckets: dict[datetime, Bucket[T]] = {}
        skipped, request, asked = 0, listing.first, set[Request]()
        with anyio.move_on_after(self.deadline) as scope:
            while request not in asked and len(asked) < _MOST_PAGES:
                asked.add(request)
                page = await self.client.page(request, listing.read)
                buckets |= {bucket.start: bucket for bucket in page.items}
                skipped += sum(page.skipped.values())
                if page.next is None:
                    if page.stuck:
                        break
                    self._note(name, skipped)
                    return tuple(item for bucket in buckets.values() for item in bucket.items)
                request = page.next
        if scope.cancelled_caught:
            raise TimedOut(f"the {name} did not arrive within {self.deadline:g} s")
        raise Malformed(f"the pages of the {name} have no end")

    def _note(self, name: str, skipped: int) -> None:
        """Log skipped rows once, and again when there are more."""
        if skipped > self._skipped.get(name, 0):
            log.warning("costs.not_understood", org=self.org, section=name, rows=skipped)
        self._skipped[name] = skipped


def within(items: Iterable[T], since: date, until: date) -> tuple[T, ...]:
    """The items of these days. Servers without an end parameter return more."""
    return tuple(item for item in items if since <= item.day <= until)
