"""Puts stored transitions into the outbox once more, a bounded number at a time."""

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
    """Tell again what the wish names: page by page, each read, decided and committed by itself.

    An error leaves what was done before it: the same wish again leaves alone what still waits of that, and tells once
    more what went out meanwhile. Raises StoreError.
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
    """All dead letters wait again; how many. Raises StoreError."""
    count = await outbox.requeue(None)
    log.info("deliveries.requeued", count=count)
    return count
