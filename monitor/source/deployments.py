"""Lists the deployments of one organisation: all of them, or an error."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass

import anyio

from monitor.domain.hosting import Deployment
from monitor.providers.base import Deployments, Page, Request, TimedOut
from monitor.source.client import Client
from monitor.source.walk import pages


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSource:
    """One organisation's deployments. Its client has credentials of its own."""

    client: Client
    deployments: Deployments

    async def find(self) -> tuple[Deployment, ...]:
        """Read the whole list. Raises SourceError, after which nothing is known about any deployment."""
        found: dict[str, Deployment] = {}
        listing = self.deployments.all

        async def read(request: Request) -> Page[Deployment]:
            return await self.client.page(request, listing.read)

        with anyio.move_on_after(60.0) as scope:
            async with aclosing(pages(read, listing.first, most=self.client.limits.max_pages)) as walk:
                async for _, page in walk:
                    found.update({deployment.name: deployment for deployment in page.items})
        if scope.cancelled_caught:
            raise TimedOut("the deployments were not listed within a minute")
        return tuple(found.values())
