"""A replica holds organisations by a session of its own, one row however many they are, and shares what it knows of
targets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Leases are taken anew: whoever had them has an older version, and stops."""
    op.drop_table("lease")
    op.create_table(
        "lease",
        sa.Column("org", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
    )
    op.create_table(
        "replica",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "lane",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text),
        sa.Column("free_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "suspension",
        sa.Column("notifier", sa.Text, primary_key=True),
        sa.Column("probe_at", sa.BigInteger, nullable=False),
    )
