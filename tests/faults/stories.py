"""Runs many stories at once, each in an organisation named after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.faults.daemon import WatchedDaemon
from tests.faults.hostile import Hostile

Story = Callable[[WatchedDaemon, Hostile], Awaitable[None]]


async def tell(seen: WatchedDaemon, stories: tuple[Story, ...]) -> dict[str, str]:
    """Run all stories at once. Returns the failures by story."""
    wrong: dict[str, str] = {}

    async def one(story: Story) -> None:
        try:
            await story(seen, seen.apis[named(story)])
        except (AssertionError, KeyError, IndexError) as error:
            wrong[story.__name__] = f"{type(error).__name__}: {error}"

    await asyncio.gather(*(one(story) for story in stories))
    return wrong


def of(stories: tuple[Story, ...]) -> list[Hostile]:
    """An organisation with a running job for each story."""
    apis = [Hostile(named(story)) for story in stories]
    for api in apis:
        api.begin("ftjob-1")
    return apis


def named(story: Story) -> str:
    """The name of a story's organisation."""
    return getattr(story, "__name__", "story").replace("_", "-")[:60].rstrip("-")
