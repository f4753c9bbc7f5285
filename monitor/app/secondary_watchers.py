"""Builds the watchers of everything but jobs, such as models, costs, outages and budgets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Protocol

from monitor.app.build import OrgPrices, Services
from monitor.app.watchdog import WatchedClock
from monitor.clock import Clock
from monitor.config import Settings
from monitor.domain.health import BillingHealth, Health
from monitor.domain.notifier_outages import OutagePolicy, subscribed
from monitor.domain.pricing import Prices
from monitor.domain.routing import OrgRef
from monitor.providers.base import Billing, Deployments, Discovery
from monitor.source import Source
from monitor.source.billing import BillingSource
from monitor.source.deployments import DeploymentSource
from monitor.source.projects import ProjectSource
from monitor.watchers.budgets import BudgetWatcher
from monitor.watchers.costs import CostWatcher
from monitor.watchers.digests import DigestWatcher
from monitor.watchers.hosting import HostingWatcher
from monitor.watchers.models import ModelWatcher
from monitor.watchers.notifiers import NotifierWatcher
from monitor.watchers.outages import OutageWatcher
from monitor.watchers.projects import ProjectWatcher
from monitor.watchers.states import StateWatcher

_BUDGETS_EVERY: Final = 30.0  # seconds, unless jobs are polled more often
_NOTIFIERS_EVERY: Final = 30.0  # seconds
_STATES_AFTER: Final = 60.0  # seconds: states are known once everything has been polled
_AFTER_JOBS: Final = 2.0  # seconds that everything else waits at the start, so that jobs are polled first


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A loop to keep running."""

    kind: str
    scope: str
    """The organisation, or `all`."""
    run: Callable[[], Awaitable[None]]
    clock: Clock
    """The clock of this loop alone, by which the watchdog observes it."""


class _Watcher(Protocol):
    """A watcher as its task runs it."""

    def run(self, first: float = 0.0) -> Coroutine[Any, Any, None]:
        """Watch for ever, beginning in `first` seconds."""


def _task(kind: str, scope: str, services: Services, build: Callable[[Clock], _Watcher], *, first: float = 0.0) -> Task:
    """The task of one watcher, which gets a clock of its own and begins in `first` seconds."""
    clock = WatchedClock(services.clock)
    return Task(kind=kind, scope=scope, run=partial(build(clock).run, first), clock=clock)


def secondary_watchers(
    settings: Settings, prices: OrgPrices, services: Services, sources: Mapping[str, Source]
) -> Iterator[Task]:
    """The loops that watch anything but jobs. `sources` are those of the organisations by name."""
    orgs = tuple(
        OrgRef(
            org=configured.name,
            provider=configured.provider,
            was=configured.was,
            labels=configured.labels,
            naming=sources[configured.name].provider.naming,
        )
        for configured in settings.organizations
    )
    pause = min(_AFTER_JOBS, settings.poll.interval.total_seconds())
    for org in orgs:
        yield from _of_one(settings, org, prices, services, sources)
    yield _outages(settings, orgs, services)
    if settings.notifiers and subscribed(settings.rules):
        yield _notifiers(settings, services)
    if any(notifier.forgets_after is not None for notifier in settings.notifiers):
        yield _states(settings, services)
    if settings.digests:
        yield _digests(settings, orgs, services, first=pause)
    if settings.budgets:
        yield _budgets(settings, orgs, services, first=pause)


def _of_one(
    settings: Settings, org: OrgRef, prices: OrgPrices, services: Services, sources: Mapping[str, Source]
) -> Iterator[Task]:
    """The loops for a single organisation."""
    source = sources[org.org]
    org_prices = prices.of(source.provider, org.org)
    pause = min(_AFTER_JOBS, settings.poll.interval.total_seconds())
    yield _models(settings, org, org_prices, services, source=source, first=pause * (1 + services.jitter()))
    if (billing := source.provider.billing) is not None:
        bill = billing_source(billing, source)
        yield _costs(settings, bill, org_prices, services, first=pause * (1 + services.jitter()))
    if (discovery := source.provider.discovery) is not None:
        projects = project_source(discovery, source, sources=sources)
        yield _projects(settings, projects, services, first=pause * (1 + services.jitter()))
    if (deployments := source.provider.deployments) is not None:
        listing = deployment_source(deployments, source)
        yield _hosting(listing, services, first=pause * (1 + services.jitter()))


def deployment_source(deployments: Deployments, source: Source) -> DeploymentSource:
    """The source of deployments, at a host of its own, which gets none of the headers and parameters of jobs."""
    client = replace(
        source.client,
        base_url=deployments.base_url,
        auth=deployments.auth,
        headers={},
        query={},
        own_headers={},
        header_lines=None,
        own_query={},
    )
    return DeploymentSource(client=client, deployments=deployments)


def billing_source(billing: Billing, jobs: Source) -> BillingSource:
    """The source of usage and bill. Its client is that of the jobs, but with the admin key."""
    client = replace(jobs.client, auth=billing.auth, headers=billing.headers)
    return BillingSource(client=client, billing=billing)


def project_source(discovery: Discovery, jobs: Source, *, sources: Mapping[str, Source]) -> ProjectSource:
    """The source of projects. Its client is that of the jobs, but with the admin key.

    `sources` are those of all organisations by name.
    """
    client = replace(jobs.client, auth=discovery.auth, headers=discovery.headers)
    base_url = jobs.provider.base_url
    same_server = {name: source for name, source in sources.items() if source.provider.base_url == base_url}
    return ProjectSource(client=client, discovery=discovery, watching=same_server)


