"""The daemon's own counters: what it asked, what it sent, how fast it was. They start anew with the process."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from monitor import __version__
from monitor.domain.flow import Reason

OTHER: Final = "other"
TASKS: Final = ("watcher", "models", "costs", "budgets", "outages", "courier", "pruning", "reloading")
OPERATIONS: Final = (
    "list_jobs",
    "get_job",
    "list_events",
    "get_file",
    "get_content",
    "list_models",
    "list_usage",
    "list_costs",
)
SKIP_REASONS: Final = frozenset({"not_an_object", "bad_id", "bad_figure", "bad_row", "foreign", "empty"})
_CODES: Final = frozenset({*(str(code) for code in range(100, 600)), "timeout", "error"})
_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_MOST_REASONS: Final = 64

_POLL_SECONDS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LAG_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 5)
_DELAY_SECONDS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 120, 300, 900, 1800, 3600)


class Own:
    """Counts what the program does. Any label value that is not of a closed set becomes `other`."""

    def __init__(self, *, version: str = __version__, revision: str = "unknown") -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # prometheus_client forgot the annotation
        self.registry = CollectorRegistry()
        self._orgs: frozenset[str] = frozenset()
        self._notifiers: frozenset[str] = frozenset()
        self._reasons: set[str] = set()
        self._refused: frozenset[str] = frozenset()
        self._asking()
        self._sending()
        self._running(version, revision)

    def _asking(self) -> None:
        into = self.registry
        self._polls = Counter(
            "finetune_org_polls",
            "Polls of an organisation, good and bad.",
            ["org"],
            registry=into,
        )
        self._poll_errors = Counter(
            "finetune_org_poll_errors", "Polls that failed, by the reason.", ["org", "reason"], registry=into
        )
        self._requests = Counter(
            "finetune_api_requests",
            "Requests to the provider's API, by operation and HTTP status code (or timeout, error).",
            ["org", "operation", "code"],
            registry=into,
        )
        self._skipped = Counter(
            "finetune_items_skipped",
            "Items of the provider's answers that were left out, or lack a figure, because it makes no sense.",
            ["org", "reason"],
            registry=into,
        )
        self._poll_duration = Histogram(
            "finetune_poll_duration_seconds",
            "How long one poll of an organisation takes, from the first request to the commit.",
            buckets=_POLL_SECONDS,
            registry=into,
        )
        self._delay = Histogram(
            "finetune_detection_delay_seconds",
            "Time from the end of a job, by the provider's clock, to its being stored here.",
            buckets=_DELAY_SECONDS,
            registry=into,
        )

    def _sending(self) -> None:
        into = self.registry
        self._sent = Counter(
            "finetune_notifications_sent", "Notifications that their receiver accepted.", ["notifier"], registry=into
        )
        self._failed = Counter(
            "finetune_notifications_failed",
            "Attempts to send a notification that failed and are repeated, by the reason.",
            ["notifier", "reason"],
            registry=into,
        )
        self._dead = Counter(
            "finetune_notifications_dead",
            "Notifications that were given up, by the reason.",
            ["notifier", "reason"],
            registry=into,
        )
        self._parked = Gauge(
            "finetune_notifier_parked",
            "1 while a notifier is not used because its receiver refuses its address or credentials for good.",
            ["notifier"],
            registry=into,
        )

    def _running(self, version: str, revision: str) -> None:
        into = self.registry
        self._reload_ok = Gauge(
            "finetune_config_last_reload_successful",
            "1 if the last reading of the configuration succeeded, 0 if it was refused.",
            registry=into,
        )
        self._reload_at = Gauge(
            "finetune_config_last_reload_success_timestamp_seconds",
            "When the configuration was last read with success.",
            registry=into,
        )
        self._restarts = Counter(
            "finetune_task_restarts",
            "Internal loops that broke off through a bug and were begun anew; the log says which.",
            ["task"],
            registry=into,
        )
        for task in TASKS:
            self._restarts.labels(task)
        self._lag = Histogram(
            "finetune_monitor_loop_lag_seconds",
            "By how much the event loop was late for a tick: for so long something held it up.",
            buckets=_LAG_SECONDS,
            registry=into,
        )
        self._tasks = Gauge("finetune_monitor_tasks", "Tasks of the event loop.", registry=into)
        build = Gauge(
            "finetune_monitor_build_info",
            "A metric that is always 1; its labels say which program this is.",
            ["version", "revision", "python"],
            registry=into,
        )
        python = ".".join(str(part) for part in sys.version_info[:3])
        build.labels(version=version, revision=revision, python=python).set(1)

    def watch(self, orgs: Iterable[str], notifiers: Iterable[str]) -> None:
        """Start the series of what is configured at 0, and drop those of what no longer is."""
        before = self._orgs, self._notifiers
        self._orgs, self._notifiers = frozenset(orgs), frozenset(notifiers)
        for org in before[0] - self._orgs:
            for metric in (self._polls, self._poll_errors, self._requests):
                metric.remove_by_labels({"org": org})
        for notifier in before[1] - self._notifiers:
            for counted in (self._sent, self._failed, self._dead, self._parked):
                counted.remove_by_labels({"notifier": notifier})
        for org in self._orgs:
            self._polls.labels(org)
            for reason in Reason:
                self._poll_errors.labels(org, reason.value)
        for notifier in self._notifiers:
            self._sent.labels(notifier)
            self._parked.labels(notifier)

    def polled(self, org: str, seconds: float) -> None:
        """A poll came to its end, well or not."""
        self._polls.labels(self._org(org)).inc()
        self._poll_duration.observe(max(seconds, 0.0))

    def poll_failed(self, org: str, reason: Reason) -> None:
        """A poll failed."""
        self._poll_errors.labels(self._org(org), reason.value).inc()

    def requested(self, org: str, operation: str, code: str) -> None:
        """One request was answered with this HTTP status, or ended in `timeout` or `error`."""
        known = operation if operation in OPERATIONS else OTHER
        self._requests.labels(self._org(org), known, code if code in _CODES else OTHER).inc()

    def skipped(self, org: str, reason: str, items: int) -> None:
        """So many items of an answer were left out, or lack a figure."""
        known = reason if reason in SKIP_REASONS else OTHER
        self._skipped.labels(self._org(org), known).inc(items)

    def detected(self, seconds: float) -> None:
        """A job's end was stored this long after it happened."""
        self._delay.observe(max(seconds, 0.0))

    def sent(self, notifier: str) -> None:
        """The receiver accepted a message."""
        self._sent.labels(self._notifier(notifier)).inc()

    def failed(self, notifier: str, reason: str) -> None:
        """An attempt failed and will be repeated."""
        self._failed.labels(self._notifier(notifier), self._reason(reason)).inc()

    def dead(self, notifier: str, reason: str) -> None:
        """A message was given up."""
        self._dead.labels(self._notifier(notifier), self._reason(reason)).inc()

    def park(self, notifier: str, parked: bool) -> None:
        """Say whether the notifier is out of use."""
        self._parked.labels(self._notifier(notifier)).set(parked)
        self._refused = self._refused | {notifier} if parked else self._refused - {notifier}

    @property
    def parked(self) -> frozenset[str]:
        """The configured notifiers that are out of use."""
        return self._refused & self._notifiers

    def restarted(self, task: str) -> None:
        """A loop broke off through a bug and is begun anew."""
        self._restarts.labels(task if task in TASKS else OTHER).inc()

    def ticked(self, late: float) -> None:
        """The event loop did a round, so many seconds late."""
        self._lag.observe(max(late, 0.0))

    def counted(self, tasks: int) -> None:
        """How many tasks the event loop has."""
        self._tasks.set(tasks)

    def reloaded(self, ok: bool, at: datetime) -> None:
        """The configuration was read, or refused."""
        self._reload_ok.set(ok)
        if ok:
            self._reload_at.set(at.timestamp())

    def _org(self, org: str) -> str:
        return org if org in self._orgs else OTHER

    def _notifier(self, notifier: str) -> str:
        return notifier if notifier in self._notifiers else OTHER

    def _reason(self, reason: str) -> str:
        """The channels' closed words. They are not known here, so that their shape and number are what is checked."""
        if reason in self._reasons:
            return reason
        if len(self._reasons) >= _MOST_REASONS or not _WORD.fullmatch(reason):
            return OTHER
        self._reasons.add(reason)
        return reason
