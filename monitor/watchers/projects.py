"""Logs a warning for each project of an organisation that is not watched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from monitor.clock import Clock
from monitor.domain.flow import Trouble
from monitor.log import get_logger
from monitor.providers.base import SourceError
from monitor.source.projects import Projects, ProjectSource
from monitor.watchers.repeat import repeat
from monitor.watchers.retries import ListRetries

log = get_logger()


@dataclass(slots=True)
class _Memory:
    retries: ListRetries = field(default_factory=ListRetries)
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
        memory, trouble = self._memory, None
        try:
            self._report(await self.projects.find())
        except SourceError as error:
            trouble = self._failed(error)
        else:
            memory.retries.worked()
        return memory.retries.delay(self.interval, trouble, self.jitter())

    def _failed(self, error: SourceError) -> Trouble:
        if self._memory.retries.failed():
            log.warning("projects.not_listed", org=self.org, reason=error.trouble.reason, error=error.trouble.text)
        return error.trouble

    def _report(self, found: Projects) -> None:
        """Log what has changed since the last read."""
        memory, unwatched = self._memory, {project.id: project.name for project in found.unwatched}
        for id_ in unwatched.keys() - memory.unwatched.keys():
            log.warning("project.not_watched", org=self.org, project=id_, name=unwatched[id_])
        for id_ in memory.unwatched.keys() - unwatched.keys():
            log.info("project.watched", org=self.org, project=id_, name=memory.unwatched[id_])
        for org in frozenset(found.unsure) - memory.unsure:
            log.warning("project.not_known", org=org, hint="name its `project`: its answers do not")
        memory.unwatched, memory.unsure = unwatched, frozenset(found.unsure)
