"""Brings a database to the newest schema, all steps in one transaction."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from monitor.store.errors import Corrupt, NewerSchema

HEAD: Final = "0003"
_REVISION = sa.select(sa.column("version_num", sa.Text)).select_from(sa.table("alembic_version"))


def migrate(engine: sa.Engine) -> None:
    """Bring the schema up to date. Raises NewerSchema or Corrupt, having changed nothing."""
    with engine.begin() as connection:
        if _revision(connection) != HEAD:
            _upgrade(connection)


def _revision(connection: sa.Connection) -> str | None:
    """The schema's revision; None of an empty database."""
    tables = sa.inspect(connection).get_table_names()
    if not tables:
        return None
    if "alembic_version" not in tables:
        raise Corrupt("the database belongs to another program: it has tables, but none that says its version is ours")
    return connection.execute(_REVISION).scalar()


def _upgrade(connection: sa.Connection) -> None:
    # a third of a second that only a schema change is worth
    from alembic import command  # noqa: PLC0415 - a third of a second that only a change of the schema needs
    from alembic.config import Config  # noqa: PLC0415 - a third of a second that only a change of the schema needs
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - a third of a second that only a change of the schema needs

    config = Config()
    config.set_main_option("script_location", "monitor.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    revision = _revision(connection)
    steps = ScriptDirectory.from_config(config).walk_revisions()
    if revision is not None and revision not in {step.revision for step in steps}:
        raise NewerSchema(
            f"the database has schema {revision}, which this version does not know: "
            "run the newer version that wrote it, or restore a backup from before the upgrade"
        )
    command.upgrade(config, "head")
