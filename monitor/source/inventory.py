"""Reads the list of models that an organisation's key can use."""

from __future__ import annotations

from contextlib import aclosing

import anyio

from monitor.domain.retirement import ListedModel
from monitor.providers.base import Page, TimedOut
from monitor.source.observing import Source
from monitor.source.walk import pages


async def listed_models(source: Source) -> tuple[ListedModel, ...]:
    """Every model on the list, base models among them.

    Raises SourceError when it was not read to its end: of half a list nothing can be said to be missing. NotFound is
    that of a server without such a list.
    """
    dialect, found = source.dialect, dict[str, ListedModel]()

    async def page(after: str | None) -> Page[ListedModel]:
        return await source.ask(dialect.list_models(after), dialect.read_models)

    with anyio.move_on_after(source.deadline) as scope:
        async with aclosing(pages(page, most=source.limits.max_pages)) as walk:
            async for one in walk:
                found.update({model.id: model for model in one.items})
    if scope.cancelled_caught:
        raise TimedOut(f"the list of models took longer than {source.deadline:g} s")
    return tuple(found.values())
