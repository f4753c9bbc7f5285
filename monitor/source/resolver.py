"""Asks the system for addresses in a way that no name that hangs can hold up another."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult


class Resolver(AbstractResolver):
    """Asks the system, each time in a thread of its own: names that hang hold up no other name, nor the program's end.

    There are never more threads than names: aiohttp asks for a name once at a time, and remembers it for 10 s.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises OSError."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[ResolveResult]] = loop.create_future()

        def settle(found: list[ResolveResult] | OSError) -> None:
            if answer.done():
                return
            if isinstance(found, OSError):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def ask() -> None:
            try:
                found: list[ResolveResult] | OSError = addresses(host, port, family)
            except OSError as error:
                found = error
            except UnicodeError:  # a label that is too long
                found = OSError(None, "the host name is none")
            with suppress(RuntimeError):  # the program has ended meanwhile
                loop.call_soon_threadsafe(settle, found)

        threading.Thread(target=ask, name="resolver", daemon=True).start()
        return await answer

    async def close(self) -> None:
        """Nothing is kept."""


def addresses(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    """What the system's resolver says. Blocks. Raises OSError."""
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host,
            host=_spelled(address),
            port=int(address[1]),
            family=kind,
            proto=proto,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, proto, _, address in infos
    ]


def _spelled(address: tuple[Any, ...]) -> str:
    """A link-local address needs its zone, which is in a field of its own."""
    zone = len(address) > 3 and address[3]
    return socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0] if zone else str(address[0])
