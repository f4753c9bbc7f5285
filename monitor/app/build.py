"""Builds the parts of the program from the settings. No other part knows the settings."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TextIO

import aiohttp
from aiolimiter import AsyncLimiter
from pydantic import SecretStr

from monitor import notifiers
from monitor.app.watchdog import Watchdog, WatchedClock
from monitor.clock import Clock
from monitor.config import ConfigError, Settings, web_config
from monitor.courier import Courier, DeliveryPolicy, Lanes
from monitor.courier.cards import CardEditor
from monitor.domain.decide import Policy
from monitor.domain.health import Health, OrgHealth
from monitor.domain.model import Status
from monitor.domain.naming import Naming
from monitor.domain.pace import Pace
from monitor.domain.pricing import Prices
from monitor.domain.render import Labelling
from monitor.metrics.process import ProcessMetrics
from monitor.notifiers import HttpNotifier, Notifier, NotifierSettings, chart
from monitor.providers import OrganizationSettings
from monitor.providers.base import Provider
from monitor.providers.openai.push import PushedOrganization
from monitor.secret import Redactor, Secret, is_secret
from monitor.source import Client, Limits, Source, Transport
from monitor.store import Stores
from monitor.watchers.accounts import Accounts
from monitor.watchers.jobs import JobWatcher
from monitor.watchers.long_reads import FIRST_SIGHT, LongReads
from monitor.watchers.state import StartGate
from monitor.web import AccessRules, Receiver


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The resources that all parts share and that outlive a reload of the configuration."""

    stores: Stores
    process: ProcessMetrics
    health: Health
    clock: Clock
    redactor: Redactor
    asking: Transport
    """The HTTP transport for requests to providers."""
    sending: aiohttp.ClientSession
    """The HTTP session of notifiers, which uses each connection once."""
    bursting: aiohttp.ClientSession
    """The HTTP session of notifiers whose targets recognise duplicates, which keeps its connections for a moment."""
    stream: TextIO
    """Where console notifiers print."""
    watchdog: Watchdog
    lanes: Lanes
    jitter: Callable[[], float] = random.SystemRandom().random
    """Returns a random number from 0 to 1."""


def source(
    settings: Settings,
    org: OrganizationSettings,
    *,
    transport: Transport,
    clock: Clock,
    redactor: Redactor,
    process: ProcessMetrics | None = None,
) -> Source:
    """The source of one organisation's jobs. `process` counts requests and skipped parts of the responses."""
    redactor.add(org.hidden())
    provider, rate = org.vendor(), settings.poll.max_requests_per_second
    client = Client(
        org=org.name,
        base_url=provider.base_url,
        auth=provider.auth,
        secrets={name: _credential(name, text, path, redactor) for name, (text, path) in org.credentials().items()},
        headers=provider.headers,
        query=provider.query,
        own_headers=_hidden(org.headers, redactor),
        header_lines=Secret(path=org.headers_file) if org.headers_file is not None else None,
        own_query=_hidden(org.query, redactor),
        transport=transport,
        limiter=AsyncLimiter(max(rate, 1.0), max(rate, 1.0) / rate),
        redact=redactor,
        clock=clock,
        count=partial(process.requested, org.name) if process is not None else lambda operation, code: None,
        skip=partial(process.skipped, org.name) if process is not None else lambda reason, items: None,
        limits=Limits(timeout=settings.poll.timeout.total_seconds()),
    )
    return Source(client=client, provider=provider, lookback=settings.poll.lookback)


def _credential(name: str, text: str | None, path: Path | None, redactor: Redactor) -> Secret:
    """A secret of an organisation.

    A credentials document is not masked as a whole: only its private key is secret, which its reader adds.
    """
    return Secret(text, path=path, redactor=None if name == "credentials" else redactor)


def _hidden(values: Mapping[str, SecretStr], redactor: Redactor) -> dict[str, Secret]:
    """The values of headers or query parameters. Only those that look secret are masked."""
    texts = {name: value.get_secret_value() for name, value in values.items()}
    return {name: Secret(text, redactor=redactor if is_secret(name, text) else None) for name, text in texts.items()}


