"""Deliveries have subjects, and answers; watching states and restores are kept; counters outgrow 64 bits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

LOW = 10**18


def upgrade() -> None:
    """Carry every row over; the keys of deliveries stay as they are."""
    _outbox()
    _counters()
    op.rename_table("book", "import_state")
    op.drop_index("job_settled", "job")
    op.alter_column("job", "settled", new_column_name="finalized")
    op.alter_column("job", "slim", new_column_name="stub")
    op.create_index("job_finalized", "job", ["org", "finalized", "id"])
    op.add_column("organization", sa.Column("partial", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "watch",
        sa.Column("org", sa.Text, primary_key=True),
        sa.Column("up", sa.Integer),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("last_success", sa.BigInteger),
        sa.Column("next_poll", sa.BigInteger),
        sa.Column("trouble_reason", sa.Text),
        sa.Column("trouble_text", sa.Text),
        sa.Column("owner", sa.Text, nullable=False),
    )
    op.create_table("restore", sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False))
    progress = op.create_table(
        "progress",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(progress, [{"id": 1, "number": 0}])


def _outbox() -> None:
    op.drop_index("outbox_order", "outbox")
    op.add_column("outbox", sa.Column("subject_kind", sa.Text, nullable=False, server_default="job"))
    op.alter_column("outbox", "job", new_column_name="subject_id")
    op.add_column("outbox", sa.Column("generation", sa.Text, nullable=False, server_default=""))
    op.add_column("outbox", sa.Column("answer", sa.Text))
    outbox = sa.table("outbox", *(sa.column(name, sa.Text) for name in _COLUMNS))
    connection = op.get_bind()
    for row in connection.execute(sa.select(outbox)).all():
        kind, org, id_ = _subject(row.org, row.subject_id)
        reason, _, answer = (row.reason or "").partition(": ")
        connection.execute(
            outbox.update()
            .where(outbox.c.key == row.key)
            .values(subject_kind=kind, org=org, subject_id=id_, reason=reason or None, answer=answer or None)
        )
    op.create_index("outbox_order", "outbox", ["subject_kind", "org", "subject_id", "notifier", "state", "seq"])


_COLUMNS = ("key", "org", "subject_id", "subject_kind", "reason", "answer")


def _subject(topic: str, rest: str) -> tuple[str, str, str]:
    """The kind, organisation and id of what the two halves of a key say."""
    if topic.startswith("budget:"):
        return "budget", "", f"{topic.removeprefix('budget:')}/{rest}"
    if rest == "outage":
        return "organization", topic, rest
    for kind in ("batch", "shutdown", "test", "job"):
        if rest.startswith(f"{kind}:"):
            return kind, topic, rest.removeprefix(f"{kind}:")
    return "job", topic, rest


def _counters() -> None:
    op.rename_table("tally", "counter")
    op.add_column("counter", sa.Column("carry", sa.BigInteger, nullable=False, server_default="0"))
    op.execute(f"UPDATE counter SET carry = amount / {LOW}, amount = amount % {LOW}")  # noqa: S608 - a constant
