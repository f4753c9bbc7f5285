"""The health dashboard's lower half: whether notifications go out, and how the process itself runs."""

from __future__ import annotations

from typing import Final

from deploy.grafana.boards.board import Place
from deploy.grafana.boards.panels import lines, query
from deploy.grafana.boards.queries import one, own_quantile
from deploy.grafana.boards.tables import Column, rows

SCRAPE: Final = 'job="finetune-monitor"'
"""The name of the scrape job; the alert on a missing monitor knows it as well."""
PARKED: Final = {"0": ("in use", "green"), "1": ("parked", "red")}


def notifications() -> list[Place]:
    """The outbox, what was accepted, what fails."""
    pending = one("finetune_outbox_pending", "notifier", "")
    oldest = one("finetune_outbox_oldest_timestamp_seconds", "notifier", "")
    sent = "sum by (notifier) (finetune_notifications_sent_total)"
    failed = f"sum by (notifier) (finetune_notifications_failed_total) or 0 * {sent}"
    dead = f"sum by (notifier) (finetune_notifications_dead_total) or 0 * {sent}"
    return [
        Place(
            rows(
                "Notifiers",
                "Since the monitor started, over all replicas: what was accepted, which attempts failed, what was "
                "given up. A parked notifier is refused for good and waits for another configuration.",
                {"notifier": "Notifier"},
                [
                    Column(title="State", ask=one("finetune_notifier_parked", "notifier", ""), words=PARKED),
                    Column(title="Sent", ask=sent, decimals=0),
                    Column(title="Failed attempts", ask=failed, decimals=0),
                    Column(title="Given up", ask=dead, decimals=0),
                ],
                sort=("Notifier", False),
            ),
            8,
        ),
        Place(
            lines(
                "Waiting notifications",
                "In the outbox, by notifier.",
                query(pending, "{{notifier}}"),
                decimals=0,
                axis_soft_max=1,
            ),
            8,
        ),
        Place(
            lines(
                "Age of the oldest",
                "How long the oldest notification of each notifier has waited; 0 where none waits.",
                query(f"time() - {oldest} or 0 * {pending}", "{{notifier}}"),
                unit="s",
            ),
            8,
        ),
        Place(
            lines(
                "Sent in an hour",
                "Notifications that were accepted in the hour before each moment.",
                query("sum by (notifier) (increase(finetune_notifications_sent_total[1h]))", "{{notifier}}"),
            ),
            8,
        ),
        Place(
            lines(
                "Failed attempts in an hour",
                "Attempts of the hour before each moment that failed and are repeated, by notifier and reason.",
                query(_in_an_hour("finetune_notifications_failed_total"), "{{notifier}} {{reason}}"),
                axis_soft_max=1,
            ),
            8,
        ),
        Place(
            lines(
                "Given up in an hour",
                "Notifications that were given up in the hour before each moment, by notifier and reason.",
                query(_in_an_hour("finetune_notifications_dead_total"), "{{notifier}} {{reason}}"),
                axis_soft_max=1,
            ),
            8,
        ),
    ]


def _in_an_hour(metric: str) -> str:
    """Growth in an hour; 0 of a notifier that never had any."""
    first = f"sum by (notifier, reason) ({metric} unless {metric} offset 1h or increase({metric}[1h]))"
    nothing = f"0 * max by (notifier) (finetune_notifications_sent_total) unless on (notifier) {metric}"
    return f"{first}\nor {nothing}"


def process() -> list[Place]:
    """Versions, restarts, and what a scrape costs."""
    return [
        Place(
            rows(
                "Versions",
                "The program of each replica.",
                {"instance": "Replica", "version": "Version", "revision": "Revision", "python": "Python"},
                [
                    Column(ask="max by (instance, version, revision, python) (finetune_monitor_build_info)"),
                    Column(
                        title="Configuration",
                        ask="1000 * max by (instance) (finetune_config_last_reload_success_timestamp_seconds)",
                        unit="dateTimeFromNow",
                    ),
                ],
                sort=("Replica", False),
            ),
            8,
        ),
        Place(
            lines(
                "Loops begun anew",
                "Internal loops that broke off through a bug in the hour before each moment and were begun anew; the "
                "log says why.",
                query("sum by (task) (increase(finetune_task_restarts_total[1h]))", "{{task}}"),
                axis_soft_max=1,
            ),
            8,
        ),
        Place(
            lines(
                "Lag of the event loop",
                "By how much the loop was late for a tick, over the hour before each moment: for so long something "
                "held up everything else.",
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
                "Tasks of the event loop",
                "How many things the monitor has under way. It grows with organisations and readers, never with time.",
                query("max by (instance) (finetune_monitor_tasks)", "{{instance}}"),
            ),
            8,
        ),
        Place(
            lines(
                "Time of a scrape",
                "How long Prometheus waited for /metrics.",
                query(f"scrape_duration_seconds{{{SCRAPE}}}", "{{instance}}"),
                unit="s",
            ),
            8,
        ),
        Place(
            lines(
                "Series of a scrape",
                "How many series a scrape brings.",
                query(f"scrape_samples_scraped{{{SCRAPE}}}", "{{instance}}"),
            ),
            8,
        ),
    ]
