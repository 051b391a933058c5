"""One database into another, whole: SQLite -> PostgreSQL, in one transaction.

Whatever ends it before its end leaves the target as it was, so it can simply be started again. Row
IDs stay as they are: the packed hours refer to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, text, update

from pingboard.model import ConfigurationError, StoreError
from pingboard.store.engine import migrate, read_snapshot
from pingboard.store.schema import metadata, room

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine, Table

CHUNK = 5_000
"""Rows a statement."""


def copy_database(
    source: Engine, target: Engine, *, on_progress: Callable[[str, int], None] = lambda *_: None
) -> int:
    """Copy all rows of all tables into an empty database; return how many.

    Hold both leases meanwhile. `on_progress` is told each table with its rows. Raises
    ConfigurationError for a target that has data of its own.
    """
    migrate(target)
    total = 0
    with read_snapshot(source) as reading, target.begin() as writing:
        if writing.execute(select(func.count()).select_from(room)).scalar_one():
            raise ConfigurationError(
                "the target has rooms already; name an empty database, for example a new one"
            )
        for table in metadata.sorted_tables:
            writing.execute(table.delete())  # such as the journal's first entry
        for table in metadata.sorted_tables:
            count = _copy_table(reading, writing, table)
            on_progress(table.name, count)
            total += count
        if writing.dialect.name == "postgresql":
            _raise_sequences(writing)
    _analyze(target)
    return total


def _copy_table(reading: Connection, writing: Connection, table: Table) -> int:
    rows = reading.execution_options(stream_results=True).execute(
        select(table).order_by(*table.primary_key)
    )
    count = 0
    predecessors: list[dict[str, Any]] = []
    for chunk in rows.mappings().partitions(CHUNK):
        values = [dict(row) for row in chunk]
        if table is room:
            # A room may refer to one that comes later.
            predecessors += [
                {"b_id": row["id"], "b_predecessor": row.pop("predecessor")} for row in values
            ]
        writing.execute(insert(table), values)
        count += len(values)
    for row in predecessors:
        if row["b_predecessor"] is not None:
            writing.execute(
                update(room)
                .where(room.c.id == row["b_id"])
                .values(predecessor=row["b_predecessor"])
            )
    copied = writing.execute(select(func.count()).select_from(table)).scalar_one()
    if copied != count:
        raise StoreError(f"{copied} of {count} rows of {table.name} were copied; try again")
    return count


def _raise_sequences(connection: Connection) -> None:
    """Let the next row that PostgreSQL numbers itself come after those copied."""
    for table in metadata.sorted_tables:
        if "id" not in table.c:
            continue
        sequence = connection.execute(
            text("SELECT pg_get_serial_sequence(:table, 'id')"), {"table": table.name}
        ).scalar_one()
        last = connection.execute(select(func.max(table.c.id))).scalar_one()
        if sequence is not None and last is not None:
            connection.execute(
                text("SELECT setval(:sequence, :last)"), {"sequence": sequence, "last": last}
            )


def _analyze(engine: Engine) -> None:
    """Let the database know what it has got, before the first boards are asked for."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
