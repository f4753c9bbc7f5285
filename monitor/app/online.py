"""Whether the configured credentials work: one list request for each organisation, no message to anybody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import anyio

from monitor import notifiers
from monitor import source as sources
from monitor.app.build import source
from monitor.clock import SystemClock
from monitor.config import Settings
from monitor.notifiers import SendError
from monitor.providers.base import SourceError
from monitor.secret import Redactor


def check(settings: Settings) -> list[str]:
    """A line for everything that does not work; none when all is well."""
    return anyio.run(_check, settings)


async def _check(settings: Settings) -> list[str]:
    problems: list[str] = []
    redactor, clock = Redactor(), SystemClock()
    async with (
        sources.session() as asking,
        notifiers.session(public_only=settings.outbound.public_only) as sending,
        anyio.create_task_group() as tasks,
    ):
        for org in settings.organizations:
            asked = source(
                settings, org, session=asking, clock=clock, redactor=redactor, count=lambda operation, code: None
            )
            tasks.start_soon(_ask, f"organisation {org.name}", asked.check, problems)
        for wanted in settings.notifiers:
            timeout = settings.delivery.timeout.total_seconds()
            notifier = notifiers.build(wanted, session=sending, redactor=redactor, timeout=timeout)
            tasks.start_soon(_ask, f"notifier {wanted.name}", partial(notifier.check), problems)
    return sorted(problems)


async def _ask(name: str, question: Callable[[], Awaitable[None]], problems: list[str]) -> None:
    try:
        await question()
    except (SourceError, SendError) as error:
        problems.append(f"{name}: {error}")
