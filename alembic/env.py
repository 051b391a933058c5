"""Runs the migrations on the connection that pingboard hands over, or for the alembic command
on the database of the settings."""

from alembic import context
from sqlalchemy import Connection

from pingboard.settings import load_settings
from pingboard.store.engine import open_engine
from pingboard.store.schema import metadata


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        # SQLite can't alter a column: Alembic copies the table instead.
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with open_engine(load_settings().database_url).begin() as own:
        run(own)
