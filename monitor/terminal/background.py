"""Work in a thread that the program does not wait for when it ends."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Generic, TypeVar

import anyio
import anyio.from_thread
import anyio.lowlevel

T = TypeVar("T")


class _Work(Generic[T]):
    """One call, and what became of it."""

    def __init__(self, call: Callable[[], T]) -> None:
        self.call = call
        self.done = anyio.Event()
        self.token = anyio.lowlevel.current_token()
        self.result: tuple[T] | None = None
        self.failure: Exception | None = None

    def run(self) -> None:
        """In the thread."""
        try:
            self.result = (self.call(),)
        except Exception as error:  # noqa: BLE001 - it is raised again where it is waited for
            self.failure = error
        try:
            anyio.from_thread.run_sync(self.done.set, token=self.token)
        except RuntimeError:
            return  # the loop is over: nobody waits any more


async def in_background(call: Callable[[], T]) -> T:
    """The result of a call that may block. Who is cancelled, as by Ctrl-C, leaves it alone; anyio would join it."""
    work = _Work(call)
    Thread(target=work.run, daemon=True).start()
    await work.done.wait()
    if work.result is None:
        raise work.failure or RuntimeError("the thread ended without a result")
    return work.result[0]
