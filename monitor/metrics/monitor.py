"""The series of the watching itself that are read from the snapshot and the health: organisations and the outbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from monitor.metrics.labels import NAME, clean
from monitor.metrics.view import View

Family = Callable[[View], Metric]


def org_up(view: View) -> Metric:
    """Whether an organisation can be watched."""
    metric = GaugeMetricFamily(
        "finetune_org_up", "1 if the last poll of the organisation succeeded, 0 if it failed.", labels=["org"]
    )
    for name, org in view.health.orgs.items():
        if org.up is not None:
            metric.add_metric([name], int(org.up))
    return metric


def org_last_success(view: View) -> Metric:
    """Since when an organisation was not seen."""
    metric = GaugeMetricFamily(
        "finetune_org_last_success_timestamp_seconds",
        "When a poll of the organisation last succeeded.",
        labels=["org"],
    )
    for name, org in view.health.orgs.items():
        if org.last_success is not None:
            metric.add_metric([name], org.last_success.timestamp())
    return metric


def org_trouble(view: View) -> Metric:
    """Why an organisation cannot be watched now."""
    metric = GaugeMetricFamily(
        "finetune_org_trouble",
        "1 for the reason why the last poll of the organisation failed; absent after a good one.",
        labels=["org", "reason"],
    )
    for name, org in view.health.orgs.items():
        if org.trouble is not None and org.up is False:
            metric.add_metric([name, org.trouble.reason.value], 1)
    return metric


def outbox_pending(view: View) -> Metric:
    """What is still to be sent."""
    metric = GaugeMetricFamily(
        "finetune_outbox_pending", "Notifications that wait to be sent or sent again.", labels=["notifier"]
    )
    pending = dict.fromkeys(view.health.notifiers, 0)
    pending |= {name: backlog.pending for name, backlog in view.backlogs.items()}
    for name, count in pending.items():
        metric.add_metric([clean(name, NAME)], count)
    return metric


def outbox_oldest(view: View) -> Metric:
    """Since when it waits."""
    metric = GaugeMetricFamily(
        "finetune_outbox_oldest_timestamp_seconds",
        "When the oldest waiting notification was made; absent while none waits.",
        labels=["notifier"],
    )
    for name, backlog in view.backlogs.items():
        if backlog.oldest is not None:
            metric.add_metric([clean(name, NAME)], backlog.oldest.timestamp())
    return metric


MONITOR: Final[tuple[Family, ...]] = (org_up, org_last_success, org_trouble, outbox_pending, outbox_oldest)
