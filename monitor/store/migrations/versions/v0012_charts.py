"""The curve of a job that is over is shown below its card, once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """None was shown so far."""
    op.add_column("card", sa.Column("charts", sa.BigInteger, nullable=False, server_default="0"))
