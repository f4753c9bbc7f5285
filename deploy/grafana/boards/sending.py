"""The lower half of the health dashboard: notifications, and the process itself."""

from __future__ import annotations

from typing import Final

from deploy.grafana.boards.board import Place
from deploy.grafana.boards.panels import lines, query
from deploy.grafana.boards.queries import MONITOR, one, own_quantile
from deploy.grafana.boards.tables import Column, rows

RELOADED: Final = "finetune_config_last_reload_success_timestamp_seconds"
PARKED: Final = {"0": ("in use", "green"), "1": ("suspended", "red")}


def notifications() -> list[Place]:
    """The panels of the outbox, of deliveries and of failures."""
    pending = one("finetune_outbox_pending", "notifier", MONITOR)
    oldest = one("finetune_outbox_oldest_timestamp_seconds", "notifier", MONITOR)
    sent = f"sum by (notifier) (finetune_notifications_sent_total{{{MONITOR}}})"
    failed = f"sum by (notifier) (finetune_notifications_failed_total{{{MONITOR}}}) or 0 * {sent}"
    dead = f"sum by (notifier) (finetune_notifications_dead_total{{{MONITOR}}}) or 0 * {sent}"
    return [
        Place(
            rows(
                "Notifiers",
                "Since the monitor started, across replicas: deliveries, failed attempts, and dead letters. A "
                "suspended notifier is permanently rejected by its receiver and needs another configuration.",
                {"notifier": "Notifier"},
                [
                    Column(title="State", ask=one("finetune_notifier_parked", "notifier", MONITOR), words=PARKED),
                    Column(title="Sent", ask=sent, decimals=0),
                    Column(title="Failed attempts", ask=failed, decimals=0),
                    Column(title="Dead letters", ask=dead, decimals=0),
                ],
                sort=("Notifier", False),
            ),
            8,
        ),
        Place(
            lines(
                "Pending notifications by notifier",
                "Notifications in the outbox.",
                query(pending, "{{notifier}}"),
                decimals=0,
                axis_soft_max=1,
            ),
            8,
        ),
        Place(
            lines(
                "Oldest pending notification",
                "How long the oldest notification of each notifier has been waiting; 0 if none is.",
                query(f"time() - {oldest} or 0 * {pending}", "{{notifier}}"),
                unit="s",
            ),
            8,
        ),
        Place(
            lines(
                "Sent per hour",
                "Notifications delivered in the hour before each point.",
                query(
                    f"sum by (notifier) (increase(finetune_notifications_sent_total{{{MONITOR}}}[1h]))", "{{notifier}}"
                ),
            ),
            8,
        ),
        Place(
            lines(
                "Failed attempts per hour",
                "Attempts in the hour before each point that failed and are retried, by notifier and reason.",
                query(_in_an_hour("finetune_notifications_failed_total"), "{{notifier}} {{reason}}"),
                axis_soft_max=1,
            ),
            8,
        ),
        Place(
            lines(
                "Dead letters per hour",
                "Notifications that became dead letters in the hour before each point, by notifier and reason.",
                query(_in_an_hour("finetune_notifications_dead_total"), "{{notifier}} {{reason}}"),
                axis_soft_max=1,
            ),
            8,
        ),
    ]


def _in_an_hour(metric: str) -> str:
    """The growth in an hour; 0 for a notifier without any."""
    series = f"{metric}{{{MONITOR}}}"
    first = f"sum by (notifier, reason) ({series} unless {series} offset 1h or increase({series}[1h]))"
    nothing = f"0 * {one('finetune_notifications_sent_total', 'notifier', MONITOR)} unless on (notifier) {series}"
    return f"{first}\nor {nothing}"


def process() -> list[Place]:
    """The panels of versions, restarts and scrapes."""
    return [
        Place(
            rows(
                "Versions",
                "The version each replica is running.",
                {"instance": "Replica", "version": "Version", "revision": "Revision", "python": "Python"},
                [
                    Column(ask=one("finetune_monitor_build_info", "instance, version, revision, python", MONITOR)),
                    Column(
                        title="Configuration",
                        ask=f"1000 * {one(RELOADED, 'instance', MONITOR)}",
                        unit="dateTimeFromNow",
                    ),
                ],
                sort=("Replica", False),
            ),
            8,
        ),
        Place(
            lines(
                "Loop restarts",
                "Internal loops that crashed on a bug in the hour before each point and were restarted; the "
                "log says why.",
                query(f"sum by (task) (increase(finetune_task_restarts_total{{{MONITOR}}}[1h]))", "{{task}}"),
                axis_soft_max=1,
            ),
            8,
        ),
        Place(
            lines(
                "Event loop lag",
                "How late the event loop was, because something blocked it, over the hour before each point.",
                *(
                    query(own_quantile(share, "finetune_monitor_loop_lag_seconds"), f"{share:.0%}")
                    for share in (0.50, 0.90, 0.99)
                ),
                unit="s",
            ),
            8,
        ),
        Place(
            lines(
                "Event loop tasks",
                "Concurrent tasks. The number grows with organisations and readers, never with time.",
                query(one("finetune_monitor_tasks", "instance", MONITOR), "{{instance}}"),
            ),
            8,
        ),
        Place(
            lines(
                "Scrape duration",
                "How long Prometheus waits for /metrics.",
                query(f"scrape_duration_seconds{{{MONITOR}}}", "{{instance}}"),
                unit="s",
            ),
            8,
        ),
        Place(
            lines(
                "Series per scrape",
                "Number of series in a scrape.",
                query(f"scrape_samples_scraped{{{MONITOR}}}", "{{instance}}"),
            ),
            8,
        ),
    ]
