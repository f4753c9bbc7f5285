"""Redelivers stored transitions, and requeues dead letters."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import structlog
from anyio import to_thread

from monitor.domain.decide import Policy
from monitor.domain.replay import Replayed, ReplayRequest, plan
from monitor.store import Outbox

log = structlog.get_logger(__name__)


async def replay(outbox: Outbox, policies: Mapping[str, Policy], request: ReplayRequest, now: datetime) -> Replayed:
    """Redeliver the requested transitions page by page, with one transaction per page. Raises StoreError.

    After an error, the pages before it stay redelivered. Repeating the request leaves their pending deliveries as they
    are, but sends those again that have gone out in the meantime.
    """
    replayed, after = Replayed(), None
    while True:
        page = await outbox.past(now - request.since, after=after)
        planned = await to_thread.run_sync(plan, page.items, policies, request.notifier)
        deliveries = planned.deliveries
        if not request.dry_run:
            waiting = await outbox.replay(planned)
            deliveries = tuple(delivery for delivery in deliveries if delivery.key in waiting)
        replayed, after = replayed.plus(deliveries, planned.waiting), page.next
        if after is None:
            break
    if not request.dry_run:
        log.info("deliveries.replayed", again=replayed.again, new=replayed.new, waiting=replayed.waiting)
    return replayed


async def requeue(outbox: Outbox) -> int:
    """Requeue all dead letters. Returns their number. Raises StoreError."""
    count = await outbox.requeue(None)
    log.info("deliveries.requeued", count=count)
    return count
