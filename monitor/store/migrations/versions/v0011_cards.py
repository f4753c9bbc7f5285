"""Jobs have cards: messages that are edited in place."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """What waits already goes out unchanged: it belongs to no card."""
    op.add_column("outbox", sa.Column("card", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "card",
        sa.Column("subject_kind", sa.Text, primary_key=True),
        sa.Column("org", sa.Text, primary_key=True),
        sa.Column("subject_id", sa.Text, primary_key=True),
        sa.Column("notifier", sa.Text, primary_key=True),
        sa.Column("channel", sa.Text, primary_key=True),
        sa.Column("place", sa.Text),
        sa.Column("reference", sa.Text),
        sa.Column("shown", sa.Text),
        sa.Column("changes", sa.BigInteger, nullable=False),
        sa.Column("edited_at", sa.BigInteger),
        sa.Column("due_at", sa.BigInteger),
        sa.Column("owner", sa.Text),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("posts", sa.BigInteger, nullable=False),
    )
    op.create_index("card_due", "card", ["notifier", "due_at"])
