"""Editions, kept as they were rendered: nothing that happens later changes a byte of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, insert, select

from pingboard.store.rows import insert_new
from pingboard.store.tables import change, edition, gap, ping

if TYPE_CHECKING:
    from sqlalchemy import Engine


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
        insert_new(connection, edition, [new._asdict()])
        # Boards show movement against it: whoever keeps rendered boards has to look again.
        connection.execute(insert(change).values(ping=None))


def read_edition(engine: Engine, name: str) -> Edition | None:
    """One edition by its name."""
    with engine.connect() as connection:
        row = connection.execute(select(edition).where(edition.c.name == name)).first()
    return Edition(*row) if row else None


def read_before(engine: Engine, ts: int) -> Edition | None:
    """The last edition that closed before a time."""
    wanted = select(edition).where(edition.c.closed_ts < ts).order_by(edition.c.closed_ts.desc())
    with engine.connect() as connection:
        row = connection.execute(wanted.limit(1)).first()
    return Edition(*row) if row else None


def read_latest(engine: Engine, limit: int) -> list[Edition]:
    """The last editions, the newest first."""
    wanted = select(edition).order_by(edition.c.closed_ts.desc()).limit(limit)
    with engine.connect() as connection:
        return [Edition(*row) for row in connection.execute(wanted)]


def names(engine: Engine) -> dict[str, int]:
    """Every edition's name and close, ms since the epoch, the newest first."""
    wanted = select(edition.c.name, edition.c.closed_ts).order_by(edition.c.closed_ts.desc())
    with engine.connect() as connection:
        return {row.name: row.closed_ts for row in connection.execute(wanted)}


def oldest_ping_ts(engine: Engine) -> int | None:
    """When the first ping was seen."""
    with engine.connect() as connection:
        oldest: int | None = connection.scalar(select(func.min(ping.c.seen_ts)))
    return oldest


def has_open_gap(engine: Engine, opened_after_ts: int) -> bool:
    """Whether a stretch of history is still being filled that was noticed after a time."""
    wanted = select(gap.c.id).where(gap.c.closed_ts.is_(None), gap.c.opened_ts > opened_after_ts)
    with engine.connect() as connection:
        return connection.execute(wanted.limit(1)).first() is not None
