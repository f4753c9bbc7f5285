#!/bin/sh
# SQLAlchemy 2.1.9: a statement with in_() of a fixed list takes a list of one parameter set and refuses a list of two.
#
# That an expanding bind parameter is not for executemany is documented. Not expected: a literal list in in_() is one as
# well, although nothing in it varies, and a list holding one parameter set passes. A test with one row is green and the
# first busy day raises. Fixed values can be joined with or_().
#
# Seen (Python 3.11, SQLite):
#   in_ of a fixed list, 1 set: 1 row deleted
#   in_ of a fixed list, 2 sets: StatementError (InvalidRequestError) 'literal_execute' or 'expanding' parameters can't
#     be used with executemany()
#   or_ of the same values, 1 set: 1 row deleted; 2 sets: 2 rows deleted
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check SQLAlchemy==2.1.9
"$dir/venv/bin/python" - <<'EOF'
import sqlalchemy as sa

metadata = sa.MetaData()
jobs = sa.Table("jobs", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("status", sa.String))
ENDED = ["failed", "cancelled"]
BY_ID = jobs.c.id == sa.bindparam("job")
STATEMENTS = {
    "in_ of a fixed list": sa.delete(jobs).where(BY_ID, jobs.c.status.in_(ENDED)),
    "or_ of the same values": sa.delete(jobs).where(BY_ID, sa.or_(*[jobs.c.status == word for word in ENDED])),
}


def attempt(statement, sets):
    """Rows deleted, or the class of the error and of what it wraps."""
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection)
        connection.execute(sa.insert(jobs), [{"id": 1, "status": "failed"}, {"id": 2, "status": "cancelled"}])
        try:
            return connection.execute(statement, sets).rowcount
        except sa.exc.StatementError as error:
            print(str(error).splitlines()[0])
            return type(error).__name__, type(error.orig).__name__


ONE, TWO = [{"job": 1}], [{"job": 1}, {"job": 2}]
seen = {f"{name}, {len(sets)} set(s)": attempt(statement, sets) for name, statement in STATEMENTS.items() for sets in (ONE, TWO)}
for what, result in seen.items():
    print(f"{what}: {result}")
assert list(seen.values()) == [1, ("StatementError", "InvalidRequestError"), 1, 2]
EOF
