"""Metric families of the monitor's own work that are read from the store: organisations' health and the outbox."""

from __future__ import annotations

from typing import Final

from monitor.metrics.family import Family, Rows
from monitor.metrics.labels import NAME, clean
from monitor.metrics.view import View


def _up(view: View) -> Rows:
    return {(name,): int(org.up) for name, org in view.health.orgs.items() if org.up is not None}


def _last_success(view: View) -> Rows:
    found = ((name, org.last_success) for name, org in view.health.orgs.items())
    return {(name,): at.timestamp() for name, at in found if at is not None}


def _trouble(view: View) -> Rows:
    return {
        (name, org.trouble.reason.value): 1
        for name, org in view.health.orgs.items()
        if org.trouble is not None and org.up is False
    }


def _pending(view: View) -> Rows:
    pending = dict.fromkeys(view.health.notifiers, 0)
    pending |= {name: backlog.pending for name, backlog in view.backlogs.items()}
    return {(clean(name, NAME),): count for name, count in pending.items()}


def _oldest(view: View) -> Rows:
    found = ((name, backlog.oldest) for name, backlog in view.backlogs.items())
    return {(clean(name, NAME),): oldest.timestamp() for name, oldest in found if oldest is not None}


MONITOR: Final[tuple[Family, ...]] = (
    Family(
        name="finetune_org_up",
        kind="gauge",
        text="1 if the last poll of the organisation succeeded, 0 if it failed.",
        labels=("org",),
        rows=_up,
    ),
    Family(
        name="finetune_org_last_success_timestamp_seconds",
        kind="gauge",
        text="When the last successful poll of the organisation was.",
        labels=("org",),
        rows=_last_success,
    ),
    Family(
        name="finetune_org_trouble",
        kind="gauge",
        text="1 for the reason why the last poll of the organisation failed; absent after a successful poll.",
        labels=("org", "reason"),
        rows=_trouble,
    ),
    Family(
        name="finetune_outbox_pending",
        kind="gauge",
        text="Notifications that wait to be sent or retried.",
        labels=("notifier",),
        rows=_pending,
    ),
    Family(
        name="finetune_outbox_oldest_timestamp_seconds",
        kind="gauge",
        text="When the oldest pending notification was created; absent while none is pending.",
        labels=("notifier",),
        rows=_oldest,
    ),
)
