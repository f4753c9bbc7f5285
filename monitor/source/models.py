"""Reads the list of models that an organisation's key can use."""

from __future__ import annotations

from contextlib import aclosing

import anyio

from monitor.domain.retirement import ListedModel
from monitor.providers.base import Page, Request, TimedOut
from monitor.source.jobs import Source
from monitor.source.walk import pages


async def listed_models(source: Source) -> tuple[ListedModel, ...]:
    """All listed models, including base models; none if the vendor has no such list.

    Raises SourceError if the list could not be read to its end, since nothing can be said to be missing from a partial
    one, and NotFound if the server has no such list.
    """
    listing, client, found = source.provider.models, source.client, dict[str, ListedModel]()
    if listing is None:
        return ()

    async def read(request: Request) -> Page[ListedModel]:
        return await client.page(request, listing.read)

    with anyio.move_on_after(source.deadline) as scope:
        async with aclosing(pages(read, listing.first, most=client.limits.max_pages)) as walk:
            async for _, page in walk:
                found.update({model.id: model for model in page.items})
    if scope.cancelled_caught:
        raise TimedOut(f"the list of models took longer than {source.deadline:g} s")
    return tuple(found.values())
