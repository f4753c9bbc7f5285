"""Walks the pages of a list that may be wrong about itself, and always comes to an end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import datetime
from enum import Enum
from itertools import pairwise
from typing import Protocol, TypeVar

from monitor.providers.base import Malformed, Page, Request


class Identified(Protocol):
    """What a list has: a job, an event or a model."""

    @property
    def id(self) -> str:
        """Unique in its list."""
        ...


T = TypeVar("T", bound=Identified)


class CursorRefused(Malformed):
    """The server does not know the item after which we asked it to continue."""


class Endless(Malformed):
    """The list leads nowhere: what was read of it is all that this server gives."""


class PagingRefused(Endless):
    """The server refuses cursors that it gave itself: now, or always."""


class Order(Enum):
    """In which order a list comes, as far as it was read."""

    UNKNOWN = "unknown"
    NEWEST_FIRST = "newest first"
    OLDEST_FIRST = "oldest first"
    MIXED = "mixed"

    def with_times(self, times: Sequence[datetime | None]) -> Order:
        """What is known of it once these were read, too, the last of those before them first."""
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
    """The pages of a list with the requests that brought them, to its end; from `start` on, where that is given.

    A refused cursor starts it again from the first page, once. Raises Endless for a cursor that comes again, a page
    that brings nothing new where more was promised, and after `most` pages.
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
            return  # nobody said that there is more: the server knows no cursors
        yield request, page
        seen.add(request)
        if page.next is None and not page.stuck:
            return
        if page.next is None or page.next in seen or not (fresh or page.skipped or page.known):
            raise Endless("the list repeats itself")
        request = page.next
        ids |= fresh
    raise Endless(f"the list has more than {most} pages")
