"""PromQL of the dashboards: replicas export equal values, which are merged, and stored totals are subtracted."""

from __future__ import annotations

from typing import Final

CLUSTER: Final = 'cluster=~"$cluster"'
MONITOR: Final = f'{CLUSTER}, job=~"$monitor"'
"""The selected monitors: several may report to one Prometheus, Thanos or Mimir."""
ORG: Final = f'{MONITOR}, org=~"$org"'
FINAL: Final = "succeeded|failed|cancelled"
ACTIVE: Final = f'{ORG}, status!~"{FINAL}"'
JOB: Final = f'{ORG}, job_id="$job"'


def one(metric: str, by: str, where: str = ORG, *, fold: str = "max") -> str:
    """The metric without the duplicates of replicas. `by` are the labels to keep."""
    selector = f"{{{where}}}" if where else ""
    return f"{fold} by ({by}) ({metric}{selector})"


def active(expression: str) -> str:
    """The part of an expression that is about active jobs. It must have the labels `org` and `job_id`."""
    return f"{expression}\nand on (org, job_id) {one('finetune_job_status', 'org, job_id', ACTIVE)}"


def newest(metric: str) -> str:
    """A per-job metric for the `$top` newest jobs that have it at the end of the range, with the jobs' names."""
    at_end = f"{metric}{{{ORG}}} @ end()"
    created = f"max by (org, job_id) (finetune_job_created_timestamp_seconds{{{ORG}}} @ end())"
    chosen = f"topk($top, {created} and on (org, job_id) {at_end})"
    name = one("finetune_job_info", "org, job_id, name")
    return f"({one(metric, 'org, job_id')}\nand on (org, job_id) {chosen})\n* on (org, job_id) group_left (name) {name}"


def gained(metric: str, by: str, where: str = ORG, *, window: str = "1d") -> str:
    """The growth of a stored total.

    It is exact, whereas increase() misses the first value of a series and extrapolates.
    """
    selector = f"{{{where}}}"
    now, before = f"max by ({by}) ({metric}{selector})", f"max by ({by}) ({metric}{selector} offset {window})"
    return f"{now}\n  - ({before} or 0 * {now})"


def total(metric: str, by: str, where: str = ORG, *, to: str = "", window: str = "1d") -> str:
    """The growth of a stored total, summed by the labels `to`."""
    grouped = f"sum by ({to})" if to else "sum"
    return f"{grouped} (\n  {gained(metric, by, where, window=window)}\n)"


def quantile(share: float, metric: str, by: str, *, window: str = "1d") -> str:
    """A quantile of the new observations in a stored histogram."""
    return f"histogram_quantile({share:.2f}, {total(f'{metric}_bucket', f'{by}, le', to='le', window=window)})"


def own_quantile(share: float, metric: str, window: str = "1h") -> str:
    """A quantile of a histogram of the process, which is reset when the process restarts."""
    return f"histogram_quantile({share:.2f}, sum by (le) (rate({metric}_bucket{{{MONITOR}}}[{window}])))"
