"""Finds the projects of an organisation at its provider that are not watched, because no configured key is theirs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass

import anyio

from monitor.providers.base import Discovery, Page, Project, Request, SourceError, TimedOut
from monitor.source.client import Client
from monitor.source.jobs import Source
from monitor.source.walk import pages


@dataclass(frozen=True, slots=True, kw_only=True)
class Projects:
    """The result of a search for projects."""

    unwatched: tuple[Project, ...]
    unsure: tuple[str, ...]
    """Configured organisations whose project is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSource:
    """The projects of one organisation, and the sources of all organisations at the same server."""

    client: Client
    """A client with the admin key."""
    discovery: Discovery
    watching: Mapping[str, Source]
    """The configured organisations whose keys may belong to these projects, by name."""

    async def find(self) -> Projects:
        """List the projects, and find the project of each key that is not configured with one. Raises SourceError."""
        with anyio.move_on_after(60.0) as scope:
            projects = await self._projects()
            watched = {org: await self._project(source) for org, source in self.watching.items()}
        if scope.cancelled_caught:
            raise TimedOut("the projects were not listed within a minute")
        with_key = set(watched.values())
        unwatched = (found for found in projects.values() if not found.archived and found.id not in with_key)
        return Projects(
            unwatched=tuple(unwatched),
            unsure=tuple(org for org, project in watched.items() if project is None),
        )

    async def _projects(self) -> dict[str, Project]:
        found: dict[str, Project] = {}
        listing = self.discovery.projects

        async def read(request: Request) -> Page[Project]:
            return await self.client.page(request, listing.read)

        async with aclosing(pages(read, listing.first, most=self.client.limits.max_pages)) as walk:
            async for _, page in walk:
                found.update({project.id: project for project in page.items})
        return found

    async def _project(self, source: Source) -> str | None:
        """The project of a key, by the configuration or a header of its answers; None if unknown."""
        if source.provider.project is not None:
            return source.provider.project
        try:
            answer = await source.client.answer(source.provider.jobs[0].pages.first.following(limit="1"))
        except SourceError:
            return None
        return answer.headers.get(self.discovery.answered_for)
