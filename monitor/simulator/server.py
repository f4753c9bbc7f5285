"""The simulation as a web application, and as a server that listens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import web
from aiohttp.typedefs import Middleware

from monitor.simulator.book_routes import BookRoutes
from monitor.simulator.door import Door, envelopes, sign
from monitor.simulator.file_routes import UPLOADS, FileRoutes
from monitor.simulator.job_routes import JobRoutes
from monitor.simulator.model_routes import ModelRoutes
from monitor.simulator.simulation import Simulation

_LARGEST_JSON = 16 * 1024 * 1024
_PATIENCE = 0.5
"""Seconds that open requests get to end when the server stops."""


def application(simulation: Simulation, *, middlewares: Sequence[Middleware] = ()) -> web.Application:
    """The API under /v1; `middlewares` stand before everything else, to break what a client must survive."""
    app = web.Application(middlewares=(*middlewares, envelopes), client_max_size=_LARGEST_JSON)
    door = Door(simulation.orgs, simulation.requests_per_second)
    for part in (JobRoutes(simulation), FileRoutes(simulation), ModelRoutes(simulation), BookRoutes(simulation)):
        app.add_routes(part.routes(door))
    app.on_response_prepare.append(sign)
    app.cleanup_ctx.append(_uploads)
    return app


async def _uploads(app: web.Application) -> AsyncIterator[None]:
    with TemporaryDirectory(prefix="simulated-files-") as directory:
        app[UPLOADS] = Path(directory)
        yield


@asynccontextmanager
async def serve(
    simulation: Simulation, host: str = "127.0.0.1", port: int = 0, *, middlewares: Sequence[Middleware] = ()
) -> AsyncIterator[str]:
    """Listen for as long as the context lasts; yields the base URL, which ends in /v1. Port 0 takes a free one."""
    runner = web.AppRunner(
        application(simulation, middlewares=middlewares), access_log=None, shutdown_timeout=_PATIENCE
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        taken = runner.addresses[0][1]
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{taken}/v1"
    finally:
        await runner.cleanup()
