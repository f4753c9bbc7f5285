"""Fields of a tracked job have the names that the code gives them now; their values are as they were."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_RENAMED = {"stirred_at": "last_activity_at", "settled": "finalized"}
_job = sa.table("job", *(sa.column(name, sa.Text) for name in ("org", "id", "doc")))
_UPDATE = (
    sa.update(_job)
    .where(_job.c.org == sa.bindparam("b_org"), _job.c.id == sa.bindparam("b_id"))
    .values(doc=sa.bindparam("b_doc"))
)


def upgrade() -> None:
    """Rename the keys of the documents themselves, and not those of the metadata in them, which are their owners'."""
    connection = op.get_bind()
    for org, id_, doc in connection.execute(sa.select(_job)).all():
        fields = {_RENAMED.get(name, name): value for name, value in json.loads(doc).items()}
        connection.execute(_UPDATE, {"b_org": org, "b_id": id_, "b_doc": json.dumps(fields, separators=(",", ":"))})
