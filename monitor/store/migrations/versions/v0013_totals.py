"""What grows with history is counted as it is written: readers read a number instead of all rows.

The database keeps the numbers itself, by triggers, so that no way to write a row goes past them. A later step that has
SQLite make one of these tables anew has to create its triggers again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

# Row by row, and of updates only those that matter: most change none of these columns.
_TRIGGERS = (
    ("job", "INSERT", "", ("NEW",)),
    ("job", "DELETE", "", ("OLD",)),
    ("job", "UPDATE", "status model org id basis ended_at", ("OLD", "NEW")),
    ("tuned_model", "INSERT", "", ("NEW",)),
    ("tuned_model", "DELETE", "", ("OLD",)),
    ("tuned_model", "UPDATE", "org shutdown", ("OLD", "NEW")),
    ("spending", "INSERT", "", ("NEW",)),
    ("spending", "DELETE", "", ("OLD",)),
    ("spending", "UPDATE", "org at nanodollars", ("OLD", "NEW")),
)
_KIND = "CASE WHEN substr({row}id, 1, 6) = 'batch:' THEN 'batch' ELSE 'job' END"
# A job that is gone from the provider is over without an end, and counts nowhere.
_KNOWN = "NOT ({row}status = 'unknown' AND {row}ended_at IS NOT NULL)"
_ADD_TOTAL = "ON CONFLICT (org, kind, name) DO UPDATE SET number = total.number + excluded.number"
_COUNTED = {
    "job": (
        f"SELECT {{row}}org, {_KIND}, {{row}}status, {{by}} {{source}} AND {_KNOWN}",
        "SELECT {row}org, 'unpriced', {row}model, {by} {source} AND {row}basis = 'unknown'",
    ),
    "tuned_model": ("SELECT {row}org, 'shutdown', {row}shutdown, {by} {source} AND {row}shutdown IS NOT NULL",),
}
_DAY = (
    "SELECT {row}org, {row}at / 86400000,"
    " {by} * ({row}nanodollars / 1000000000), {by} * ({row}nanodollars % 1000000000) {source}"
)
_ADD_DAY = (
    "ON CONFLICT (org, day) DO UPDATE SET dollars = training_day.dollars + excluded.dollars,"
    " nanodollars = training_day.nanodollars + excluded.nanodollars"
)


def upgrade() -> None:
    """Count what is there, and from then on what comes and goes."""
    op.create_table(
        "total",
        sa.Column("org", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "training_day",
        sa.Column("org", sa.Text, primary_key=True),
        sa.Column("day", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("dollars", sa.BigInteger, nullable=False),
        sa.Column("nanodollars", sa.BigInteger, nullable=False),
    )
    op.drop_index("job_finalized", "job")
    op.create_index("job_finalized", "job", ["org", "finalized", "id", "status"])
    op.drop_index("job_basis", "job")
    op.create_index("job_of_org", "job", ["org", "created_at", "id"])
    op.create_index("tuned_model_of_org", "tuned_model", ["org", "shutdown", "id"])
    op.create_index("job_in_status", "job", ["status", "created_at", "org", "id"])
    op.create_index("outbox_in_state", "outbox", ["state", "created_at", "key"])
    op.create_index("tuned_model_end", "tuned_model", ["shutdown", "org", "id"])
    for table, selects in _COUNTED.items():
        for select in selects:
            rows = select.format(row="", by="count(*)", source=f"FROM {table} WHERE true")
            op.execute(f"INSERT INTO total (org, kind, name, number) {rows} GROUP BY 1, 2, 3")
    rows = (
        "SELECT org, at / 86400000, sum(nanodollars / 1000000000), sum(nanodollars % 1000000000) FROM spending"
        " GROUP BY 1, 2"
    )
    op.execute(f"INSERT INTO training_day (org, day, dollars, nanodollars) {rows}")
    for trigger in _TRIGGERS:
        _create(*trigger)


def _create(table: str, event: str, columns: str, rows: tuple[str, ...]) -> None:
    name = f"{table}_{event.lower()}_counted"
    body = " ".join(statement for row in rows for statement in _statements(table, row))
    when = ""
    if columns:
        when = f"WHEN ({' OR '.join(_differs(one) for one in columns.split())})"
        event = f"UPDATE OF {', '.join(columns.split())}"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW {when} BEGIN {body} END")
        return
    op.execute(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$")
    op.execute(f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW {when} EXECUTE FUNCTION {name}()")


def _differs(column: str) -> str:
    if column == "ended_at":
        return "(OLD.ended_at IS NULL) <> (NEW.ended_at IS NULL)"
    if column in ("at", "nanodollars"):
        return f"OLD.{column} <> NEW.{column}"
    return f"coalesce(OLD.{column}, '') <> coalesce(NEW.{column}, '')"


def _statements(table: str, row: str) -> list[str]:
    """What counts one row in or out."""
    values = {"row": f"{row}.", "by": "1" if row == "NEW" else "-1", "source": "WHERE true"}
    if table == "spending":
        return [f"INSERT INTO training_day (org, day, dollars, nanodollars) {_DAY.format(**values)} {_ADD_DAY};"]
    return [
        f"INSERT INTO total (org, kind, name, number) {select.format(**values)} {_ADD_TOTAL};"
        for select in _COUNTED[table]
    ]
