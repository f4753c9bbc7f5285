"""The one address that changes something: reading the configuration again, for those who asked for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp import hdrs, web

from monitor.web.guard import Handler, refusal

Reload = Callable[[], Awaitable[Sequence[str]]]
"""Gives what was wrong, a line each, without secrets; nothing where the new configuration holds."""

_OWN_SITES: Final = ("same-origin", "none")


def reloading(reload: Reload | None) -> Handler:
    """What answers `POST /-/reload`."""

    async def answer(request: web.Request) -> web.Response:
        if reload is None:
            return refusal(request.path, 403, "server.enable_lifecycle is not set; SIGHUP reloads too")
        if _from_another_site(request):
            return refusal(request.path, 403, "a page of another site may not do this")
        problems = await reload()
        if problems:
            said = "".join(f"{problem}\n" for problem in problems)
            return web.Response(text=f"nothing has changed, because the configuration is not good:\n{said}", status=500)
        return web.Response(text="reloaded\n")

    return answer


def _from_another_site(request: web.Request) -> bool:
    """Whether a browser says that a page of somebody else sent this. Programs say neither."""
    sites = request.headers.getall("Sec-Fetch-Site", [])
    origins = request.headers.getall(hdrs.ORIGIN, [])
    ours = f"{request.scheme}://{request.headers.get(hdrs.HOST, '')}"
    return any(site not in _OWN_SITES for site in sites) or any(origin != ours for origin in origins)
