"""The books: spendings, usage, bills, tuned models, and which notices were told."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_job = sa.table(
    "job",
    *(sa.column(name, sa.Text) for name in ("org", "id", "basis", "doc")),
    sa.column("ended_at", sa.BigInteger),
)


def upgrade() -> None:
    """Create them, and book what the jobs that are known have cost and brought forth."""
    spending = _spendings()
    _usage_and_bills()
    models = _models_and_notices()
    connection = op.get_bind()
    rows = connection.execute(sa.select(_job).where(_job.c.basis == "computed"))
    spent = [row for each in rows if (row := _spent(each)) is not None]
    tuned = {
        (row.org, model): {"org": row.org, "id": model, "base": _base(model), "listed": 0, "shared": 0}
        for row in connection.execute(sa.select(_job))
        if (model := json.loads(row.doc)["job"].get("fine_tuned_model"))
    }
    if spent:
        connection.execute(spending.insert(), spent)
    if tuned:
        connection.execute(models.insert(), list(tuned.values()))


def _spent(row: Any) -> dict[str, Any] | None:
    tracked = json.loads(row.doc)
    job, usd = tracked["job"], (tracked.get("cost") or {}).get("usd")
    if usd is None:
        return None
    kept = ("provider", "model", "method", "fine_tuned_model", "metadata")
    at = job.get("finished_at") or tracked["since"]
    doc = {"org": row.org, "job": row.id, "at": at, "usd": usd} | {name: job[name] for name in kept if name in job}
    return {
        "org": row.org,
        "job": row.id,
        "at": row.ended_at,
        "nanodollars": int(Decimal(usd) * 1_000_000_000),
        "doc": json.dumps(doc),
    }


def _base(model: str) -> str:
    return model.split(":")[1] if model.startswith("ft:") else model


def _spendings() -> sa.Table:
    return op.create_table(
        "spending",
        sa.Column("org", sa.Text, primary_key=True),
        sa.Column("job", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("nanodollars", sa.BigInteger, nullable=False),
        sa.Column("doc", sa.Text, nullable=False),
        sa.Index("spending_at", "at"),
    )


def _usage_and_bills() -> None:
    op.create_table(
        "usage",
        sa.Column("org", sa.Text, primary_key=True),
        sa.Column("project", sa.Text, primary_key=True),
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("batch", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("input", sa.BigInteger, nullable=False),
        sa.Column("cached_input", sa.BigInteger, nullable=False),
        sa.Column("output", sa.BigInteger, nullable=False),
        sa.Column("input_nanodollars", sa.BigInteger),
        sa.Column("cached_input_nanodollars", sa.BigInteger),
        sa.Column("output_nanodollars", sa.BigInteger),
        sa.Index("usage_day", "day"),
    )
    op.create_table(
        "bill",
        sa.Column("org", sa.Text, primary_key=True),
        sa.Column("project", sa.Text, primary_key=True),
        sa.Column("line_item", sa.Text, primary_key=True),
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("nanodollars", sa.BigInteger, nullable=False),
        sa.Index("bill_day", "org", "day"),
    )
    op.create_table(
        "book",
        sa.Column("org", sa.Text, primary_key=True),
        sa.Column("usage_until", sa.Text),
        sa.Column("bill_until", sa.Text),
    )


def _models_and_notices() -> sa.Table:
    op.create_table(
        "notice",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Index("notice_topic", "topic"),
    )
    return op.create_table(
        "tuned_model",
        sa.Column("org", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("base", sa.Text, nullable=False),
        sa.Column("shutdown", sa.Text),
        sa.Column("listed", sa.Integer, nullable=False),
        sa.Column("shared", sa.Integer, nullable=False),
    )
