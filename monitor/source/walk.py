"""Walks the pages of a list that may be wrong about itself, and always comes to an end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Protocol, TypeVar

from monitor.providers.base import Malformed, Page


class Identified(Protocol):
    """What a list has: a job or an event."""

    @property
    def id(self) -> str:
        """Unique in its list."""
        ...


T = TypeVar("T", bound=Identified)


class CursorRefused(Malformed):
    """The server does not know the item after which we asked it to go on."""


class Endless(Malformed):
    """The list leads nowhere: what was read of it is all that this server gives."""


class Refused(Endless):
    """The server refuses cursors that it gave itself: now, or always."""


async def pages(read: Callable[[str | None], Awaitable[Page[T]]], *, most: int) -> AsyncGenerator[Page[T]]:
    """The pages of a list, to its end. A refused cursor starts it again from the first page, once.

    Raises Endless for a cursor that comes again, a page that brings nothing new, and after `most` pages.
    """
    cursor: str | None = None
    cursors: set[str] = set()
    ids: set[str] = set()
    restarted = False
    for _ in range(most):
        try:
            page = await read(cursor)
        except CursorRefused:
            if restarted:
                raise Refused("the server refuses its own cursors") from None
            cursor, cursors, ids, restarted = None, set(), set(), True
            continue
        yield page
        if page.next is None:
            return
        fresh = {item.id for item in page.items} - ids
        if not page.next or page.next in cursors or not (fresh or page.skipped):
            raise Endless("the list repeats itself")
        cursor = page.next
        cursors.add(cursor)
        ids |= fresh
    raise Endless(f"the list has more than {most} pages")
