"""Metrics that this process counts itself, such as requests and durations. They start at 0 with the process.

All are updated on the event loop and kept in plain dicts, which makes increments and tens of thousands of series cheap.
A scrape in a worker thread copies each dict, which is atomic.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_left
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from monitor import __version__
from monitor.domain.flow import Reason
from monitor.metrics.family import Distribution, Family, Kind, Labels, Rows
from monitor.metrics.view import View

OTHER: Final = "other"
TASKS: Final = (
    "watcher", "reader", "leases", "hints", "models", "costs", "projects", "hosting", "budgets", "digests", "outages",
    "notifiers", "states", "courier", "cards", "pruning", "reloading",
)  # fmt: skip
OPERATIONS: Final = (
    "list_jobs",
    "get_job",
    "list_batches",
    "get_batch",
    "list_events",
    "list_checkpoints",
    "get_file",
    "get_content",
    "list_models",
    "list_usage",
    "list_costs",
    "list_projects",
    "list_deployments",
    "get_token",
)
SKIP_REASONS: Final = frozenset({"not_an_object", "bad_id", "bad_figure", "bad_row", "foreign", "empty", "unstorable"})
FIRST_SEEN_BY: Final = ("poll", "push")
CARD_RESULTS: Final = frozenset({"edited", "reposted", "abandoned", "failed"})
WEBHOOK_RESULTS: Final = ("accepted", "duplicate", "ignored", "bad_signature", "stale", "malformed")
_CODES: Final = frozenset({*(str(code) for code in range(100, 600)), "timeout", "error"})
_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_MOST_REASONS: Final = 64

_POLL_SECONDS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_LAG_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_LATE_SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_DELAY_SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 1800.0, 3600.0)


@dataclass(slots=True)
class _Values:
    """A counter or gauge: its values by label values."""

    name: str
    text: str
    labels: Labels = ()
    kind: Kind = "counter"
    rows: dict[Labels, float] = field(default_factory=dict)

    def add(self, *labels: str, amount: float = 1) -> None:
        """Increment a series; with 0, create it."""
        self.rows[labels] = self.rows.get(labels, 0) + amount

    def begin(self, label: str, before: frozenset[str], now: frozenset[str]) -> None:
        """Create the series of new values of its only label at 0, and drop those of removed values."""
        self.drop(label, before - now)
        for value in now:
            self.add(value, amount=0)

    def drop(self, label: str, values: Collection[str]) -> None:
        """Drop the series in which the label has one of these values."""
        at = self.labels.index(label)
        self.rows = {labels: value for labels, value in self.rows.items() if labels[at] not in values}

    @property
    def family(self) -> Family:
        """The metric family."""
        return Family(name=self.name, kind=self.kind, text=self.text, labels=self.labels, rows=self._copy)

    def _copy(self, _view: View) -> Rows:
        return self.rows.copy()


@dataclass(slots=True)
class _Histogram:
    """A histogram without labels."""

    name: str
    text: str
    bounds: tuple[float, ...]
    distribution: Distribution = field(init=False)

    def __post_init__(self) -> None:
        """Start without observations."""
        self.distribution = Distribution((0,) * (len(self.bounds) + 1), 0.0)

    def observe(self, seconds: float) -> None:
        """Count an observation. Negative ones become 0: other clocks may be ahead of ours."""
        seconds = max(seconds, 0.0)
        counts = list(self.distribution.counts)
        counts[bisect_left(self.bounds, seconds)] += 1
        self.distribution = Distribution(tuple(counts), self.distribution.sum + seconds)

    @property
    def family(self) -> Family:
        """The metric family."""
        return Family(
            name=self.name,
            kind="histogram",
            text=self.text,
            rows=lambda _view: {(): self.distribution},
            bounds=self.bounds,
        )


class ProcessMetrics:
    """The counters of this process. A label value that is not of a closed set becomes `other`."""

    def __init__(self, *, version: str = __version__, revision: str = "unknown") -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        """prometheus_client's metrics of any Python process: `process_*` and `python_info`."""
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._orgs: frozenset[str] = frozenset()
        self._notifiers: frozenset[str] = frozenset()
        self._routes: frozenset[str] = frozenset()
        self._templates: frozenset[str] = frozenset()
        self._reasons: set[str] = set()
        self._suspended: frozenset[str] = frozenset()
        providers = self._provider_metrics()
        deliveries = self._delivery_metrics()
        program = self._program_metrics(version, revision)
        self.families: tuple[Family, ...] = tuple(one.family for one in (*providers, *deliveries, *program))

    def _provider_metrics(self) -> tuple[_Values | _Histogram, ...]:
        self._polls = _Values("finetune_org_polls_total", "Polls of an organisation, successful or not.", ("org",))
        self._poll_errors = _Values(
            "finetune_org_poll_errors_total", "Polls that failed, by reason.", ("org", "reason")
        )
        self._requests = _Values(
            "finetune_api_requests_total",
            "Requests to the provider's API, by operation and HTTP status code (or timeout, error).",
            ("org", "operation", "code"),
        )
        self._skipped = _Values(
            "finetune_items_skipped_total",
            "Items of the provider's answers that were skipped or lost a figure, as malformed or unstorable.",
            ("org", "reason"),
        )
        self._webhooks = _Values(
            "finetune_webhooks_received_total",
            "Webhooks received for an organisation with a webhook_secret, by result.",
            ("org", "result"),
        )
        self._first_seen = _Values(
            "finetune_ends_first_seen_total",
            "Ends of jobs, by what reported them first: a poll, or a push by the provider's webhook.",
            ("org", "by"),
        )
        self._poll_duration = _Histogram(
            "finetune_poll_duration_seconds",
            "Duration of one poll of an organisation, from the first request to the commit.",
            _POLL_SECONDS,
        )
        self._poll_lag = _Histogram("finetune_poll_lag_seconds", "How much later than due polls began.", _LATE_SECONDS)
        self._delay = _Histogram(
            "finetune_detection_delay_seconds",
            "Time from the end of a job, by the provider's clock, to its commit in the store.",
            _DELAY_SECONDS,
        )
        return (
            self._polls, self._poll_errors, self._requests, self._skipped, self._webhooks, self._first_seen,
            self._poll_duration, self._poll_lag, self._delay,
        )  # fmt: skip

    def _delivery_metrics(self) -> tuple[_Values | _Histogram, ...]:
        self._routed = _Values(
            "finetune_route_notifications_total",
            "Notifications accepted by their receiver, by the name of the route.",
            ("route",),
        )
        self._sent = _Values(
            "finetune_notifications_sent_total", "Notifications accepted by their receiver.", ("notifier",)
        )
        self._failed = _Values(
            "finetune_notifications_failed_total",
            "Attempts to send a notification that failed and are retried, by reason.",
            ("notifier", "reason"),
        )
        self._dead = _Values(
            "finetune_notifications_dead_total",
            "Notifications that became dead letters, by reason.",
            ("notifier", "reason"),
        )
        self._cards = _Values(
            "finetune_card_edits_total",
            "Edits of cards by result: edited, reposted because the card was gone, abandoned, or failed and retried.",
            ("notifier", "result"),
        )
        self._suspended_rows = _Values(
            "finetune_notifier_parked",
            "1 while a notifier is suspended because its receiver permanently rejects its address or credentials.",
            ("notifier",),
            "gauge",
        )
        self._to_delivery = _Histogram(
            "finetune_detection_to_delivery_seconds",
            "Time from storing a transition to the receiver accepting its notification.",
            _DELAY_SECONDS,
        )
        self._templates_failed = _Values(
            "finetune_template_failures_total",
            "Notifications with the built-in text, because the template of their route could not be rendered.",
            ("template",),
        )
        sent = (self._sent, self._failed, self._dead, self._routed, self._cards)
        return *sent, self._suspended_rows, self._to_delivery, self._templates_failed

    def _program_metrics(self, version: str, revision: str) -> tuple[_Values | _Histogram, ...]:
        self._reload_ok = _Values(
            "finetune_config_last_reload_successful",
            "1 if the last load of the configuration succeeded, 0 if it was refused.",
            kind="gauge",
            rows={(): 0},
        )
        self._reload_at = _Values(
            "finetune_config_last_reload_success_timestamp_seconds",
            "When the configuration was last loaded successfully.",
            kind="gauge",
            rows={(): 0},
        )
        self._restarts = _Values(
            "finetune_task_restarts_total",
            "Internal loops that crashed and were restarted; the log has the traceback.",
            ("task",),
            rows={(task,): 0 for task in TASKS},
        )
        self._lag = _Histogram(
            "finetune_monitor_loop_lag_seconds",
            "How late the event loop was for a tick, because something blocked it.",
            _LAG_SECONDS,
        )
        self._tasks = _Values(
            "finetune_monitor_tasks", "Number of tasks of the event loop.", kind="gauge", rows={(): 0}
        )
        self._holds = _Values(
            "finetune_monitor_organizations",
            "Organisations that this replica polls; the sum over all replicas is the number of configured ones.",
            kind="gauge",
            rows={(): 0},
        )
        python = ".".join(str(part) for part in sys.version_info[:3])
        build = _Values(
            "finetune_monitor_build_info",
            "Always 1; the labels describe the running program.",
            ("version", "revision", "python"),
            "gauge",
            {(version, revision, python): 1},
        )
        return self._reload_ok, self._reload_at, self._restarts, self._lag, self._tasks, self._holds, build

    def watch(
        self,
        orgs: Iterable[str],
        notifiers: Iterable[str],
        routes: Iterable[str] = (),
        templates: Iterable[str] = (),
    ) -> None:
        """Create the series of what is configured at 0, and drop those of what no longer is."""
        before = self._orgs, self._notifiers, self._routes
        self._orgs, self._notifiers, self._routes = frozenset(orgs), frozenset(notifiers), frozenset(routes)
        self._templates, templates_before = frozenset(templates), self._templates
        self._routed.begin("route", before[2], self._routes)
        self._templates_failed.begin("template", templates_before, self._templates)
        asked = (self._polls, self._poll_errors, self._requests, self._skipped, self._webhooks, self._first_seen)
        for counted in asked:
            counted.drop("org", before[0] - self._orgs)
        for counted in (self._sent, self._failed, self._dead, self._cards, self._suspended_rows):
            counted.drop("notifier", before[1] - self._notifiers)
        for org in self._orgs:
            self._polls.add(org, amount=0)
            for reason in Reason:
                self._poll_errors.add(org, reason.value, amount=0)
            for by in FIRST_SEEN_BY:
                self._first_seen.add(org, by, amount=0)
        for notifier in self._notifiers:
            self._sent.add(notifier, amount=0)
            self._suspended_rows.add(notifier, amount=0)

    def polled(self, org: str, seconds: float) -> None:
        """A poll ended, successfully or not."""
        self._polls.add(self._org(org))
        self._poll_duration.observe(seconds)

    def poll_began(self, late: float) -> None:
        """A poll began this many seconds after it was due."""
        self._poll_lag.observe(late)

    def poll_failed(self, org: str, reason: Reason) -> None:
        """A poll failed."""
        self._poll_errors.add(self._org(org), reason.value)

    def requested(self, org: str, operation: str, code: str) -> None:
        """A request was answered with this HTTP status code, or ended in `timeout` or `error`."""
        known = operation if operation in OPERATIONS else OTHER
        self._requests.add(self._org(org), known, code if code in _CODES else OTHER)

    def skipped(self, org: str, reason: str, items: int) -> None:
        """Items of an answer were skipped or lack a figure."""
        self._skipped.add(self._org(org), reason if reason in SKIP_REASONS else OTHER, amount=items)

    def detected(self, seconds: float) -> None:
        """The end of a job was stored this many seconds after it happened."""
        self._delay.observe(seconds)

    def webhook_received(self, org: str, result: str) -> None:
        """A webhook arrived for an organisation that has a signing secret."""
        self._webhooks.add(self._org(org), result if result in WEBHOOK_RESULTS else OTHER)

    def first_seen(self, org: str, by: str) -> None:
        """The end of a job was seen first by `poll` or by `push`."""
        self._first_seen.add(self._org(org), by if by in FIRST_SEEN_BY else OTHER)

    def sent(self, notifier: str, seconds: float) -> None:
        """A receiver accepted a message this many seconds after its transition was stored."""
        self._sent.add(self._notifier(notifier))
        self._to_delivery.observe(seconds)

    def routed(self, route: str) -> None:
        """A receiver accepted a message of the route with this name."""
        self._routed.add(route if route in self._routes else OTHER)

    def template_failed(self, template: str) -> None:
        """A notification was sent with the built-in text, because its template failed."""
        self._templates_failed.add(template if template in self._templates else OTHER)

    def failed(self, notifier: str, reason: str) -> None:
        """An attempt failed and will be retried."""
        self._failed.add(self._notifier(notifier), self._reason(reason))

    def dead(self, notifier: str, reason: str) -> None:
        """A message became a dead letter."""
        self._dead.add(self._notifier(notifier), self._reason(reason))

    def card(self, notifier: str, result: str) -> None:
        """A card was `edited`, `reposted` or `abandoned`, or its edit `failed`."""
        self._cards.add(self._notifier(notifier), result if result in CARD_RESULTS else OTHER)

    def set_suspended(self, notifier: str, suspended: bool) -> None:
        """Set whether the notifier is suspended."""
        self._suspended_rows.rows[self._notifier(notifier),] = int(suspended)
        self._suspended = self._suspended | {notifier} if suspended else self._suspended - {notifier}

    @property
    def suspended(self) -> frozenset[str]:
        """The configured notifiers that are suspended."""
        return self._suspended & self._notifiers

    def restarted(self, task: str) -> None:
        """A loop crashed and is restarted."""
        self._restarts.add(task if task in TASKS else OTHER)

    def ticked(self, late: float) -> None:
        """The event loop ticked this many seconds late."""
        self._lag.observe(late)

    def counted(self, tasks: int) -> None:
        """Set the number of tasks of the event loop."""
        self._tasks.rows[()] = tasks

    def holds(self, organizations: int) -> None:
        """Set the number of organisations that this replica polls."""
        self._holds.rows[()] = organizations

    def reloaded(self, ok: bool, at: datetime) -> None:
        """The configuration was loaded, or refused."""
        self._reload_ok.rows[()] = int(ok)
        if ok:
            self._reload_at.rows[()] = at.timestamp()

    def _org(self, org: str) -> str:
        return org if org in self._orgs else OTHER

    def _notifier(self, notifier: str) -> str:
        return notifier if notifier in self._notifiers else OTHER

    def _reason(self, reason: str) -> str:
        """Channels have closed sets of reasons that are not known here, so only form and number are checked."""
        if reason in self._reasons:
            return reason
        if len(self._reasons) >= _MOST_REASONS or not _WORD.fullmatch(reason):
            return OTHER
        self._reasons.add(reason)
        return reason
