"""The settings: all keys of the configuration file with their defaults and bounds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from monitor.config.address import Address, Listen, PublicUrl, address
from monitor.config.budgets import BudgetSettings
from monitor.config.durations import Duration, between
from monitor.config.parts import Part, Words
from monitor.config.routes import DigestSettings, MuteTimeSettings, Name, RouteSettings
from monitor.config.templates import TemplateSettings
from monitor.domain.budgets import Budget
from monitor.domain.routing import Rule
from monitor.notifiers import NotifierSettings
from monitor.notifiers.slack import SlackSettings
from monitor.providers import OrganizationSettings
from monitor.secret import text_of


def _database(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    if url.startswith("postgresql://"):
        return value
    if not url.startswith("sqlite:///") or url in {"sqlite:///", "sqlite:///:memory:"} or "?" in url:
        raise ValueError(
            "should be sqlite:///FILE (sqlite:////FILE for an absolute path), or postgresql://USER:PASSWORD@HOST/DATABASE"
        )
    return value


class PollSettings(Part):
    """How often providers are polled."""

    interval: Annotated[Duration, AfterValidator(between("100ms", "1d"))] = timedelta(seconds=30)
    """The time between two polls of an organisation that has active jobs."""
    idle_interval: Annotated[Duration, AfterValidator(between("100ms", "1d"))] = timedelta(minutes=5)
    """The time between two polls of any other organisation."""
    events_interval: Annotated[Duration, AfterValidator(between("100ms", "1d"))] = timedelta(minutes=1)
    """The time between two reads of an active job's event stream. It is also read when the job's status changes."""
    costs_interval: Annotated[Duration, AfterValidator(between("100ms", "7d"))] = timedelta(hours=1)
    """The time between two imports of the usage and bill of an organisation with an admin key."""
    models_interval: Annotated[Duration, AfterValidator(between("100ms", "7d"))] = timedelta(hours=6)
    """The time between two reads of an organisation's list of models."""
    timeout: Annotated[Duration, AfterValidator(between("1s", "30s"))] = timedelta(seconds=30)
    """The total timeout of one request."""
    max_requests_per_second: Annotated[float, Field(ge=0.01, le=1000)] = 5.0
    """The most requests per second for one organisation."""
    lookback: Annotated[Duration, AfterValidator(between("1h", "3650d"))] = timedelta(days=30)
    """How far back an organisation's history is read at first sight."""


class StallSettings(Part):
    """How long a job may show no activity, or no new step while it runs, before it counts as stalled.

    A running job also counts as stalled if its expected finish moves back by more than half of the remaining time.
    """

    validating: Annotated[Duration, AfterValidator(between("100ms", "365d"))] = timedelta(hours=1)
    """The limit while the files of a job are validated."""
    queued: Annotated[Duration, AfterValidator(between("100ms", "365d"))] = timedelta(hours=6)
    """The limit while a job is queued. If 20 or more jobs with its model are known, the 95th percentile of their queue
    times replaces it."""
    running: Annotated[Duration, AfterValidator(between("100ms", "365d"))] = timedelta(hours=1)
    """The limit while a job runs."""


class Store(Part):
    """The database."""

    url: Annotated[SecretStr, AfterValidator(_database)] = SecretStr("sqlite:///monitor.db")
    """The URL of the database: `sqlite:///FILE`, where FILE is relative to the working directory, or
    `postgresql://USER:PASSWORD@HOST/DATABASE`, which several replicas may share."""
    url_file: Path | None = None
    """A file with the URL, for a URL with a password."""
    lease: Annotated[Duration, AfterValidator(between("1s", "10m"))] = timedelta(seconds=30)
    """How long a replica that no longer responds keeps its organisations, on PostgreSQL."""
    retention: Annotated[Duration, AfterValidator(between("1d", "3650d"))] = timedelta(days=90)
    """How long finished jobs and their events are kept."""

    def address(self) -> str:
        """The URL of the database. Raises OSError or ValueError if `url_file` cannot be read."""
        return text_of(self.url_file) if self.url_file is not None else self.url.get_secret_value()


class ServerSettings(Part):
    """The server for the status page, the metrics and the JSON API."""

    listen: Listen = Address("127.0.0.1", 10877)
    """The address to listen on: `HOST:PORT`, `[IPV6]:PORT`, or `:PORT` for all interfaces. Port 0 is any free port."""
    hosts: Words = ()
    """Allowed host names of requests, besides IP addresses and names that cannot be registered publicly."""
    web_config_file: Path | None = None
    """A file with TLS and passwords in the format of Prometheus' exporter-toolkit. Its path is relative to the
    configuration file."""
    external_url: PublicUrl | None = None
    """The URL at which people reach the page, which links to it begin with. By default `http://` and `listen`."""
    enable_lifecycle: bool = False
    """Whether `POST /-/reload`, `/-/requeue` and `/-/replay` are allowed. SIGHUP always reloads."""

    @property
    def url(self) -> str:
        """The URL that links to the page begin with; empty if it is unknown, so that there are no links."""
        host = str(self.listen) if self.listen.host else f"localhost:{self.listen.port}"
        return self.external_url or (f"http://{host}" if self.listen.port else "")


