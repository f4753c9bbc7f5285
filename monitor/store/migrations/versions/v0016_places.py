"""Organisations remember which list of jobs they have read: another one under the same name is a new baseline."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """The next poll stores the place of its list."""
    op.add_column("organization", sa.Column("place", sa.Text))
