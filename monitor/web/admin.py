"""The POST endpoints that change something: reload, requeue and replay. The operator has to enable them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from aiohttp import hdrs, web
from anyio import to_thread

from monitor.domain.durations import duration, format_duration
from monitor.domain.replay import Replayed, ReplayRequest
from monitor.web import api, query
from monitor.web.guard import Handler, refusal

_OWN_SITES: Final = ("same-origin", "none")
_FLAGS: Final = ("true", "false")
LIFECYCLE_OFF: Final = "this needs server.enable_lifecycle: true in the daemon's configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminActions:
    """The actions behind the endpoints."""

    reload: Callable[[], Awaitable[Sequence[str]]]
    """Reload the configuration. Returns the problems, one line each and without secrets; empty after a success."""
    requeue: Callable[[], Awaitable[int]]
    """Requeue all dead letters. Returns how many there were."""
    replay: Callable[[ReplayRequest], Awaitable[Replayed]]
    notifiers: Callable[[], Sequence[str]]
    """The names of the current notifiers."""
    retention: Callable[[], timedelta]
    """How long transitions and deliveries are kept."""


Change = Callable[[AdminActions, web.Request], Awaitable[web.Response]]


def changing(allowed: AdminActions | None, change: Change, *, otherwise: str = "") -> Handler:
    """The handler of a POST that changes something. `allowed` is None if the operator has not enabled it."""

    async def answer(request: web.Request) -> web.Response:
        if allowed is None:
            return refusal(request.path, 403, f"{LIFECYCLE_OFF}{otherwise}")
        if _from_another_site(request):
            return refusal(request.path, 403, "pages of other sites may not do this")
        return await change(allowed, request)

    return answer


def add_admin_actions(router: web.UrlDispatcher, allowed: AdminActions | None) -> None:
    """Add the endpoints to the router."""
    router.add_post("/-/reload", changing(allowed, _reload, otherwise="; SIGHUP reloads too"))
    router.add_post("/-/requeue", changing(allowed, _requeue))
    router.add_post("/-/replay", changing(allowed, _replay))


async def _reload(actions: AdminActions, _request: web.Request) -> web.Response:
    problems = await actions.reload()
    if not problems:
        return web.Response(text="reloaded\n")
    lines = ["nothing was changed, because the configuration has problems:", *problems]
    return web.Response(text="".join(f"{line}\n" for line in lines), status=500)


async def _requeue(actions: AdminActions, request: web.Request) -> web.Response:
    query.only(request.query)
    return api.answered(api.encoded({"requeued": await actions.requeue()}))


async def _replay(actions: AdminActions, request: web.Request) -> web.Response:
    wanted = _replay_request(actions, request.query)
    replayed = await actions.replay(wanted)
    return api.answered(await to_thread.run_sync(lambda: api.encoded(_replayed_view(wanted, replayed))))


def _replay_request(actions: AdminActions, parameters: query.Parameters) -> ReplayRequest:
    """Parse the parameters of a replay. Raises InvalidQuery.

    `since` is limited by the retention: it is not known who was notified of an older transition, so it could be sent a
    second time with different content.
    """
    given = query.only(parameters, "since", "notifier", "dry_run")
    try:
        since = duration(given.get("since"))
    except ValueError as error:
        raise query.InvalidQuery(f"since {error}") from None
    if since > actions.retention():
        raise query.InvalidQuery(
            f"since must be at most {format_duration(actions.retention())}, which is store.retention"
        )
    return ReplayRequest(
        since=since,
        notifier=query.choice(given, "notifier", actions.notifiers()),
        dry_run=query.choice(given, "dry_run", _FLAGS) == "true",
    )


def _replayed_view(request: ReplayRequest, replayed: Replayed) -> api.View:
    return {
        "dry_run": request.dry_run,
        "again": replayed.again,
        "new": replayed.new,
        "waiting": replayed.waiting,
        "deliveries": [
            {name: getattr(one, name) for name in ("key", "org", "job", "seq", "notifier", "type", "title", "new")}
            for one in replayed.deliveries
        ],
    }


def _from_another_site(request: web.Request) -> bool:
    """Whether a browser states that a page of another site sent this. Other clients send neither header."""
    sites = request.headers.getall("Sec-Fetch-Site", [])
    origins = request.headers.getall(hdrs.ORIGIN, [])
    ours = f"{request.scheme}://{request.headers.get(hdrs.HOST, '')}"
    return any(site not in _OWN_SITES for site in sites) or any(origin != ours for origin in origins)
