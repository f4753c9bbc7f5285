"""What alembic runs: the steps, on the connection and in the transaction it is given."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=True,  # alembic does not trust SQLite with it; our connections begin explicitly, so it holds
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
