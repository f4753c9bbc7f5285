"""Values as rows that more than one kind of write makes."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from monitor.domain.costs import Spending, TunedModel
from monitor.domain.news import Delivery
from monitor.store.documents import to_ms, write
from monitor.store.schema import PENDING, insert, outbox, tally

Row = dict[str, Any]
NANO: Final = 1_000_000_000

OUTBOX: Final = insert(outbox).on_conflict_do_nothing(index_elements=["key"])
_tally = insert(tally)
TALLY: Final = _tally.on_conflict_do_update(
    index_elements=["metric", "labels"], set_={"amount": tally.c.amount + _tally.excluded.amount}
)


def outbox_row(one: Delivery, at: datetime) -> Row:
    """A sealed envelope, due at once."""
    now = to_ms(at)
    topic, rest = one.subject.key.split("/", 1)
    return {
        "key": one.key,
        "notifier": one.notifier,
        "org": topic,
        "job": rest,
        "seq": one.seq,
        "message": write(one.message),
        "state": PENDING,
        "created_at": now,
        "due_at": now,
        "touched_at": now,
        "attempts": 0,
        "ambiguous": 0,
    }


def model_row(one: TunedModel) -> Row:
    """A tuned model as a row."""
    return {
        "org": one.org,
        "id": one.id,
        "base": one.base,
        "shutdown": one.shutdown.isoformat() if one.shutdown is not None else None,
        "listed": int(one.listed),
        "shared": int(one.shared),
    }


def spending_row(one: Spending) -> Row:
    """A spending as a row."""
    return {
        "org": one.org,
        "job": one.job,
        "at": to_ms(one.at),
        "nanodollars": nano(one.usd),
        "doc": write(one),
    }


def nano(usd: Decimal) -> int:
    """Whole nano-dollars; the rest is cut."""
    return int(usd * NANO)
