"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create them."""
    _organizations_and_leases()
    _jobs()
    _events_and_transitions()
    _outbox()


def _organizations_and_leases() -> None:
    op.create_table(
        "organization",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("horizon", sa.BigInteger),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "lease",
        sa.Column("org", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "tally",
        sa.Column("metric", sa.Text, primary_key=True),
        sa.Column("labels", sa.Text, primary_key=True),
        sa.Column("amount", sa.BigInteger, nullable=False),
    )


def _jobs() -> None:
    op.create_table(
        "job",
        sa.Column("org", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("settled", sa.Integer, nullable=False),
        sa.Column("slim", sa.Integer, nullable=False, server_default="0"),
        sa.Column("basis", sa.Text),
        sa.Column("doc", sa.Text, nullable=False),
        sa.Index("job_listing", "created_at", "org", "id"),
        sa.Index("job_status", "org", "status", "created_at", "id"),
        sa.Index("job_settled", "org", "settled", "id"),
        sa.Index("job_ended", "ended_at"),
        sa.Index("job_basis", "basis", "org", "model"),
    )


def _events_and_transitions() -> None:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "event",
        sa.Column("pos", big, primary_key=True, autoincrement=True),
        sa.Column("org", sa.Text, nullable=False),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("step", sa.BigInteger),
        sa.Column("doc", sa.Text, nullable=False),
        sa.UniqueConstraint("org", "job", "id", name="event_identity"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "transition",
        sa.Column("org", sa.Text, primary_key=True),
        sa.Column("job", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text, nullable=False),
        sa.Column("resumed", sa.Integer, nullable=False),
        sa.Column("restarted", sa.Integer, nullable=False),
    )


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("notifier", sa.Text, nullable=False),
        sa.Column("org", sa.Text, nullable=False),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("touched_at", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("ambiguous", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("settled_at", sa.BigInteger),
        sa.Column("reference", sa.Text),
        sa.Index("outbox_due", "state", "notifier", "due_at"),
        sa.Index("outbox_order", "org", "job", "notifier", "state", "seq"),
        sa.Index("outbox_listing", "created_at", "key"),
        sa.Index("outbox_settled", "settled_at"),
    )
