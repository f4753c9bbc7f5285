#!/bin/sh
# anyio 4.16.0 (asyncio backend): a task of a task group that is cancelled stays in memory, with all that its functions
# held, until a collection of garbage.
#
# Expected: what a cancelled task worked with is freed when the task has ended, as with asyncio's own tasks. But the
# callback that ends the task keeps the CancelledError in a local variable, and the error's traceback contains that
# callback's frame: a cycle. It holds the frames of every function that was running in the task, and their variables. A
# program that cancels many tasks, or few large ones, grows until Python collects the oldest generation, which it does
# ever more rarely. gc.collect() after such a cancellation helps.
#
# Seen (Python 3.11):
#   anyio's task group: alive after the cancellation, freed by gc.collect()
#   an asyncio task: freed
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check anyio==4.16.0
"$dir/venv/bin/python" - <<'EOF'
import asyncio
import gc
import weakref

import anyio


class Page:
    """What a task works with."""


async def work(seen):
    page = Page()
    seen.append(weakref.ref(page))
    await anyio.sleep(60)


async def in_a_task_group(seen):
    async with anyio.create_task_group() as group:
        group.start_soon(work, seen)
        await anyio.sleep(0.01)
        group.cancel_scope.cancel()


async def in_an_asyncio_task(seen):
    task = asyncio.create_task(work(seen))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])


def alive(run):
    """Whether the page is still there: after the cancellation, and after a collection of garbage."""
    seen = []
    gc.collect()
    gc.disable()
    asyncio.run(run(seen))
    before = seen[0]() is not None
    gc.collect()
    return before, seen[0]() is not None


found = {run.__name__: alive(run) for run in (in_a_task_group, in_an_asyncio_task)}
for name, (before, after) in found.items():
    print(f"{name}: alive after the cancellation: {before}, after gc.collect(): {after}")
assert found == {"in_a_task_group": (True, False), "in_an_asyncio_task": (False, False)}
EOF
