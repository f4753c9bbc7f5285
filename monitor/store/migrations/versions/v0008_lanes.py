"""What is redelivered goes out after what is new; news of a budget knows the amount that it was judged by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """All that waits counts as new, and by which amounts budgets were judged so far is not known."""
    op.add_column("outbox", sa.Column("redelivered", sa.Integer, nullable=False, server_default="0"))
    op.drop_index("outbox_due", "outbox")
    op.create_index("outbox_due", "outbox", ["state", "notifier", "redelivered", "due_at"])
    op.add_column("notice", sa.Column("judged_by", sa.Text))
