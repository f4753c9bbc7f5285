"""Checks whether the configured credentials work, for `check --online`. No message is sent to anybody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import anyio

from monitor import notifiers
from monitor import source as sources
from monitor.app.build import source
from monitor.app.secondary_watchers import deployment_source, project_source
from monitor.clock import SystemClock
from monitor.config import Settings
from monitor.notifiers import SendError
from monitor.providers.base import NotEligible, SourceError
from monitor.secret import Redactor
from monitor.source.deployments import DeploymentSource
from monitor.source.projects import ProjectSource


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Checked:
    """The result of checking an organisation or a notifier."""

    name: str
    asked: str
    """What a successful check shows."""
    problem: str | None

    def __str__(self) -> str:
        """The result as one line for people."""
        return f"{self.name}: {self.problem if self.problem is not None else f'good ({self.asked})'}"


def check(settings: Settings) -> list[Checked]:
    """Check all organisations and notifiers concurrently. Results are sorted by name."""
    return anyio.run(_check, settings)


async def _check(settings: Settings) -> list[Checked]:
    found: list[Checked] = []
    redactor, clock = Redactor(), SystemClock()
    async with (
        sources.transport() as asking,
        notifiers.session(public_only=settings.outbound.public_only) as sending,
        anyio.create_task_group() as tasks,
    ):
        asked = {
            org.name: source(settings, org, transport=asking, clock=clock, redactor=redactor)
            for org in settings.organizations
        }
        for name, jobs in asked.items():
            tasks.start_soon(_ask, f"organisation {name}", "its jobs can be listed", jobs.check, found)
            if (discovery := jobs.provider.discovery) is not None:
                projects = project_source(discovery, jobs, sources=asked)
                tasks.start_soon(_ask, f"projects of {name}", "each has a key", partial(_all_watched, projects), found)
            if (deployments := jobs.provider.deployments) is not None:
                listing = deployment_source(deployments, jobs)
                tasks.start_soon(
                    _ask, f"hosting of {name}", "its deployments can be listed", partial(_listed, listing), found
                )
        for wanted in settings.notifiers:
            timeout = settings.delivery.timeout.total_seconds()
            notifier = notifiers.build(
                wanted, session=sending, redactor=redactor, timeout=timeout, public_only=settings.outbound.public_only
            )
            tasks.start_soon(_ask, f"notifier {wanted.name}", "it answers; no message was sent", notifier.check, found)
    return sorted(found)


async def _all_watched(projects: ProjectSource) -> None:
    """Raise SourceError if a project has no key in the configuration, or if it is unknown whether it has."""
    found = await projects.find()
    findings = [f"{project.name} ({project.id}) has no key in the configuration" for project in found.unwatched]
    findings += [f"it is not known to which project {org} belongs: set its `project`" for org in found.unsure]
    if findings:
        raise NotEligible("; ".join(findings))


async def _listed(deployments: DeploymentSource) -> None:
    """Raises SourceError if the deployments cannot be listed."""
    await deployments.find()


async def _ask(name: str, asked: str, question: Callable[[], Awaitable[None]], found: list[Checked]) -> None:
    problem = None
    try:
        await question()
    except (SourceError, SendError) as error:
        problem = str(error)
    found.append(Checked(name=name, asked=asked, problem=problem))
