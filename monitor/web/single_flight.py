"""Deduplicates concurrent work: requests for the same answer share one computation that starts after they came."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

import anyio

T = TypeVar("T")


@dataclass(slots=True)
class _Flight(Generic[T]):
    """One computation and its outcome. Without result and failure, its request was cancelled."""

    done: anyio.Event = field(default_factory=anyio.Event)
    result: tuple[T] | None = None
    failure: Exception | None = None


class SingleFlight:
    """Runs a bounded number of computations; a request shares one of the same kind that has not started yet."""

    def __init__(self, at_once: int) -> None:
        self._slots = anyio.Semaphore(at_once)
        self._waiting: dict[Hashable, _Flight[object]] = {}

    async def get(self, kind: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """The answer of this kind, computed now or later. Raises what `make` raises."""
        while (other := cast("_Flight[T] | None", self._waiting.get(kind))) is not None:
            await other.done.wait()
            if other.failure is not None:
                raise other.failure
            if other.result is not None:
                return other.result[0]
        flight: _Flight[T] = _Flight()
        self._waiting[kind] = cast("_Flight[object]", flight)
        try:
            async with self._slots:
                del self._waiting[kind]  # it starts: later requests need a newer answer
                (result,) = flight.result = (await make(),)
        except Exception as error:
            flight.failure = error
            raise
        finally:
            if self._waiting.get(kind) is flight:
                del self._waiting[kind]
            flight.done.set()
        return result
