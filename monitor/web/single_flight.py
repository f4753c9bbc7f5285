"""Shares work among requests: what many ask for at the same time is made once, and no earlier than they asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

import anyio

T = TypeVar("T")


@dataclass(slots=True)
class _Flight(Generic[T]):
    """One making of an answer, and those who wait for it."""

    done: anyio.Event = field(default_factory=anyio.Event)
    result: tuple[T] | None = None
    failure: Exception | None = None
    """Without either, whoever made it was cancelled."""


class SingleFlight:
    """At most so many answers are being made; whoever asks while one of the same kind waits for its turn shares it."""

    def __init__(self, at_once: int) -> None:
        self._turn = anyio.Semaphore(at_once)
        self._waiting: dict[Hashable, _Flight[object]] = {}

    async def get(self, kind: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """The answer of this kind, as of now or later. Raises what `make` raises."""
        while (other := cast("_Flight[T] | None", self._waiting.get(kind))) is not None:
            await other.done.wait()
            if other.failure is not None:
                raise other.failure
            if other.result is not None:
                return other.result[0]
        flight: _Flight[T] = _Flight()
        self._waiting[kind] = cast("_Flight[object]", flight)
        try:
            async with self._turn:
                del self._waiting[kind]  # it begins: who comes from now on takes the next
                (result,) = flight.result = (await make(),)
        except Exception as error:
            flight.failure = error
            raise
        finally:
            if self._waiting.get(kind) is flight:
                del self._waiting[kind]
            flight.done.set()
        return result
