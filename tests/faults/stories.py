"""Many stories at once, each in an organisation of its own that is named for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.faults.daemon import WatchedDaemon
from tests.faults.hostile import Hostile

Story = Callable[[WatchedDaemon, Hostile], Awaitable[None]]


async def tell(seen: WatchedDaemon, stories: tuple[Story, ...]) -> dict[str, str]:
    """All stories at once, each in its organisation; what went wrong in which."""
    wrong: dict[str, str] = {}

    async def one(story: Story) -> None:
        try:
            await story(seen, seen.apis[named(story)])
        except (AssertionError, KeyError, IndexError) as error:
            wrong[story.__name__] = f"{type(error).__name__}: {error}"

    await asyncio.gather(*(one(story) for story in stories))
    return wrong


def of(stories: tuple[Story, ...]) -> list[Hostile]:
    """An organisation for each story, with a job that runs."""
    apis = [Hostile(named(story)) for story in stories]
    for api in apis:
        api.begin("ftjob-1")
    return apis


def named(story: Story) -> str:
    """The organisation of a story."""
    return getattr(story, "__name__", "story").replace("_", "-")[:60].rstrip("-")