def sources(settings: Settings, services: Services) -> dict[str, Source]:
    """The source of each organisation by name. All its users share one rate limit."""
    return {
        org.name: source(
            settings,
            org,
            transport=services.asking,
            clock=services.clock,
            redactor=services.redactor,
            process=services.process,
        )
        for org in settings.organizations
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class OrgPrices:
    """The prices for each organisation, built once for all that buy from the same seller."""

    settings: Settings
    published: Prices
    """The whole price table."""
    _made: dict[tuple[str, str | None, Naming], Prices] = field(default_factory=dict, init=False, repr=False)

    def of(self, provider: Provider, org: str) -> Prices:
        """The prices for one organisation."""
        seller = self.settings.pricing.like_of(org) or provider.seller
        key = provider.name, seller, provider.naming
        if key not in self._made:
            self._made[key] = self.published.of(provider.name, seller=seller, naming=provider.naming)
        return self._made[key]


def watchers(
    settings: Settings, prices: OrgPrices, services: Services, sources: Mapping[str, Source]
) -> Iterator[JobWatcher]:
    """The job watcher of each organisation. `sources` are those of the organisations by name."""
    gate = StartGate({org.name for org in settings.organizations})
    accounts = Accounts({org.name: sources[org.name].provider.base_url for org in settings.organizations})
    long_reads, first_sights = LongReads(), LongReads(longest=FIRST_SIGHT)
    for number, org in enumerate(settings.organizations):
        yield JobWatcher(
            source=sources[org.name],
            store=services.stores.jobs,
            policy=policy(settings, org, prices.of(sources[org.name].provider, org.name)),
            pace=Pace(
                interval=settings.poll.interval.total_seconds(),
                idle_interval=settings.poll.idle_interval.total_seconds(),
            ),
            events_interval=settings.poll.events_interval.total_seconds(),
            clock=WatchedClock(services.clock),
            reader_clock=WatchedClock(services.clock),
            number=number,
            count=len(settings.organizations),
            gate=gate,
            long_reads=long_reads,
            first_sights=first_sights,
            accounts=accounts,
            process=services.process,
            jitter=services.jitter,
        )


def receivers(settings: Settings, redactor: Redactor) -> dict[str, Receiver]:
    """The receivers of provider webhooks, by organisation."""
    found = {}
    for org in settings.organizations:
        push = org.vendor().push
        given = org.signing_secrets() if isinstance(org, PushedOrganization) else ()
        if push is not None and given:
            secrets = tuple(Secret(text, path=path, redactor=redactor) for text, path in given)
            found[org.name] = Receiver(push=push, secrets=secrets)
    return found


def policy(settings: Settings, org: OrganizationSettings, prices: Prices) -> Policy:
    """The policy for decisions about one organisation."""
    stall = settings.stall
    return Policy(
        labelling=_labelling(settings, org),
        stall_after={
            Status.VALIDATING: stall.validating,
            Status.QUEUED: stall.queued,
            Status.RUNNING: stall.running,
        },
        rules=settings.rules,
        prices=prices,
        lookback=settings.poll.lookback,
        place=org.place,
    )


def couriers(settings: Settings, services: Services) -> Iterator[Courier]:
    """The courier of each notifier."""
    for wanted in settings.notifiers:
        yield Courier(
            outbox=services.stores.outbox,
            notifier=_notifier(wanted, settings, services),
            clock=WatchedClock(services.clock),
            owner=services.stores.leases.owner,
            policy=_delivery_policy(settings),
            jitter=services.jitter,
            lanes=services.lanes,
            metrics=services.process,
            was=wanted.was,
        )


def card_editors(settings: Settings, services: Services) -> Iterator[CardEditor]:
    """The card editor of each notifier that keeps cards."""
    labellings = {org.name: _labelling(settings, org) for org in settings.organizations}
    for wanted in settings.notifiers:
        notifier = _notifier(wanted, settings, services) if wanted.keeps_cards else None
        if isinstance(notifier, HttpNotifier):
            yield CardEditor(
                store=services.stores.cards,
                notifier=notifier,
                clock=WatchedClock(services.clock),
                owner=services.stores.leases.owner,
                policy=_delivery_policy(settings),
                labellings=labellings,
                rules=settings.rules,
                curves=services.stores.jobs.curves,
                draw=chart.draw if wanted.shows_pictures and chart.available() else None,
                jitter=services.jitter,
                lanes=services.lanes,
                metrics=services.process,
            )


def _notifier(wanted: NotifierSettings, settings: Settings, services: Services) -> Notifier:
    return notifiers.build(
        wanted,
        session=services.sending,
        kept=services.bursting,
        redactor=services.redactor,
        timeout=settings.delivery.timeout.total_seconds(),
        stream=services.stream,
        public_only=settings.outbound.public_only,
    )


def _delivery_policy(settings: Settings) -> DeliveryPolicy:
    delivery = settings.delivery
    return DeliveryPolicy(
        timeout=delivery.timeout.total_seconds(),
        retry_base=delivery.retry_base.total_seconds(),
        retry_max=delivery.retry_max.total_seconds(),
        max_age=delivery.max_age,
    )


def _labelling(settings: Settings, org: OrganizationSettings) -> Labelling:
    return Labelling(labels=org.labels, monitor_url=settings.server.url)


def access(file: Path | None) -> AccessRules:
    """The access rules of the current web configuration file. Raises ValueError or OSError."""
    if file is None:
        return AccessRules()
    try:
        config = web_config(file)
    except ConfigError as error:
        raise ValueError("; ".join(map(str, error.problems))) from None
    return AccessRules(
        tls=config.tls_server_config.tls if config.tls_server_config is not None else None,
        users=dict(config.basic_auth_users),
        headers={str(name): text for name, text in config.http_server_config.headers.items()},
        file=file,
    )


def refresh(health: Health, settings: Settings) -> None:
    """Set the configured organisations and notifiers in the health. The state of those that stay is kept."""
    health.orgs = {org.name: _kept(health.orgs.get(org.name), org) for org in settings.organizations}
    health.notifiers = tuple(notifier.name for notifier in settings.notifiers)


def _kept(was: OrgHealth | None, org: OrganizationSettings) -> OrgHealth:
    now = was or OrgHealth(org=org.name, provider=org.provider)
    now.provider, now.labels = org.provider, org.labels
    return now
