"""The running program: its watchers and couriers, which a reload of the configuration replaces."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import anyio
from anyio.abc import TaskGroup

from monitor.app.build import OrgPrices, Services, card_editors, couriers, policy, receivers, refresh, sources, watchers
from monitor.app.loops import prune, supervise, warn_of_orphans
from monitor.app.secondary_watchers import refresh_billing, secondary_watchers
from monitor.app.watchdog import WatchedClock
from monitor.clock import Clock
from monitor.config import ConfigError, LocatedIssue, Settings, load_prices
from monitor.courier import Courier, replaying
from monitor.courier.cards import CardEditor
from monitor.domain.pricing import Prices
from monitor.domain.replay import Replayed, ReplayRequest
from monitor.log import get_logger
from monitor.watchers.hints import HintWatcher
from monitor.watchers.leases import LeaseWatcher
from monitor.web import Receiver

log = get_logger()

Read = Callable[[], tuple[Settings, tuple[LocatedIssue, ...]]]
"""Reads the current configuration. Returns the settings and warnings."""


def warn(warnings: tuple[LocatedIssue, ...]) -> None:
    """Log the warnings about a configuration."""
    for warning in warnings:
        log.warning("config.warning", problem=str(warning))


@dataclass(slots=True, kw_only=True)
class Program:
    """Runs watchers and couriers by the current settings. A reload replaces these; the services stay.

    The tasks that run by the same settings are called a generation.
    """

    settings: Settings
    prices: Prices
    services: Services
    read_again: Read
    """Reads the configuration for a reload. If it raises ConfigError, ValueError or OSError, nothing changes."""
    adopt: Callable[[Settings], None]
    """Called with new settings, for what they change outside of the tasks (logging)."""
    receivers: Mapping[str, Receiver] = field(init=False)
    """The current receivers of provider webhooks, by organisation."""
    _generation: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _reading: anyio.Lock = field(default_factory=anyio.Lock)
    _left: dict[tuple[str, str], anyio.Event] = field(default_factory=dict)
    """Set when the latest courier or card editor of a notifier has ended, by kind and notifier."""

    def __post_init__(self) -> None:
        """Build the receivers at once, because webhooks may arrive before the first generation has started."""
        self.receivers = receivers(self.settings, self.services.redactor)

    async def run(self) -> None:
        """Run one generation after another. Couriers of an old one stay until their sends in flight have ended."""
        async with anyio.create_task_group() as sending:
            while True:
                with anyio.CancelScope() as self._generation:
                    await self._live(sending)
                # The old generation is garbage in cycles now: each cancelled task of anyio leaves one with its frames.
                gc.collect()

    async def reload(self) -> Sequence[str]:
        """Replace the settings by a newly read configuration, as a whole.

        Returns its problems, one per line; if there are any, the old settings stay in force.
        """
        async with self._reading:
            try:
                settings, prices, warnings = await anyio.to_thread.run_sync(self._read, abandon_on_cancel=True)
            except ConfigError as error:
                return self._refused([str(problem) for problem in error.problems])
            except (ValueError, OSError) as error:
                return self._refused([str(error)])
            muted = self.settings.routes and not settings.routes
            self.settings, self.prices = settings, prices
            self.receivers = receivers(settings, self.services.redactor)
            self.adopt(settings)
            warn(warnings)
            if muted:  # what an editor or a full disk has left of a file may be valid
                log.warning("config.warning", problem="routes: all of them were removed, so nobody is notified")
            self.services.process.reloaded(True, self.services.clock.now())
            log.info("config.reloaded", organizations=len(settings.organizations))
            self._generation.cancel()
            return []

    async def requeue(self) -> int:
        """Requeue all dead letters. Returns their number. Raises StoreError."""
        return await replaying.requeue(self.services.stores.outbox)

    async def replay(self, request: ReplayRequest) -> Replayed:
        """Redeliver stored transitions by the current configuration. Raises StoreError."""
        prices = OrgPrices(settings=self.settings, published=self.prices)
        policies = {
            org.name: policy(self.settings, org, prices.of(org.vendor(), org.name))
            for org in self.settings.organizations
        }
        return await replaying.replay(self.services.stores.outbox, policies, request, self.services.clock.now())

    def _read(self) -> tuple[Settings, Prices, tuple[LocatedIssue, ...]]:
        settings, warnings = self.read_again()
        _same_place(self.settings, settings)
        return settings, load_prices(settings.pricing.file), warnings

    def _refused(self, problems: list[str]) -> list[str]:
        log.error("config.reload_failed", problems=problems)
        self.services.process.reloaded(False, self.services.clock.now())
        return problems

    async def _live(self, sending: TaskGroup) -> None:
        settings, services = self.settings, self.services
        refresh(services.health, settings)
        refresh_billing(services.health, settings)
        routes = [route.name for route in settings.routes if route.name is not None]
        services.process.watch(services.health.orgs, services.health.notifiers, routes, settings.templates)
        started: list[Courier | CardEditor] = [*couriers(settings, services), *card_editors(settings, services)]
        for courier in started:
            kind = "courier" if isinstance(courier, Courier) else "cards"
            key = kind, courier.notifier.name
            before, self._left[key] = self._left.get(key), anyio.Event()
            sending.start_soon(self._deliver, key, courier, before, self._left[key])
        try:
            async with anyio.create_task_group() as tasks:
                by_org = sources(settings, services)
                prices = OrgPrices(settings=settings, published=self.prices)
                polling = tuple(watchers(settings, prices, services, by_org))
                polls = {watcher.source.org: watcher.state for watcher in polling}
                leases = LeaseWatcher(
                    leases=services.stores.leases,
                    polls=polls,
                    changes=services.stores.reader.changes,
                    process=services.process,
                    interval=settings.poll.interval.total_seconds(),
                    clock=WatchedClock(services.clock),
                )
                tasks.start_soon(self._keep, "leases", "all", leases.run, leases.clock)
                hints = HintWatcher(store=services.stores.hints, polls=polls, clock=WatchedClock(services.clock))
                tasks.start_soon(self._keep, "hints", "all", hints.run, hints.clock)
                for watcher in polling:
                    tasks.start_soon(self._keep, "watcher", watcher.source.org, watcher.run, watcher.clock)
                    tasks.start_soon(self._keep, "reader", watcher.source.org, watcher.read, watcher.reader_clock)
                for task in secondary_watchers(settings, prices, services, by_org):
                    tasks.start_soon(self._keep, task.kind, task.scope, task.run, task.clock)
                pruning = partial(prune, services.stores.jobs, services.clock, settings.store.retention)
                restarted = partial(services.process.restarted, "pruning")
                tasks.start_soon(supervise, "pruning", pruning, services.clock, restarted)
                names = [
                    name
                    for notifier in settings.notifiers
                    for name in (notifier.name, notifier.was)
                    if name is not None
                ]
                orphans = partial(warn_of_orphans, services.stores.outbox, names, services.clock)
                tasks.start_soon(supervise, "orphans", orphans, services.clock, restarted)
        finally:
            for courier in started:
                courier.retire()

    async def _deliver(
        self, key: tuple[str, str], courier: Courier | CardEditor, before: anyio.Event | None, left: anyio.Event
    ) -> None:
        """Run a courier as soon as its predecessor has ended, so that a target never has two."""
        try:
            if before is not None:
                await before.wait()
            await self._keep(*key, courier.run, courier.clock)
        finally:
            left.set()
            if self._left.get(key) is left:
                del self._left[key]

    async def _keep(self, kind: str, scope: str, loop: Callable[[], Awaitable[None]], clock: Clock) -> None:
        """Supervise a loop, count its restarts, and let the watchdog observe it."""
        name, services = f"{kind} of {scope}", self.services
        with services.watchdog.watching(name, clock):
            await supervise(name, loop, clock, partial(services.process.restarted, kind))


def _same_place(old: Settings, new: Settings) -> None:
    """Raise ValueError if the new settings change something that cannot be changed without a restart."""
    if (old.store.url, old.store.url_file) != (new.store.url, new.store.url_file):
        raise ValueError("store.url cannot change while running: restart to use another database")
    if old.outbound != new.outbound:
        raise ValueError("outbound cannot change while running: restart for that")
    if old.server != new.server:
        raise ValueError("server cannot change while running: restart to listen elsewhere")
