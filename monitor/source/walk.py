"""Walks the pages of a list, and always terminates, even if the server's paging is wrong."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import datetime
from enum import Enum
from itertools import pairwise
from typing import Protocol, TypeVar

from monitor.providers.base import Malformed, Page, Request


class Identified(Protocol):
    """An item of a list, such as a job, an event or a model."""

    @property
    def id(self) -> str:
        """The id, unique in its list."""
        ...


T = TypeVar("T", bound=Identified)


class CursorRefused(Malformed):
    """The server does not know the item after which the list should continue."""


class Endless(Malformed):
    """The list has no proper end: no more can be read from this server."""


class PagingRefused(Endless):
    """The server refuses its own cursors, for the moment or always."""


class Order(Enum):
    """The order of a list, as far as it was read."""

    UNKNOWN = "unknown"
    NEWEST_FIRST = "newest first"
    OLDEST_FIRST = "oldest first"
    MIXED = "mixed"

    def with_times(self, times: Sequence[datetime | None]) -> Order:
        """The order after reading items with these times, which begin with the last one before them."""
        known = [at for at in times if at is not None]
        falls = any(later < earlier for earlier, later in pairwise(known))
        rises = any(later > earlier for earlier, later in pairwise(known))
        if falls:
            return Order.NEWEST_FIRST if not rises and self in (Order.UNKNOWN, Order.NEWEST_FIRST) else Order.MIXED
        if rises:
            return Order.OLDEST_FIRST if self in (Order.UNKNOWN, Order.OLDEST_FIRST) else Order.MIXED
        return self


async def pages(
    read: Callable[[Request], Awaitable[Page[T]]], first: Request, *, most: int, start: Request | None = None
) -> AsyncGenerator[tuple[Request, Page[T]]]:
    """The pages of a list with their requests, from the first one or from `start` to the end.

    After a refused cursor, the walk starts again from the first page, once. Raises Endless if a cursor is repeated, if
    a page has nothing new although more was promised, and after `most` pages.
    """
    request = start or first
    seen: set[Request] = set()
    ids: set[str] = set()
    restarted = False
    for _ in range(most):
        try:
            page = await read(request)
        except CursorRefused:
            if restarted:
                raise PagingRefused("the server refuses its own cursors") from None
            request, seen, ids, restarted = first, set(), set(), True
            continue
        fresh = {item.id for item in page.items} - ids
        if page.guessed and ids and not fresh:
            return  # the next page was only guessed, and the server does not support cursors
        yield request, page
        seen.add(request)
        if page.next is None and not page.stuck:
            return
        if page.next is None or page.next in seen or not (fresh or page.skipped or page.known):
            raise Endless("the list repeats itself")
        request = page.next
        ids |= fresh
    raise Endless(f"the list has more than {most} pages")
