"""Builds the watchers of everything but jobs: models, projects, costs, outages, digests and budgets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

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
    of: str
    """The organisation, or `all`."""
    run: Callable[[], Awaitable[None]]
    clock: Clock
    """The clock of this loop alone, by which the watchdog observes it."""


def secondary_watchers(
    settings: Settings, prices: OrgPrices, services: Services, sources: Mapping[str, Source]
) -> Iterator[Task]:
    """The loops that watch anything but jobs. `sources` are those of the organisations by name."""
    orgs = tuple(
        OrgRef(
            org=one.name,
            provider=one.provider,
            was=one.was,
            labels=one.labels,
            naming=sources[one.name].provider.naming,
        )
        for one in settings.organizations
    )
    pause = min(_AFTER_JOBS, settings.poll.interval.total_seconds())
    for org in orgs:
        yield from _of_one(settings, org, prices, services, sources)
    clock = WatchedClock(services.clock)
    outages = OutageWatcher(
        page=settings.server.url,
        orgs=orgs,
        reader=services.stores.reader,
        rules=settings.rules,
        outbox=services.stores.outbox,
        leases=services.stores.leases,
        clock=clock,
    )
    yield Task(kind="outages", of="all", run=outages.run, clock=clock)
    if settings.notifiers and subscribed(settings.rules):
        yield _notifiers(settings, services)
    if any(one.forgets_after is not None for one in settings.notifiers):
        yield _states(settings, services)
    if settings.digests:
        yield _digests(settings, orgs, services, first=pause)
    if settings.budgets:
        clock = WatchedClock(services.clock)
        budgets = BudgetWatcher(
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
        yield Task(kind="budgets", of="all", run=partial(budgets.run, pause), clock=clock)


def _of_one(
    settings: Settings, org: OrgRef, prices: OrgPrices, services: Services, sources: Mapping[str, Source]
) -> Iterator[Task]:
    """The loops for a single organisation."""
    source = sources[org.org]
    org_prices = prices.of(source.provider, org.org)
    pause = min(_AFTER_JOBS, settings.poll.interval.total_seconds())
    yield _models(settings, org, org_prices, services, source=source, first=pause * (1 + services.jitter()))
    if (billing := source.provider.billing) is not None:
        asking = billing_source(billing, source)
        yield _costs(settings, asking, org_prices, services, first=pause * (1 + services.jitter()))
    if (discovery := source.provider.discovery) is not None:
        projects = project_source(discovery, source, sources=sources)
        yield _projects(settings, projects, services, first=pause * (1 + services.jitter()))
    if (deployments := source.provider.deployments) is not None:
        listing = deployment_source(deployments, source)
        yield _hosting(listing, services, first=pause * (1 + services.jitter()))


def deployment_source(deployments: Deployments, source: Source) -> DeploymentSource:
    """How deployments are listed: at a host of their own, which gets none of the headers and parameters of jobs."""
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


def _hosting(deployments: DeploymentSource, services: Services, *, first: float) -> Task:
    clock = WatchedClock(services.clock)
    watcher = HostingWatcher(
        org=deployments.client.org,
        deployments=deployments,
        costs=services.stores.costs,
        leases=services.stores.leases,
        clock=clock,
        jitter=services.jitter,
    )
    return Task(kind="hosting", of=deployments.client.org, run=partial(watcher.run, first), clock=clock)


def _digests(settings: Settings, orgs: tuple[OrgRef, ...], services: Services, *, first: float) -> Task:
    clock = WatchedClock(services.clock)
    digests = DigestWatcher(
        page=settings.server.url,
        digests=tuple(one.digest for one in settings.digests),
        orgs=orgs,
        costs=services.stores.costs,
        reader=services.stores.reader,
        outbox=services.stores.outbox,
        leases=services.stores.leases,
        clock=clock,
    )
    return Task(kind="digests", of="all", run=partial(digests.run, first), clock=clock)


def _notifiers(settings: Settings, services: Services) -> Task:
    clock, patience = WatchedClock(services.clock), settings.delivery.down_after
    notifiers = NotifierWatcher(
        notifiers={one.name: one.was for one in settings.notifiers},
        rules=settings.rules,
        outbox=services.stores.outbox,
        leases=services.stores.leases,
        clock=clock,
        policy=OutagePolicy(patience=patience, monitor_url=settings.server.url),
        interval=min(_NOTIFIERS_EVERY, patience.total_seconds()),
    )
    first = min(_NOTIFIERS_EVERY, patience.total_seconds()) + settings.delivery.timeout.total_seconds()
    return Task(kind="notifiers", of="all", run=partial(notifiers.run, first), clock=clock)


def _states(settings: Settings, services: Services) -> Task:
    clock = WatchedClock(services.clock)
    states = StateWatcher(
        forgets_after={one.name: one.forgets_after for one in settings.notifiers if one.forgets_after is not None},
        orgs=frozenset(org.name for org in settings.organizations),
        notifiers=frozenset(one.name for one in settings.notifiers),
        reader=services.stores.reader,
        outbox=services.stores.outbox,
        leases=services.stores.leases,
        clock=clock,
    )
    return Task(kind="states", of="all", run=partial(states.run, _STATES_AFTER), clock=clock)


def billing_source(billing: Billing, jobs: Source) -> BillingSource:
    """The source of usage and bill. Its client is that of the jobs, but with the admin key."""
    client = replace(jobs.client, auth=billing.auth, headers=billing.headers)
    return BillingSource(client=client, billing=billing)


def project_source(discovery: Discovery, jobs: Source, *, sources: Mapping[str, Source]) -> ProjectSource:
    """The source of projects. Its client is that of the jobs, but with the admin key.

    `sources` are those of all organisations by name.
    """
    client = replace(jobs.client, auth=discovery.auth, headers=discovery.headers)
    same_server = {name: one for name, one in sources.items() if one.provider.base_url == jobs.provider.base_url}
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
    clock = WatchedClock(services.clock)
    models = ModelWatcher(
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
    return Task(kind="models", of=org.org, run=partial(models.run, first), clock=clock)


def _projects(settings: Settings, projects: ProjectSource, services: Services, *, first: float) -> Task:
    clock = WatchedClock(services.clock)
    watcher = ProjectWatcher(
        org=projects.client.org,
        projects=projects,
        clock=clock,
        jitter=services.jitter,
        interval=settings.poll.models_interval.total_seconds(),
    )
    return Task(kind="projects", of=projects.client.org, run=partial(watcher.run, first), clock=clock)


def _costs(settings: Settings, billing: BillingSource, prices: Prices, services: Services, *, first: float) -> Task:
    clock = WatchedClock(services.clock)
    costs = CostWatcher(
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
    return Task(kind="costs", of=billing.org, run=partial(costs.run, first), clock=clock)