class DeliverySettings(Part):
    """Timeouts and retries of notifications."""

    timeout: Annotated[Duration, AfterValidator(between("100ms", "30s"))] = timedelta(seconds=15)
    """The timeout of one attempt."""
    retry_base: Annotated[Duration, AfterValidator(between("100ms", "1h"))] = timedelta(seconds=5)
    """The longest wait after the first failure. It doubles with each attempt."""
    retry_max: Annotated[Duration, AfterValidator(between("100ms", "1d"))] = timedelta(minutes=10)
    """The longest wait between two attempts."""
    max_age: Annotated[Duration, AfterValidator(between("1s", "30d"))] = timedelta(hours=72)
    """The age at which a notification becomes a dead letter."""
    down_after: Annotated[Duration, AfterValidator(between("1s", "7d"))] = timedelta(minutes=15)
    """The time without an accepted message, while something fails, after which a notifier is announced as down."""

    @model_validator(mode="after")
    def _grows(self) -> DeliverySettings:
        if self.retry_base > self.retry_max:
            raise ValueError("retry_base should not be longer than retry_max")
        return self


class Outbound(Part):
    """Which addresses notifications may be sent to. Link-local, multicast and unspecified ones are never allowed."""

    public_only: bool = False
    """Whether to reject all addresses that are not public, also if a name resolves to them."""


class MetricsSettings(Part):
    """Bounds of the metric series per job."""

    job_retention: Annotated[Duration, AfterValidator(between("100ms", "365d"))] = timedelta(hours=24)
    """How long a job has its own series after its end."""
    max_jobs: Annotated[int, Field(ge=0, le=100_000)] = 5000
    """The most jobs that have their own series."""


class SellerRule(Part):
    """Published prices for organisations that are not at the seller's own address, such as behind a gateway."""

    org: Annotated[Words, Field(min_length=1)]
    """Names of organisations."""
    like: Literal["openai", "azure", "together", "fireworks", "vertex", "bedrock"]
    """The provider whose published prices apply."""


def _pricing_section(value: object) -> object:
    """Accept a list of the parts of `pricing`, or a single rule, in place of the section."""
    if isinstance(value, list):
        files = [part["file"] for part in value if isinstance(part, dict) and "file" in part]
        rules = [part for part in value if not (isinstance(part, dict) and "file" in part)]
        return {"sellers": rules, **({"file": files[-1]} if files else {})}
    if isinstance(value, dict) and "org" in value and "sellers" not in value:
        rule = {key: value[key] for key in ("org", "like") if key in value}
        return {**{key: item for key, item in value.items() if key not in rule}, "sellers": [rule]}
    return value


class Pricing(Part):
    """Prices. Built-in prices apply only to organisations at the seller that published them."""

    file: Path | None = None
    """A price table whose rows take precedence over the packaged ones, relative to the configuration file."""
    sellers: tuple[SellerRule, ...] = ()
    """Other organisations to which published prices apply. `pricing: {org: NAME, like: openai}` is short for one."""

    def like_of(self, org: str) -> str | None:
        """The seller whose published prices apply to an organisation by a rule; None without a rule."""
        return next((rule.like for rule in self.sellers if org in rule.org), None)


class Log(Part):
    """The log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level that is logged."""
    format: Literal["json", "console"] = "json"
    """The format: JSON lines for machines, or plain lines for people."""


class Settings(Part):
    """The configuration of finetune-monitor."""

    organizations: Annotated[tuple[OrganizationSettings, ...], Field(min_length=1)]
    """The organisations whose fine-tuning jobs are watched."""
    poll: PollSettings = PollSettings()
    stall: StallSettings = StallSettings()
    store: Store = Store()
    server: ServerSettings = ServerSettings()
    delivery: DeliverySettings = DeliverySettings()
    outbound: Outbound = Outbound()
    metrics: MetricsSettings = MetricsSettings()
    notifiers: tuple[NotifierSettings, ...] = ()
    """The targets of notifications."""
    mute_times: Mapping[Name, MuteTimeSettings] = Field(default_factory=dict)
    """Times in which routes hold back notifications, by name."""
    routes: tuple[RouteSettings, ...] = ()
    """The routes, which determine who is notified of what."""
    templates: Mapping[Name, TemplateSettings] = Field(default_factory=dict)
    """Your own message templates, by name."""
    digests: tuple[DigestSettings, ...] = ()
    """Regular reports."""
    pricing: Annotated[
        Pricing, BeforeValidator(_pricing_section, json_schema_input_type=Pricing | SellerRule | list[SellerRule])
    ] = Pricing()
    budgets: tuple[BudgetSettings, ...] = ()
    """Budgets for fine-tuning costs."""
    log: Log = Log()

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The routes as domain values."""
        bots = [one.name for one in self.notifiers if isinstance(one, SlackSettings) and one.channel is not None]
        mutes = {name: mute_time.mute_time(name) for name, mute_time in self.mute_times.items()}
        alone = frozenset(one.name for one in self.notifiers if one.groups_by_itself)
        cards = frozenset(one.name for one in self.notifiers if one.keeps_cards)
        templates = {name: template.template(name) for name, template in self.templates.items()}
        return tuple(route.rule(bots, mutes, templates, alone=alone, cards=cards) for route in self.routes)

    @property
    def limits(self) -> tuple[Budget, ...]:
        """The budgets as domain values."""
        return tuple(budget.budget for budget in self.budgets)


def overridden(
    settings: Settings, *, listen: str | None = None, log_level: str | None = None, log_format: str | None = None
) -> Settings:
    """The settings with the overrides of the command line. Raises ValueError."""
    changes: dict[str, Any] = {}
    if listen is not None:
        changes["server"] = settings.server.model_copy(update={"listen": address(listen)})
    if log_level is not None or log_format is not None:
        overrides = {"level": log_level or settings.log.level, "format": log_format or settings.log.format}
        changes["log"] = Log.model_validate(overrides)
    return settings.model_copy(update=changes)
