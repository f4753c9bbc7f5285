"""Finds out which projects of an organisation at its provider nobody watches: no configured key is theirs."""

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
    """What was found out."""

    unwatched: tuple[Project, ...]
    unsure: tuple[str, ...]
    """Organisations of the configuration of which it is not known which project they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSource:
    """The projects of one organisation, and the keys of all that are asked at the same place."""

    client: Client
    """With the admin key."""
    discovery: Discovery
    watching: Mapping[str, Source]
    """By name, the organisations of the configuration whose keys may be of these projects."""

    async def find(self) -> Projects:
        """Ask for the projects, and for the project of each key that does not say its own. Raises SourceError."""
        with anyio.move_on_after(60.0) as scope:
            projects = await self._projects()
            watched = {org: await self._project(source) for org, source in self.watching.items()}
        if scope.cancelled_caught:
            raise TimedOut("the projects were not listed within a minute")
        held = set(watched.values())
        return Projects(
            unwatched=tuple(each for each in projects.values() if not each.archived and each.id not in held),
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
        """By its configuration, or by what its answers are signed with."""
        if source.provider.project is not None:
            return source.provider.project
        try:
            answer = await source.client.answer(source.provider.jobs[0].pages.first.following(limit="1"))
        except SourceError:
            return None
        return answer.headers.get(self.discovery.answered_for)
