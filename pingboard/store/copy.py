"""One database into another, whole: SQLite -> PostgreSQL, in one transaction.

Each table is read back and compared before the commit. Whatever ends it before its end leaves the
target as it was, or has copied all; so it can simply be started again. Row IDs stay as they are:
the packed hours refer to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Row, Table, func, insert, select, text, update

from pingboard.model import ConfigurationError, PingboardError, StoreError
from pingboard.store.engine import migrate, read_snapshot
from pingboard.store.schema import metadata, room

CHUNK = 5_000
"""Rows a statement."""


def copy_database(
    source: Engine, target: Engine, *, on_progress: Callable[[str, int], None] = lambda *_: None
) -> int:
    """Copy all rows of all tables into an empty database; return how many.

    One that has all of them already is compared: whoever was cut off at the commit does not know
    of it. Hold both leases meanwhile. `on_progress` is told each table with its rows. Raises
    ConfigurationError for a target that has data of its own, StoreError for a copy that differs.
    """
    migrate(target)
    total = 0
    with read_snapshot(source) as reading, target.begin() as writing:
        is_filled = writing.execute(select(func.count()).select_from(room)).scalar_one() > 0
        if not is_filled:
            for table in metadata.sorted_tables:
                writing.execute(table.delete())  # such as the journal's first entry
        for table in metadata.sorted_tables:
            if not is_filled:
                _copy_table(reading, writing, table)
            digest = _digest(writing, table)
            if digest != _digest(reading, table):
                raise _describe_difference(table, is_filled=is_filled)
            on_progress(table.name, digest.rows)
            total += digest.rows
        if writing.dialect.name == "postgresql":
            _raise_sequences(writing)
        writing.execute(text("ANALYZE"))  # the first boards may be asked for at once
    return total


def _describe_difference(table: Table, *, is_filled: bool) -> PingboardError:
    if is_filled:
        return ConfigurationError(
            "the target has rooms already; name an empty database, for example a new one"
        )
    return StoreError(f"{table.name} differs after the copy; keep the old database, and report it")


class _Digest(NamedTuple):
    rows: int
    hashes: int


def _digest(connection: Connection, table: Table) -> _Digest:
    """Read all rows of a table; their order doesn't matter, as databases sort text differently."""
    count = hashes = 0
    for chunk in _read_rows(connection, table):
        count += len(chunk)
        hashes += sum(hash(tuple(row)) for row in chunk)
    return _Digest(count, hashes)


def _read_rows(connection: Connection, table: Table) -> Iterator[Sequence[Row[Any]]]:
    rows = connection.execute(select(table).execution_options(stream_results=True))
    return rows.partitions(CHUNK)


def _copy_table(reading: Connection, writing: Connection, table: Table) -> None:
    predecessors: list[dict[str, Any]] = []
    for chunk in _read_rows(reading, table):
        values = [dict(row._mapping) for row in chunk]
        if table is room:
            # A room may refer to one that comes later.
            predecessors += [
                {"b_id": row["id"], "b_predecessor": row.pop("predecessor")} for row in values
            ]
        writing.execute(insert(table), values)
    for row in predecessors:
        if row["b_predecessor"] is not None:
            writing.execute(
                update(room)
                .where(room.c.id == row["b_id"])
                .values(predecessor=row["b_predecessor"])
            )


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
