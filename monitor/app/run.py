"""Runs the program: opens the store and the server, starts the tasks, and handles signals."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from types import FrameType
from urllib.parse import unquote, urlsplit

import anyio
from anyio.abc import TaskStatus

from monitor import notifiers, web
from monitor import source as sources
from monitor.app import memory
from monitor.app.build import Services, access, refresh
from monitor.app.loops import supervise
from monitor.app.program import Program, Read
from monitor.app.watchdog import Watchdog
from monitor.clock import Clock, SystemClock
from monitor.config import Address, Settings, environ, load_prices
from monitor.courier import Lanes
from monitor.domain.health import Health
from monitor.log import get_logger
from monitor.metrics.process import ProcessMetrics
from monitor.secret import Redactor
from monitor.store import opened

log = get_logger()


async def run(
    settings: Settings,
    *,
    read_again: Read,
    redactor: Redactor,
    adopt: Callable[[Settings], None] = lambda settings: None,
    clock: Clock | None = None,
    listening: Callable[[str], None] = lambda address: None,
) -> None:
    """Run until SIGTERM or SIGINT. `listening` is called with the server's URL when it accepts connections.

    Raises StoreError if the database cannot be used, and OSError if the server cannot listen on its port.
    """
    async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
        hangup = _Hangup()
        await tasks.start(_signals, hangup, tasks.cancel_scope)  # first, so that a long start can be stopped
        services = await _services(stack, settings, redactor=redactor, clock=clock or SystemClock())
        services.process.reloaded(True, services.clock.now())
        prices = await anyio.to_thread.run_sync(load_prices, settings.pricing.file)
        program = Program(settings=settings, prices=prices, services=services, read_again=read_again, adopt=adopt)
        refresh(services.health, settings)
        listen = settings.server.listen
        control = web.AccessControl(partial(access, settings.server.web_config_file))
        app = web.application(_shown(program, control))
        bound = await stack.enter_async_context(web.serve(app, listen.host, listen.port, control.context))
        address = f"{control.scheme}://{Address(*bound)}"
        log.info("listening", address=address)
        memory.tune_interpreter()
        listening(address)
        tasks.start_soon(services.watchdog.run)
        tasks.start_soon(supervise, "listening", services.stores.listen, services.clock)
        tasks.start_soon(supervise, "inspection", services.stores.database.inspect, services.clock)
        tasks.start_soon(supervise, "memory", partial(memory.keep_small, services.clock), services.clock)
        tasks.start_soon(supervise, "web configuration", partial(control.watch, services.clock), services.clock)
        reloads = partial(hangup.reload, program)
        tasks.start_soon(
            supervise, "reloading", reloads, services.clock, partial(services.process.restarted, "reloading")
        )
        await program.run()


def _shown(program: Program, access_control: web.AccessControl) -> web.Web:
    services = program.services

    def limits() -> web.ReaderLimits:
        metrics = program.settings.metrics
        return web.ReaderLimits(
            job_retention=min(metrics.job_retention, program.settings.store.retention),
            max_jobs=metrics.max_jobs,
            monitor_url=program.settings.server.url,
        )

    return web.Web(
        reader=services.stores.reader,
        costs=services.stores.costs,
        health=services.health,
        process=services.process,
        clock=services.clock,
        alive=services.watchdog.alive,
        limits=limits,
        hosts=frozenset({program.settings.server.listen.host, *program.settings.server.hosts}),
        actions=_actions(program) if program.settings.server.enable_lifecycle else None,
        webhooks=web.Webhooks(
            receivers=lambda: program.receivers,
            hints=services.stores.hints,
            clock=services.clock,
            count=services.process.webhook_received,
        ),
        access=access_control,
    )


def _actions(program: Program) -> web.AdminActions:
    return web.AdminActions(
        reload=program.reload,
        requeue=program.requeue,
        replay=program.replay,
        notifiers=lambda: program.services.health.notifiers,
        retention=lambda: program.settings.store.retention,
    )


async def _services(stack: AsyncExitStack, settings: Settings, *, redactor: Redactor, clock: Clock) -> Services:
    """Open everything that is opened once. It is closed with the stack."""
    database = opened(_database(settings, redactor), clock=clock, lease=settings.store.lease)
    stores = await stack.enter_async_context(database)
    addresses = [org.vendor().base_url for org in settings.organizations]
    public_only = settings.outbound.public_only
    process = ProcessMetrics(revision=environ().get("FINETUNE_MONITOR_REVISION", "unknown"))
    return Services(
        stores=stores,
        lanes=Lanes(stores.targets),
        process=process,
        health=Health(),
        clock=clock,
        redactor=redactor,
        asking=await stack.enter_async_context(sources.transport(addresses=addresses)),
        sending=await stack.enter_async_context(notifiers.session(public_only=public_only)),
        bursting=await stack.enter_async_context(notifiers.session(public_only=public_only, keep=True)),
        stream=sys.stdout,
        watchdog=Watchdog(clock, process.ticked),
    )


def _database(settings: Settings, redactor: Redactor) -> str:
    """The URL of the database. The redactor learns its password. Raises OSError or ValueError if it cannot be read."""
    url = settings.store.address()
    if password := urlsplit(url).password:
        redactor.add([password, unquote(password)])
    return url


class _Hangup:
    """Reloads the configuration after SIGHUP. Several signals during a reload cause one more."""

    def __init__(self) -> None:
        self._asked = anyio.Event()

    def ask(self) -> None:
        """Request a reload."""
        self._asked.set()

    async def reload(self, program: Program) -> None:
        """Reload for ever, whenever it is requested."""
        while True:
            await self._asked.wait()
            self._asked = anyio.Event()
            await program.reload()


async def _signals(
    hangup: _Hangup, scope: anyio.CancelScope, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Reload on SIGHUP, stop in order on the first SIGTERM or SIGINT, and exit at once on a second one."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGHUP:
                hangup.ask()
            else:
                log.info("stopping", signal=signal.Signals(number).name)
                break
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _at_once)  # a handler, because the kernel ignores default actions for process 1
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    scope.cancel()


def _at_once(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)
