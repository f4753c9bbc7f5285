"""Fields of a tracked job have the names that the code gives them now; their values are as they were."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

_RENAMED = {"stirred_at": "last_activity_at", "settled": "finalized"}


def upgrade() -> None:
    """Rename keys of the JSON documents. Text inside a value has its quotes escaped, so only keys are found."""
    for old, new in _RENAMED.items():
        op.execute(f"""UPDATE job SET doc = replace(doc, '"{old}":', '"{new}":')""")  # noqa: S608 - constants