def refresh_billing(health: Health, settings: Settings) -> None:
    """Set the organisations whose costs are imported in the health, and remove budgets that are gone."""
    readable = [org.name for org in settings.organizations if org.vendor().billing is not None]
    health.billing = {name: health.billing.get(name) or BillingHealth(org=name) for name in readable}
    names = {budget.name for budget in settings.budgets}
    health.budgets = tuple(budget for budget in health.budgets if budget.name in names)


def _models(
    settings: Settings, org: OrgRef, prices: Prices, services: Services, *, source: Source, first: float
) -> Task:
    def watcher(clock: Clock) -> ModelWatcher:
        return ModelWatcher(
            page=settings.server.url,
            source=source,
            org=org,
            rules=settings.rules,
            prices=prices,
            costs=services.stores.costs,
            outbox=services.stores.outbox,
            leases=services.stores.leases,
            clock=clock,
            jitter=services.jitter,
            interval=settings.poll.models_interval.total_seconds(),
        )

    return _task("models", org.org, services, watcher, first=first)


def _costs(settings: Settings, billing: BillingSource, prices: Prices, services: Services, *, first: float) -> Task:
    def watcher(clock: Clock) -> CostWatcher:
        return CostWatcher(
            billing=billing,
            store=services.stores.costs,
            watching=services.stores.jobs,
            leases=services.stores.leases,
            prices=prices,
            interval=settings.poll.costs_interval.total_seconds(),
            clock=clock,
            health=services.health.billing[billing.org],
            jitter=services.jitter,
            lookback=settings.poll.lookback,
        )

    return _task("costs", billing.org, services, watcher, first=first)


def _projects(settings: Settings, projects: ProjectSource, services: Services, *, first: float) -> Task:
    org = projects.client.org

    def watcher(clock: Clock) -> ProjectWatcher:
        interval = settings.poll.models_interval.total_seconds()
        return ProjectWatcher(org=org, projects=projects, clock=clock, jitter=services.jitter, interval=interval)

    return _task("projects", org, services, watcher, first=first)


def _hosting(deployments: DeploymentSource, services: Services, *, first: float) -> Task:
    org = deployments.client.org

    def watcher(clock: Clock) -> HostingWatcher:
        return HostingWatcher(
            org=org,
            deployments=deployments,
            costs=services.stores.costs,
            leases=services.stores.leases,
            clock=clock,
            jitter=services.jitter,
        )

    return _task("hosting", org, services, watcher, first=first)


def _outages(settings: Settings, orgs: tuple[OrgRef, ...], services: Services) -> Task:
    def watcher(clock: Clock) -> OutageWatcher:
        return OutageWatcher(
            page=settings.server.url,
            orgs=orgs,
            reader=services.stores.reader,
            rules=settings.rules,
            outbox=services.stores.outbox,
            leases=services.stores.leases,
            clock=clock,
        )

    return _task("outages", "all", services, watcher)


def _notifiers(settings: Settings, services: Services) -> Task:
    patience = settings.delivery.down_after
    interval = min(_NOTIFIERS_EVERY, patience.total_seconds())

    def watcher(clock: Clock) -> NotifierWatcher:
        return NotifierWatcher(
            notifiers={notifier.name: notifier.was for notifier in settings.notifiers},
            rules=settings.rules,
            outbox=services.stores.outbox,
            leases=services.stores.leases,
            clock=clock,
            policy=OutagePolicy(patience=patience, monitor_url=settings.server.url),
            interval=interval,
        )

    first = interval + settings.delivery.timeout.total_seconds()
    return _task("notifiers", "all", services, watcher, first=first)


def _states(settings: Settings, services: Services) -> Task:
    notifiers = {notifier.name: notifier.forgets_after for notifier in settings.notifiers}

    def watcher(clock: Clock) -> StateWatcher:
        return StateWatcher(
            forgets_after={name: after for name, after in notifiers.items() if after is not None},
            orgs=frozenset(org.name for org in settings.organizations),
            notifiers=frozenset(notifiers),
            reader=services.stores.reader,
            outbox=services.stores.outbox,
            leases=services.stores.leases,
            clock=clock,
        )

    return _task("states", "all", services, watcher, first=_STATES_AFTER)


def _digests(settings: Settings, orgs: tuple[OrgRef, ...], services: Services, *, first: float) -> Task:
    def watcher(clock: Clock) -> DigestWatcher:
        return DigestWatcher(
            page=settings.server.url,
            digests=tuple(configured.digest for configured in settings.digests),
            orgs=orgs,
            costs=services.stores.costs,
            reader=services.stores.reader,
            outbox=services.stores.outbox,
            leases=services.stores.leases,
            clock=clock,
        )

    return _task("digests", "all", services, watcher, first=first)


def _budgets(settings: Settings, orgs: tuple[OrgRef, ...], services: Services, *, first: float) -> Task:
    def watcher(clock: Clock) -> BudgetWatcher:
        return BudgetWatcher(
            page=settings.server.url,
            budgets=settings.limits,
            orgs=orgs,
            rules=settings.rules,
            costs=services.stores.costs,
            outbox=services.stores.outbox,
            leases=services.stores.leases,
            clock=clock,
            health=services.health,
            jitter=services.jitter,
            interval=min(_BUDGETS_EVERY, settings.poll.interval.total_seconds()),
        )

    return _task("budgets", "all", services, watcher, first=first)
