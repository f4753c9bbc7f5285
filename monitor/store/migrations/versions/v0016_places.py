"""What names the jobs of an organisation is kept: other jobs under the same name are a new baseline, and not news."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """The next poll stores what is listed by then."""
    op.add_column("organization", sa.Column("place", sa.Text))
