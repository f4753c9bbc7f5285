"""Resolves host names with the system's resolver, so that a name that hangs delays no other."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult


class Resolver(AbstractResolver):
    """Resolves each name in a thread of its own. Names that hang delay neither others nor the end of the program.

    There are never more threads than names, because aiohttp resolves a name once at a time and caches it for 10 s.
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
        """Do nothing: there is nothing to close."""


def addresses(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    """The addresses of a host by the system's resolver. Blocks. Raises OSError."""
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host,
            host=_numeric(address),
            port=int(address[1]),
            family=kind,
            proto=proto,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, proto, _, address in infos
    ]


def _numeric(address: tuple[Any, ...]) -> str:
    """The address as text, with the zone of a link-local one, which is in a separate field."""
    zone = len(address) > 3 and address[3]
    return socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0] if zone else str(address[0])
