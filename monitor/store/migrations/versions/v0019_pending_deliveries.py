"""Indexes of pending deliveries only, in the order in which they are sent.

With the former index, the first of many deliveries that were due at the same time was found by reading all of them, and
so was each that is held back. Settled deliveries, which are nearly all of a large store, were in it as well.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

_IN_ORDER = ["notifier", "redelivered", "due_at", "created_at", "org", "subject_id"]
_OF_GROUP = ["notifier", "hold", "created_at", "org", "subject_id", "seq"]
_BY_TIME = ["notifier", "due_at", "hold"]


def upgrade() -> None:
    """Deliveries stay as they are."""
    op.drop_index("outbox_due", "outbox")
    pending, held = sa.text("state = 'pending'"), sa.text("state = 'pending' AND hold IS NOT NULL")
    op.create_index("outbox_due", "outbox", _IN_ORDER, sqlite_where=pending, postgresql_where=pending)
    op.create_index("outbox_held", "outbox", _OF_GROUP, sqlite_where=held, postgresql_where=held)
    op.create_index("outbox_held_due", "outbox", _BY_TIME, sqlite_where=held, postgresql_where=held)
