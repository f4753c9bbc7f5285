"""Stored jobs at Fireworks keep their ids; new ids name their list."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

_LISTS = ("dpo", "reinforcement")
_BATCH = 500


def upgrade() -> None:
    """Note the lists of the jobs at Fireworks that were stored under the provider's id alone."""
    op.add_column("job", sa.Column("of_list", sa.Text))
    where = sa.text("of_list IS NOT NULL")
    op.create_index("job_of_list", "job", ["org", "id"], sqlite_where=where, postgresql_where=where)
    connection = op.get_bind()
    rows = connection.execute(sa.text("SELECT org, id, doc FROM job WHERE doc LIKE '%\"fireworks\"%'")).yield_per(
        _BATCH
    )
    found = [{"org": row.org, "id": row.id, "of_list": name} for row in rows if (name := _list(row.doc)) is not None]
    if found:
        connection.execute(sa.text("UPDATE job SET of_list = :of_list WHERE org = :org AND id = :id"), found)


def _list(doc: str) -> str | None:
    """The list of a job at Fireworks, unless it is the usual one."""
    job = json.loads(doc)["job"]
    method = job["method"]
    return method if job["provider"] == "fireworks" and method in _LISTS else None
