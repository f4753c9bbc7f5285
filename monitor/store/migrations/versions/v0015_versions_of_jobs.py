"""Rows of jobs have the version of their organisation that wrote them, so that readers find what has changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """What is there is older than whatever is written from now on."""
    op.add_column("job", sa.Column("version", sa.BigInteger, nullable=False, server_default="0"))
    op.create_index("job_version", "job", ["org", "version"])
