"""Shares work among requests: what many ask for at the same time is made once, and no earlier than they asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

import anyio

T = TypeVar("T")


@dataclass(slots=True)
class _Ride(Generic[T]):
    """One making of an answer, and those who wait for it."""

    arrived: anyio.Event = field(default_factory=anyio.Event)
    result: tuple[T] | None = None
    failure: Exception | None = None
    """Without either, whoever made it was cancelled."""


class Shared:
    """At most so many answers are being made; whoever asks while one of the same kind waits for its turn shares it."""

    def __init__(self, at_once: int) -> None:
        self._turn = anyio.Semaphore(at_once)
        self._boarding: dict[Hashable, _Ride[object]] = {}

    async def get(self, kind: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """The answer of this kind, as of now or later. Raises what `make` raises."""
        while (waiting := cast("_Ride[T] | None", self._boarding.get(kind))) is not None:
            await waiting.arrived.wait()
            if waiting.failure is not None:
                raise waiting.failure
            if waiting.result is not None:
                return waiting.result[0]
        ride: _Ride[T] = _Ride()
        self._boarding[kind] = cast("_Ride[object]", ride)
        try:
            async with self._turn:
                del self._boarding[kind]  # it begins: who comes from now on takes the next
                (result,) = ride.result = (await make(),)
        except Exception as error:
            ride.failure = error
            raise
        finally:
            if self._boarding.get(kind) is ride:
                del self._boarding[kind]
            ride.arrived.set()
        return result
