"""Deliveries may be held back, and sent together."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """What waits already goes out as before, each by itself."""
    op.add_column("outbox", sa.Column("hold", sa.Text))
    op.add_column("outbox", sa.Column("bundle", sa.Text))
    op.create_index("outbox_bundle", "outbox", ["bundle"])
