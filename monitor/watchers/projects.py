"""Logs a warning for each project of an organisation that is not watched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from monitor.clock import Clock
from monitor.log import get_logger
from monitor.source.projects import ProjectSource
from monitor.watchers.repeat import repeat
from monitor.watchers.retries import ListRetries

log = get_logger()


@dataclass(slots=True)
class _Memory:
    retries: ListRetries = field(
        default_factory=partial(ListRetries, failed="projects.not_listed", recovered="projects.listed_again")
    )
    unwatched: dict[str, str] = field(default_factory=dict)
    """Names of the reported projects by id."""
    unsure: frozenset[str] = frozenset()
    """Reported organisations whose project is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectWatcher:
    """Watches the projects that one admin key can list."""

    org: str
    projects: ProjectSource
    clock: Clock
    jitter: Callable[[], float]
    interval: float = 21_600.0
    """Seconds between two reads of the list."""
    _memory: _Memory = field(default_factory=_Memory)

    async def run(self, first: float = 0.0) -> None:
        """Read the list of projects for ever, beginning in `first` seconds."""
        await repeat(self._step, self.clock, first=first, org=self.org, watcher="projects")

    async def _step(self) -> float:
        retries = self._memory.retries
        return await retries.attempt(self._read, org=self.org, interval=self.interval, jitter=self.jitter)

    async def _read(self) -> None:
        """Read the list, and log what has changed since it was last read. Raises SourceError."""
        projects, memory = await self.projects.find(), self._memory
        unwatched = {project.id: project.name for project in projects.unwatched}
        for id_ in unwatched.keys() - memory.unwatched.keys():
            log.warning("project.not_watched", org=self.org, project=id_, name=unwatched[id_])
        for id_ in memory.unwatched.keys() - unwatched.keys():
            log.info("project.watched", org=self.org, project=id_, name=memory.unwatched[id_])
        for org in frozenset(projects.unsure) - memory.unsure:
            log.warning("project.not_known", org=org, hint="set its `project`: the provider's answers do not name it")
        memory.unwatched, memory.unsure = unwatched, frozenset(projects.unsure)
