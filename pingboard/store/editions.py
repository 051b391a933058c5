"""Editions, kept as they were rendered: nothing that happens later changes a byte of them."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Engine, func, select

from pingboard.store.journal import write_room_change
from pingboard.store.schema import edition, ping
from pingboard.store.sql import insert_rows


class Edition(NamedTuple):
    """The boards of a week, frozen."""

    name: str
    """the ISO week that it closed in, `2026-W41`"""
    closed_ts: int
    json: str
    markdown: str


def insert_edition(engine: Engine, new: Edition) -> None:
    """Keep an edition; where there is one of that name, it stays."""
    with engine.begin() as connection:
        insert_rows(connection, edition, Edition._fields, [new])
        # Boards show movement against it: whoever keeps rendered boards has to look again.
        write_room_change(connection)


def read_edition(engine: Engine, name: str) -> Edition | None:
    with engine.connect() as connection:
        row = connection.execute(select(edition).where(edition.c.name == name)).first()
    return Edition(*row) if row else None


def read_edition_before(engine: Engine, ts: int) -> Edition | None:
    """Return the last edition that closed before a time."""
    rows = select(edition).where(edition.c.closed_ts < ts).order_by(edition.c.closed_ts.desc())
    with engine.connect() as connection:
        row = connection.execute(rows.limit(1)).first()
    return Edition(*row) if row else None


def read_latest_editions(engine: Engine, limit: int) -> list[Edition]:
    """Return the last editions, the newest first."""
    rows = select(edition).order_by(edition.c.closed_ts.desc()).limit(limit)
    with engine.connect() as connection:
        return [Edition(*row) for row in connection.execute(rows)]


def read_edition_names(engine: Engine) -> dict[str, int]:
    """Return every edition's name and close, ms since the epoch, the newest first."""
    rows = select(edition.c.name, edition.c.closed_ts).order_by(edition.c.closed_ts.desc())
    with engine.connect() as connection:
        return {row.name: row.closed_ts for row in connection.execute(rows)}


def find_oldest_ping(engine: Engine) -> int | None:
    """Return when the first ping was seen, of those that are kept."""
    with engine.connect() as connection:
        oldest: int | None = connection.scalar(select(func.min(ping.c.seen_ts)))
    return oldest
