"""Migrates a database to the newest schema, with all steps in one transaction."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from monitor.store.errors import Corrupt, NewerSchema

if TYPE_CHECKING:
    from alembic.config import Config

HEAD: Final = "0019"
_NEW: Final = "migrations/new_sqlite.sql"
_REVISION = sa.select(sa.column("version_num", sa.Text)).select_from(sa.table("alembic_version"))


def migrate(connection: sa.Connection) -> None:
    """Migrate the schema within the transaction. Raises NewerSchema or Corrupt, without any change."""
    revision = revision_of(connection)
    if revision is None and connection.dialect.name == "sqlite":
        revision = _create(connection)
    if revision != HEAD:
        _upgrade(connection)


def _create(connection: sa.Connection) -> str | None:
    """Create the schema of an empty database from a script, and return its revision.

    Running all migrations with alembic would take 0.3 s and 9 MB. `python -m tests.store.new_database` generates the
    script; alembic runs the migrations that it does not contain yet.
    """
    for statement in resources.files("monitor.store").joinpath(_NEW).read_text("utf-8").split("\n\n"):
        connection.exec_driver_sql(statement)
    return revision_of(connection)


def configuration(connection: sa.Connection | None = None) -> Config:
    """The configuration of alembic: the location of the migrations, and the connection to run them on."""
    from alembic.config import Config  # noqa: PLC0415 - a third of a second that only a change of the schema needs

    config = Config()
    config.set_main_option("script_location", "monitor.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def revision_of(connection: sa.Connection) -> str | None:
    """The revision of the schema; None for an empty database. Raises Corrupt if it belongs to another program."""
    tables = sa.inspect(connection).get_table_names(connection.dialect.default_schema_name)
    if not tables:
        return None
    if "alembic_version" not in tables:
        raise Corrupt("the database belongs to another program: it has tables, but no alembic_version")
    return connection.execute(_REVISION).scalar()


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command  # noqa: PLC0415 - a third of a second that only a change of the schema needs
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above

    config = configuration(connection)
    revision = revision_of(connection)
    steps = ScriptDirectory.from_config(config).walk_revisions()
    if revision is not None and revision not in {step.revision for step in steps}:
        raise NewerSchema(
            f"the database has schema {revision}, which this version does not know: "
            "run the newer version that wrote it, or restore a backup from before the upgrade"
        )
    command.upgrade(config, "head")
