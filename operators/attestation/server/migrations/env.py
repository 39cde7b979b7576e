"""Where Alembic begins: it runs the steps on the connection that `database.migrate` holds."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"], target_metadata=None, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
