"""The health dashboard, upper half: polls, notifications at a glance, and requests to providers."""

from __future__ import annotations

from typing import Any, Final

from deploy.grafana.boards.board import Board, Place
from deploy.grafana.boards.panels import GOOD_AT_ZERO, lines, number, query
from deploy.grafana.boards.queries import MONITOR, ORG, one, own_quantile
from deploy.grafana.boards.sending import notifications, process
from deploy.grafana.boards.tables import Column, rows

UP: Final = {"0": ("down", "red"), "1": ("up", "green")}


def health() -> Board:
    """The health dashboard."""
    return Board(
        uid="finetune-health",
        title="Fine-tuning monitor health",
        text="Whether organisations can be polled, whether notifications go out, and how the monitor itself runs.",
        since="now-6h",
        rows=[
            ("", [Place(panel, 4, 4) for panel in _figures()]),
            ("Organisations and provider APIs", _organisations()),
            ("Latency", [Place(panel, 12) for panel in _delays()]),
            ("Notifications", notifications()),
            ("The process", process()),
        ],
    )


def _figures() -> list[Any]:
    return [
        number(
            "Monitors up",
            "Replicas that Prometheus can scrape.",
            query(f"sum(up{{{MONITOR}}})", "up"),
            colours=[(None, "red"), (1, "green")],
        ),
        number(
            "Organisations down",
            "Organisations whose last poll failed.",
            query(f"count({one('finetune_org_up', 'org', fold='min')} == 0) or vector(0)", "down"),
            colours=GOOD_AT_ZERO,
        ),
        number(
            "Pending notifications",
            "Notifications not delivered yet, across all notifiers.",
            query(f"sum({one('finetune_outbox_pending', 'notifier', MONITOR)})", "waiting"),
            colours=[(None, "green"), (100, "orange")],
        ),
        number(
            "Suspended notifiers",
            "Notifiers whose receiver permanently rejects them.",
            query(f"sum({one('finetune_notifier_parked', 'notifier', MONITOR)})", "parked"),
            colours=GOOD_AT_ZERO,
        ),
        number(
            "Configuration rejected",
            "Replicas that rejected the configuration at the last reload.",
            query(f"count(finetune_config_last_reload_successful{{{MONITOR}}} == 0) or vector(0)", "refused"),
            colours=GOOD_AT_ZERO,
        ),
        number(
            "Jobs without series",
            "Jobs beyond metrics.max_jobs: alerts and panels on single jobs do not cover them.",
            query(f"max(finetune_job_series_dropped{{{MONITOR}}})", "dropped"),
            colours=[(None, "green"), (1, "orange")],
        ),
    ]


def _organisations() -> list[Place]:
    errors = f"sum by (org) (increase(finetune_org_poll_errors_total{{{ORG}}}[1h]))"
    return [
        Place(
            rows(
                "Organisations",
                "Whether the last poll succeeded, the time since the last success, and failures in the last hour.",
                {"org": "Organisation"},
                [
                    Column(title="State", ask=one("finetune_org_up", "org", fold="min"), words=UP),
                    Column(
                        title="Last success",
                        ask=f"time() - {one('finetune_org_last_success_timestamp_seconds', 'org')}",
                        unit="s",
                        decimals=0,
                    ),
                    Column(title="Failed polls (1 h)", ask=errors, decimals=0),
                ],
                sort=("Organisation", False),
            ),
            8,
        ),
        Place(
            lines(
                "Polls",
                "Polls per second, successful and failed.",
                query(_per_second("finetune_org_polls_total", "org"), "{{org}}"),
                unit="ops",
            ),
            8,
        ),
        Place(
            lines(
                "Failed polls by reason",
                "Failed polls per second. auth needs a new key; rate_limited, unavailable and timeout usually clear up "
                "by themselves.",
                query(_per_second("finetune_org_poll_errors_total", "reason"), "{{reason}}"),
                unit="ops",
                axis_soft_max=1,
            ),
            8,
        ),
        Place(
            lines(
                "Requests by status code",
                "Requests to providers per second, by HTTP status code, timeout or error. 429 is a rate limit.",
                query(_per_second("finetune_api_requests_total", "code"), "{{code}}"),
                unit="reqps",
            ),
            12,
        ),
        Place(
            lines(
                "Requests by operation",
                "Requests to providers per second, by API operation.",
                query(_per_second("finetune_api_requests_total", "operation"), "{{operation}}"),
                unit="reqps",
            ),
            12,
        ),
    ]


def _per_second(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{ORG}}}[$__rate_interval]))"


def _delays() -> list[Any]:
    return [
        lines(
            title, text, *(query(own_quantile(share, metric), f"{share:.0%}") for share in (0.50, 0.90, 0.99)), unit="s"
        )
        for title, text, metric in (
            (
                "Detection delay",
                "From the end of a job, by the provider's clock, until it is stored; over the hour before each point.",
                "finetune_detection_delay_seconds",
            ),
            (
                "Poll duration",
                "From the first request to the commit, over the hour before each point.",
                "finetune_poll_duration_seconds",
            ),
            (
                "Poll lag",
                "How much later than due polls began, over the hour before each point.",
                "finetune_poll_lag_seconds",
            ),
            (
                "Delivery time",
                "From storing a transition to the receiver's acceptance, over the hour before each point.",
                "finetune_detection_to_delivery_seconds",
            ),
        )
    ]
