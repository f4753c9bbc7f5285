#!/bin/sh
# SQLAlchemy 2.1.9: in on_conflict_do_update(where=…), a subquery is not correlated to the table, not even by correlate().
#
# The table is added to the subquery's FROM without a word. So it says something of any row instead of the row in
# conflict, and whether that is updated depends on the others. In an UPDATE the same subquery is correlated. A NOT IN
# needs no correlation.
#
# Seen (Python 3.11, SQLite): `a` is held by one that lives, `b` by one that does not, and somebody asks for `b`
#   UPDATE … WHERE NOT EXISTS (the holder lives): gives it
#   INSERT … ON CONFLICT … WHERE NOT (EXISTS (SELECT … FROM alive, lease …)): does not
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q --disable-pip-version-check SQLAlchemy==2.1.9
"$dir/venv/bin/python" - <<'EOF'
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

metadata = sa.MetaData()
lease = sa.Table("lease", metadata, sa.Column("name", sa.Text, primary_key=True), sa.Column("owner", sa.Text))
alive = sa.Table("alive", metadata, sa.Column("owner", sa.Text, primary_key=True))
engine = sa.create_engine("sqlite://")
lives = sa.select(sa.literal(1)).select_from(alive).where(alive.c.owner == lease.c.owner).correlate(lease).exists()
take = insert(lease).on_conflict_do_update(index_elements=["name"], set_={"owner": "new"}, where=~lives)
update = sa.update(lease).values(owner="new").where(lease.c.name == "b", ~lives)

def owner_of_b(statement, values):
    with engine.begin() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
        connection.execute(sa.insert(alive), [{"owner": "living"}])
        # `a` is held by one that lives; `b`, which is asked for, by one that does not
        connection.execute(sa.insert(lease), [{"name": "a", "owner": "living"}, {"name": "b", "owner": "dead"}])
        connection.execute(statement, values)
        return connection.execute(sa.select(lease.c.owner).where(lease.c.name == "b")).scalar()

updated, upserted = owner_of_b(update, {}), owner_of_b(take, {"name": "b", "owner": "new"})
print(take.compile(engine))
print("UPDATE gives b to:", updated, "- the upsert leaves it to:", upserted)
assert (updated, upserted) == ("new", "dead")
EOF
