"""Statements that SQLAlchemy does not make fast enough, in the way each database takes fastest.

What is written once a pong, or reads a row for each, goes past SQLAlchemy's own work for each row;
what every board asks, past that for each statement, which a command does once.
Parameters are marked by `?` on both databases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache
from itertools import islice
from typing import Any, TypeVar, cast

import numpy as np
from sqlalchemy import Column, Connection, CursorResult, LargeBinary, Table, Text

from pingboard.sample_blocks import Integers

T = TypeVar("T")

MAX_VALUES = 5_000
"""In one IN list: far below the parameters that either database takes."""


def chunks(values: Iterable[T]) -> Iterator[list[T]]:
    """Yield the values in runs that fit into one IN list."""
    iterator = iter(values)
    while chunk := list(islice(iterator, MAX_VALUES)):
        yield chunk


def placeholders(count: int) -> str:
    """Return the parameters of an IN list."""
    return f"({', '.join('?' * count)})"


def execute(
    connection: Connection, sql: str, *parameters: object, yield_per: int = 0
) -> CursorResult[*tuple[Any, ...]]:
    """Execute a statement of a few parameters; with `yield_per`, read so many rows at a time."""
    options = {"yield_per": yield_per} if yield_per else None
    return connection.exec_driver_sql(
        _render(connection.dialect.name, sql), parameters, execution_options=options
    )


@cache
def _render(dialect: str, sql: str) -> str:
    return sql if dialect == "sqlite" else sql.replace("?", "%s")


def fetch_integers(connection: Connection, sql: str, width: int, *parameters: object) -> Integers:
    """Read rows of `width` integers as (width, n) columns."""
    fields = np.dtype([(f"f{number}", "i8") for number in range(width)])
    with closing(execute(connection, sql, *parameters)) as result:
        # The driver's own rows: SQLAlchemy's take ten times as long.
        rows = cast("Iterator[tuple[int, ...]]", result.cursor)
        columns: Integers = np.fromiter(rows, fields).view(np.int64).reshape(-1, width).T
    return columns


def insert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> int:
    """Insert the rows whose key is new, leave the others as they are; return how many were new."""
    if not rows:
        return 0
    names = ", ".join(columns)
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        sql = f"INSERT INTO {table.name} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"  # noqa: S608
        return connection.exec_driver_sql(sql, list(rows)).rowcount
    # A row at a time takes a million times the way to the server and back; columns take it once.
    types = [table.c[name].type.compile(connection.dialect) for name in columns]
    arrays = ", ".join(f"%s::{type_}[]" for type_ in types)
    sql = (
        f"INSERT INTO {table.name} ({names}) SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING"  # noqa: S608
    )
    written = map(_write_array, (table.c[name] for name in columns), zip(*rows, strict=True))
    return connection.exec_driver_sql(sql, tuple(written)).rowcount


def _write_array(column: Column[Any], values: Sequence[Any]) -> object:
    """As PostgreSQL reads it: numbers as text, which costs a fifth of what the driver takes."""
    if isinstance(column.type, Text | LargeBinary):
        return list(values)
    return f"{{{','.join(['NULL' if value is None else str(value) for value in values])}}}"


def add_counts(connection: Connection, table: Table, counts: Mapping[Any, int]) -> None:
    """Add to the column `count` of rows; a key has the values of the primary key."""
    key = ", ".join(table.primary_key.columns.keys())
    sql = f"""
    INSERT INTO {table.name} ({key}, count) VALUES {placeholders(len(table.c))}
    ON CONFLICT ({key}) DO UPDATE SET count = {table.name}.count + excluded.count
    """  # noqa: S608
    for values, count in counts.items():
        execute(connection, sql, *values, count)
