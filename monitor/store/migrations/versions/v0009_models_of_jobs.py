"""The last jobs of one model are found, to know how long it usually takes."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Nothing is stored anew."""
    op.create_index("job_model", "job", ["org", "model", "created_at"])
