"""The SQL of a new SQLite database: `python -m tests.store.new_database > monitor/store/migrations/new_sqlite.sql`.

It is what the migrations make of an empty file, and is written anew with each of them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import sqlalchemy as sa
from alembic import command

from monitor.store.migrating import configuration
from monitor.store.sqlite import writer_engine

FILLED = ("alembic_version", "progress")
"""The tables that have rows from the beginning."""
_MADE = """
SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'
ORDER BY type <> 'table', type, CASE type WHEN 'table' THEN rowid END, name
"""


def script() -> str:
    """The statements, with a blank line between two."""
    with tempfile.TemporaryDirectory() as folder:
        engine = writer_engine(Path(folder, "monitor.db"))
        with engine.begin() as connection:
            command.upgrade(configuration(connection), "head")
            statements = contents(connection)
        engine.dispose()
    return "\n\n".join(statements) + "\n"


def contents(connection: sa.Connection) -> list[str]:
    """What makes a database with the same tables and rows."""
    made = connection.exec_driver_sql(_MADE).scalars()
    found = ["\n".join(line.rstrip() for line in statement.splitlines() if line.strip()) for statement in made]
    for table in FILLED:
        rows = connection.exec_driver_sql(f"SELECT * FROM {table}")  # noqa: S608 - our own names
        found += [f"INSERT INTO {table} VALUES ({', '.join(map(repr, row))})" for row in rows]  # noqa: S608 - as above
    return found


if __name__ == "__main__":
    sys.stdout.write(script())
