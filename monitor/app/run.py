"""Puts the program together: one task group, one store, signals, and generations of settings."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from uuid import uuid4

import anyio

from monitor import notifiers, web
from monitor import source as sources
from monitor.app.build import World, couriers, refresh, watchers
from monitor.app.loops import Pulse, prune, supervise
from monitor.clock import Clock, SystemClock
from monitor.config import Address, ConfigError, Problem, Settings, rates
from monitor.log import get_logger
from monitor.metrics.health import Health
from monitor.metrics.own import Own
from monitor.secret import Redactor
from monitor.store import opened

log = get_logger()

_SPREAD = 0.02  # seconds between the first polls of two organisations, so that many do not start as one burst


Read = Callable[[], tuple[Settings, tuple[Problem, ...]]]
"""Gives the configuration as it is now, and what is allowed but unwise in it."""


def warn(warnings: tuple[Problem, ...]) -> None:
    """Log what is allowed but unwise."""
    for warning in warnings:
        log.warning("config.unwise", problem=str(warning))


@dataclass(slots=True, kw_only=True)
class Program:
    """The running program: settings come and go with a reload, the world stays."""

    settings: Settings
    world: World
    read_again: Read
    """Raises ConfigError, ValueError or OSError, and then nothing changes."""
    adopt: Callable[[Settings], None]
    """Hears of new settings: what they change outside the flow (logging)."""
    _generation: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def run(self) -> None:
        """One generation of watchers and couriers after another."""
        while True:
            with anyio.CancelScope() as self._generation:
                await self._live()

    async def reload(self) -> None:
        """All or nothing: the new settings, or the old ones and a word in the log."""
        try:
            settings, warnings = await anyio.to_thread.run_sync(self.read_again)
            _same_place(self.settings, settings)
        except ConfigError as error:
            log.error("config.reload_failed", problems=[str(problem) for problem in error.problems])
            self.world.own.reloaded(False, self.world.clock.now())
        except (ValueError, OSError) as error:
            log.error("config.reload_failed", error=str(error))
            self.world.own.reloaded(False, self.world.clock.now())
        else:
            self.settings = settings
            self.adopt(settings)
            warn(warnings)
            self.world.own.reloaded(True, self.world.clock.now())
            log.info("config.reloaded", organizations=len(settings.organizations))
            self._generation.cancel()

    async def _live(self) -> None:
        settings, world, clock = self.settings, self.world, self.world.clock
        prices = await anyio.to_thread.run_sync(rates, settings.pricing.file)
        refresh(world.health, settings)
        world.own.watch(world.health.orgs, world.health.notifiers)
        async with anyio.create_task_group() as tasks:
            for number, watcher in enumerate(watchers(settings, prices, world)):
                loop = partial(watcher.run, number * _SPREAD * world.jitter())
                tasks.start_soon(supervise, f"jobs of {watcher.source.org}", loop, clock)
            for courier in couriers(settings, world):
                tasks.start_soon(supervise, f"courier of {courier.notifier.name}", courier.run, clock)
            pruning = partial(prune, world.store, clock, settings.store.retention)
            tasks.start_soon(supervise, "pruning", pruning, clock)


def _same_place(old: Settings, new: Settings) -> None:
    """What is open stays open. Raises ValueError."""
    if old.store.url != new.store.url:
        raise ValueError("store.url cannot change while running: restart to use another database")
    if old.server != new.server:
        raise ValueError("server cannot change while running: restart to listen elsewhere")


async def run(
    settings: Settings,
    *,
    read_again: Read,
    redactor: Redactor,
    adopt: Callable[[Settings], None] = lambda settings: None,
    clock: Clock | None = None,
    listening: Callable[[str], None] = lambda address: None,
) -> None:
    """Watch until SIGTERM or SIGINT. `listening` hears the server's address.

    Raises StoreError when the database cannot be used, and OSError when the port cannot be had.
    """
    async with AsyncExitStack() as stack:
        world = await _world(stack, settings, redactor=redactor, clock=clock or SystemClock())
        world.own.reloaded(True, world.clock.now())
        program = Program(settings=settings, world=world, read_again=read_again, adopt=adopt)
        refresh(world.health, settings)
        pulse = Pulse(world.clock)
        listen = settings.server.listen
        app = web.application(_shown(program, pulse))
        async with web.serve(app, listen.host, listen.port) as bound, anyio.create_task_group() as tasks:
            address = f"http://{Address(*bound)}"
            log.info("listening", address=address)
            gc.freeze()  # what was loaded stays: collections that skip it do not hold up the loop under a large scrape
            listening(address)
            tasks.start_soon(pulse.run)
            tasks.start_soon(_signals, program, tasks.cancel_scope)
            await program.run()


def _shown(program: Program, pulse: Pulse) -> web.Web:
    world = program.world

    def limits() -> web.Limits:
        metrics = program.settings.metrics
        return web.Limits(job_retention=metrics.job_retention, max_jobs=metrics.max_jobs)

    return web.Web(
        store=world.store,
        health=world.health,
        own=world.own,
        clock=world.clock,
        alive=pulse.alive,
        limits=limits,
        hosts=frozenset({program.settings.server.listen.host}),
    )


async def _world(stack: AsyncExitStack, settings: Settings, *, redactor: Redactor, clock: Clock) -> World:
    """Everything that is opened once, and closed when the stack is."""
    store = await stack.enter_async_context(opened(settings.store.url, clock=clock))
    return World(
        store=store,
        own=Own(),
        health=Health(),
        clock=clock,
        redactor=redactor,
        asking=await stack.enter_async_context(sources.session()),
        sending=await stack.enter_async_context(notifiers.session()),
        owner=uuid4().hex,
        stream=sys.stdout,
    )


async def _signals(program: Program, scope: anyio.CancelScope) -> None:
    """SIGHUP reloads; the first SIGTERM or SIGINT ends in order, and a second one at once."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            if number == signal.SIGHUP:
                await program.reload()
            else:
                log.info("stopping", signal=signal.Signals(number).name)
                break
    scope.cancel()
