"""Webhooks of providers that were received, so that each has one effect, and is read back after a restart too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """One table more."""
    op.create_table(
        "hint",
        sa.Column("org", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("settled", sa.Integer, nullable=False),
        sa.Index("hint_open", "settled", "org"),
        sa.Index("hint_age", "at"),
    )
