"""Logs and measures the changes that a poll has committed."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Final

from monitor.domain.diff import GONE
from monitor.domain.flow import Change, TransitionKind
from monitor.domain.model import Status
from monitor.log import get_logger
from monitor.metrics.process import ProcessMetrics

log = get_logger()

_LISTED: Final = 50  # transitions that are logged singly; the rest is summarised, because each line takes 170 µs


def new_ends(change: Change) -> list[str]:
    """The ids of jobs that have ended, without those of a baseline."""
    news = (transition for transition in change.transitions if transition.kind is not TransitionKind.BASELINE)
    return [transition.job for transition in news if transition.after.final]


def report(change: Change, *, now: datetime, process: ProcessMetrics, unknown_statuses: set[str]) -> None:
    """Log and measure a committed change. Statuses that are logged as unknown are added to `unknown_statuses`."""
    jobs = {tracked.job.id: tracked.job for tracked in change.tracked}
    news = [transition for transition in change.transitions if transition.kind is not TransitionKind.BASELINE]
    if change.based_on == 0:
        log.info("org.first_seen", org=change.org, jobs=len(change.transitions))
    for transition in news[:_LISTED]:
        fields = {"org": change.org, "job": transition.job, "seq": transition.seq}
        log.info("job.changed", kind=transition.kind, before=transition.before, after=transition.after, **fields)
    if len(news) > _LISTED:
        more = Counter(str(transition.after) for transition in news[_LISTED:])
        log.info("jobs.changed", org=change.org, more=len(news) - _LISTED, after=dict(more))
    for job_id in new_ends(change):
        ended = jobs[job_id].finished_at
        if ended is not None:
            process.detected(max((now - ended).total_seconds(), 0.0))
    for job in jobs.values():
        if job.status is Status.UNKNOWN and job.raw_status not in (GONE, *unknown_statuses):
            unknown_statuses.add(job.raw_status)
            log.warning("job.unknown_status", org=change.org, job=job.id, status=job.raw_status)
