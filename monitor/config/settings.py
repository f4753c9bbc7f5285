"""The settings: every key of the configuration file, with its default and its bounds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal

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


_GROUP_BY_THEMSELVES: Final = ("pagerduty", "alertmanager")


class PollSettings(Part):
    """How often the providers are asked."""

    interval: Annotated[Duration, AfterValidator(between("100ms", "1d"))] = timedelta(seconds=30)
    """Between two polls of an organisation that has a job which is not final."""
    idle_interval: Annotated[Duration, AfterValidator(between("100ms", "1d"))] = timedelta(minutes=5)
    """Between two polls of any other organisation."""
    events_interval: Annotated[Duration, AfterValidator(between("100ms", "1d"))] = timedelta(minutes=1)
    """Between two reads of one active job's event stream; it is also read as soon as the job's status changes."""
    costs_interval: Annotated[Duration, AfterValidator(between("100ms", "7d"))] = timedelta(hours=1)
    """Between two imports of an organisation's usage and bill, where it has an admin key."""
    models_interval: Annotated[Duration, AfterValidator(between("100ms", "7d"))] = timedelta(hours=6)
    """Between two reads of an organisation's list of models."""
    timeout: Annotated[Duration, AfterValidator(between("1s", "30s"))] = timedelta(seconds=30)
    """For one request, all of it."""
    max_requests_per_second: Annotated[float, Field(ge=0.01, le=1000)] = 5.0
    """To one organisation's API."""
    lookback: Annotated[Duration, AfterValidator(between("1h", "3650d"))] = timedelta(days=30)
    """How far back an organisation's history is read at first sight."""


class StallSettings(Part):
    """For how long a job may show no sign of life, or no step while it runs, before it counts as stalled.

    It also counts as that when its expected finish slips by more than half of what was left.
    """

    validating: Annotated[Duration, AfterValidator(between("100ms", "365d"))] = timedelta(hours=1)
    """While its files are validated."""
    queued: Annotated[Duration, AfterValidator(between("100ms", "365d"))] = timedelta(hours=6)
    """While it waits in the queue; where 20 or more jobs with its model are known, what 95 % of them waited counts."""
    running: Annotated[Duration, AfterValidator(between("100ms", "365d"))] = timedelta(hours=1)
    """While it runs."""


class Store(Part):
    """Where the monitor keeps what it knows."""

    url: Annotated[SecretStr, AfterValidator(_database)] = SecretStr("sqlite:///monitor.db")
    """`sqlite:///FILE`, where a relative file is in the working directory, or `postgresql://USER:PASSWORD@HOST/DATABASE`,
    which several replicas may share."""
    url_file: Path | None = None
    """A file with the address, where it holds a password."""
    lease: Annotated[Duration, AfterValidator(between("1s", "10m"))] = timedelta(seconds=30)
    """How long a replica that is silent keeps its organisations from the others, on PostgreSQL."""
    retention: Annotated[Duration, AfterValidator(between("1d", "3650d"))] = timedelta(days=90)
    """How long ended jobs and their events are kept."""

    def address(self) -> str:
        """Where the database is. Raises OSError or ValueError when the file cannot be read."""
        return text_of(self.url_file) if self.url_file is not None else self.url.get_secret_value()


class ServerSettings(Part):
    """The status page, the metrics and the JSON API."""

    listen: Listen = Address("127.0.0.1", 10877)
    """`HOST:PORT`, `[IPV6]:PORT`, or `:PORT` for every interface; port 0 is any free port."""
    hosts: Words = ()
    """Names by which requests may come, besides addresses and names that nobody can own in public."""
    web_config_file: Path | None = None
    """TLS and passwords, by the keys of Prometheus' exporter-toolkit; relative to the configuration file."""
    external_url: PublicUrl | None = None
    """Where people reach the page: links to it begin so. By default `http://` and `listen`."""
    enable_lifecycle: bool = False
    """Whether `POST /-/reload`, `/-/requeue` and `/-/replay` do what they say; SIGHUP always reloads."""

    @property
    def url(self) -> str:
        """What links to the page begin with; empty where that is not known, so that nothing links to it."""
        host = str(self.listen) if self.listen.host else f"localhost:{self.listen.port}"
        return self.external_url or (f"http://{host}" if self.listen.port else "")


class DeliverySettings(Part):
    """How hard notifications are tried."""

    timeout: Annotated[Duration, AfterValidator(between("100ms", "30s"))] = timedelta(seconds=15)
    """For one attempt."""
    retry_base: Annotated[Duration, AfterValidator(between("100ms", "1h"))] = timedelta(seconds=5)
    """The first wait after a failure; each later one is up to twice as long."""
    retry_max: Annotated[Duration, AfterValidator(between("100ms", "1d"))] = timedelta(minutes=10)
    """The longest wait between two attempts."""
    max_age: Annotated[Duration, AfterValidator(between("1s", "30d"))] = timedelta(hours=72)
    """After this long a notification is given up and becomes a dead letter."""

    @model_validator(mode="after")
    def _grows(self) -> DeliverySettings:
        if self.retry_base > self.retry_max:
            raise ValueError("retry_base should not be longer than retry_max")
        return self


