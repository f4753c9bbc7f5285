"""Every organisation that was seen has a horizon; only jobs that succeeded are looked through for a missing price."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """The last time at which an organisation was written is the latest that can be said of it."""
    op.execute("UPDATE organization SET horizon = seen_at WHERE horizon IS NULL")
    op.execute("UPDATE job SET basis = NULL WHERE status <> 'succeeded' AND basis = 'unknown'")