class Outbound(Part):
    """Where notifications may go, besides what is never allowed (link-local, multicast and unspecified addresses)."""

    public_only: bool = False
    """Refuse every address that is not public, by whatever name it is reached."""


class MetricsSettings(Part):
    """Bounds of the series that exist per job."""

    job_retention: Annotated[Duration, AfterValidator(between("100ms", "365d"))] = timedelta(hours=24)
    """How long a job keeps its own series after its end."""
    max_jobs: Annotated[int, Field(ge=0, le=100_000)] = 5000
    """At most so many jobs have series of their own."""


class SellerRule(Part):
    """Whose published prices hold for an organisation that is not at the seller's own address."""

    org: Annotated[Words, Field(min_length=1)]
    """Names of organisations."""
    like: Literal["openai", "azure", "together", "fireworks", "vertex", "bedrock"]
    """The provider that published them."""


def _one(value: object) -> object:
    """`pricing:` may be a list of its parts."""
    if isinstance(value, list):
        files = [part["file"] for part in value if isinstance(part, dict) and "file" in part]
        rules = [part for part in value if not (isinstance(part, dict) and "file" in part)]
        return {"sellers": rules, **({"file": files[-1]} if files else {})}
    if isinstance(value, dict) and "org" in value and "sellers" not in value:
        rule = {key: value[key] for key in ("org", "like") if key in value}
        return {**{key: each for key, each in value.items() if key not in rule}, "sellers": [rule]}
    return value


class Pricing(Part):
    """What training costs. Built-in prices hold where the seller is that published them."""

    file: Path | None = None
    """A price table whose rows come before the packaged ones; relative to the configuration file."""
    sellers: tuple[SellerRule, ...] = ()
    """Organisations elsewhere for which published prices hold, too; `{org: NAME, like: openai}` is short for one."""

    def like_of(self, org: str) -> str | None:
        """The seller whose prices hold for an organisation; None where that is not said."""
        return next((rule.like for rule in self.sellers if org in rule.org), None)


PricingSection = Annotated[
    Pricing, BeforeValidator(_one, json_schema_input_type=Pricing | SellerRule | list[Pricing | SellerRule])
]


class Log(Part):
    """What the monitor says of itself on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe lines that are written."""
    format: Literal["json", "console"] = "json"
    """JSON lines for machines, plain lines for people."""


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
    """Where notifications can go."""
    mute_times: Mapping[Name, MuteTimeSettings] = Field(default_factory=dict)
    """Times in which routes hold back what they send, by name."""
    routes: tuple[RouteSettings, ...] = ()
    """Who is notified of what."""
    templates: Mapping[Name, TemplateSettings] = Field(default_factory=dict)
    """Messages in words of your own, by name."""
    digests: tuple[DigestSettings, ...] = ()
    """Regular reports."""
    pricing: Annotated[
        Pricing, BeforeValidator(_one, json_schema_input_type=Pricing | SellerRule | list[SellerRule])
    ] = Pricing()
    budgets: tuple[BudgetSettings, ...] = ()
    """How much may be spent."""
    log: Log = Log()

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The routes as the domain understands them."""
        bots = [one.name for one in self.notifiers if isinstance(one, SlackSettings) and one.channel is not None]
        mutes = {name: each.mute_time(name) for name, each in self.mute_times.items()}
        alone = frozenset(one.name for one in self.notifiers if one.type in _GROUP_BY_THEMSELVES)
        cards = frozenset(one.name for one in self.notifiers if one.keeps_cards)
        templates = {name: each.template(name) for name, each in self.templates.items()}
        return tuple(route.rule(bots, mutes, templates, alone=alone, cards=cards) for route in self.routes)

    @property
    def limits(self) -> tuple[Budget, ...]:
        """The budgets as the domain understands them."""
        return tuple(each.budget for each in self.budgets)


def overridden(
    settings: Settings, *, listen: str | None = None, log_level: str | None = None, log_format: str | None = None
) -> Settings:
    """The settings with what the command line says instead. Raises ValueError."""
    changes: dict[str, Any] = {}
    if listen is not None:
        changes["server"] = settings.server.model_copy(update={"listen": address(listen)})
    if log_level is not None or log_format is not None:
        overrides = {"level": log_level or settings.log.level, "format": log_format or settings.log.format}
        changes["log"] = Log.model_validate(overrides)
    return settings.model_copy(update=changes)
