"""Folds the samples of past pings, so that their rows can go, and makes rows of them again.

Nobody sees a difference, but for the bytes on disk. Only pings are folded whose hours are packed
for the boards (`sealed`) and are not in the journal any more; and before the writer changes
anything of a ping (a late pong, a redaction, an import) it makes rows of all that is folded in the
ping's hour. So an hour that is to be read row by row always has all of its rows.

What came by an import stays rows: its order of first sight is not that of its times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sqlalchemy import delete, func, insert, select, tuple_, update

from pingboard.columns.blocks import HOUR_MS
from pingboard.model import PONG_TIMEOUT_MS
from pingboard.store import changes
from pingboard.store.engine import read_snapshot
from pingboard.store.folded import NONE, PINGS, Rows, find_folds, pack, read_rows
from pingboard.store.rows import insert_rows, is_one_of
from pingboard.store.tables import folded, ping, sample, sealed, sealing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Engine

AFTER_MS = 86_400_000
"""How long after a ping its samples are folded: nearly all redactions and late pongs came."""

MOST_AT_ONCE = 4
"""Nobody waits longer for a write than these take."""

_HOUR = ping.c.seen_ts.op("/")(HOUR_MS)
_SAMPLE_COLUMNS = Rows._fields


class _New(NamedTuple):
    """A row of `folded`, and what it depends on."""

    id: int
    row: dict[str, object]
    hours: set[tuple[int, int]]


class Prepared(NamedTuple):
    """Samples packed as of a version, not kept yet."""

    version: int
    folds: Sequence[_New]
    next: int | None
    """the ID of the fold to go on from; None: all were looked at"""


def fold(engine: Engine, now_ts: int) -> int:
    """Fold all that can be by now; returns how many rows of `folded` are new.

    For the one writer, which can also do the steps by itself and write other things in between.
    """
    folds = 0
    start: int | None = 0
    while start is not None:
        prepared = prepare(engine, now_ts, start)
        folds += keep(engine, prepared)
        start = prepared.next
    return folds


def prepare(engine: Engine, now_ts: int, start: int = 0, most: int = MOST_AT_ONCE) -> Prepared:
    """Pack what can be folded, from a fold's ID on; this only reads, and nobody waits for it."""
    with read_snapshot(engine) as connection:
        version = changes.read_version(connection)
        busy = changes.read_remembered(connection)
        found: list[_New] = []
        while len(found) < most:
            first = select(func.min(sample.c.ping)).where(sample.c.ping >= start * PINGS)
            ping_row = connection.execute(first).scalar_one()
            if ping_row is None:
                return Prepared(version, found, None)
            number = ping_row // PINGS
            new = _prepare(connection, number, now_ts - AFTER_MS, busy)
            found += [new] if new else []
            start = number + 1
        return Prepared(version, found, start)


def keep(engine: Engine, prepared: Prepared) -> int:
    """Let them take the place of their rows, where nothing changed meanwhile; returns how many.

    A short write; for the one writer.
    """
    if not prepared.folds:
        return 0
    with engine.begin() as connection:
        changes.hold_back_others(connection)
        touched = changes.read_touched(connection, prepared.version)
        fresh = (
            [] if touched is None else [one for one in prepared.folds if not one.hours & touched]
        )
        version = changes.read_version(connection)
        for one in fresh:
            connection.execute(insert(folded).values(one.row))
            connection.execute(delete(sample).where(_is_in(one.id)))
        changes.forget_after(connection, version)
        for one in fresh:
            end_ts = max(hour for _, hour in one.hours) * HOUR_MS + HOUR_MS
            later = update(sealing).where(sealing.c.folded_ts < end_ts)
            connection.execute(later.values(folded_ts=end_ts))
    return len(fresh)


def make_rows(connection: Connection, pings: Sequence[int]) -> None:
    """Make all rows again that is folded in the hours of these pings.

    To be called before anything of them changes, in the same transaction.
    """
    if not pings:
        return
    changing, others = ping.alias(), ping.alias()
    start_ts = changing.c.seen_ts.op("/")(HOUR_MS) * HOUR_MS
    wanted = (
        select(folded.c.id)
        .select_from(changing)
        .join(
            others,
            (others.c.room == changing.c.room)
            & (others.c.seen_ts >= start_ts)
            & (others.c.seen_ts < start_ts + HOUR_MS),
        )
        .join(folded, folded.c.id == others.c.id.op("/")(PINGS))
        .where(
            is_one_of(connection, changing.c.id, list(pings)),
            changing.c.seen_ts < select(sealing.c.folded_ts).scalar_subquery(),
        )
        .distinct()
    )
    _unfold(connection, connection.execute(wanted).scalars().all())


def unfold_all(connection: Connection) -> None:
    """Make rows of everything."""
    _unfold(connection, find_folds(connection))


def _unfold(connection: Connection, folds: Sequence[int]) -> None:
    if not folds:
        return
    changes.hold_back_others(connection)
    version = changes.read_version(connection)
    for fold in folds:
        rows = read_rows(connection, fold)._asdict()
        columns = [column.tolist() for column in rows.values()]
        round_trips = list(rows).index("round_trip_ms")
        columns[round_trips] = [None if ms == NONE else ms for ms in columns[round_trips]]
        insert_rows(connection, sample, _SAMPLE_COLUMNS, list(zip(*columns, strict=True)))
        connection.execute(delete(folded).where(folded.c.id == fold))
    changes.forget_after(connection, version)


def _prepare(
    connection: Connection, fold: int, before_ts: int, busy: set[tuple[int, int]]
) -> _New | None:
    """The samples of a fold, packed; None where they can't be folded, or not yet."""
    which = ping.c.id.between(fold * PINGS, (fold + 1) * PINGS - 1)
    pings = connection.execute(select(ping.c.id, ping.c.seen_ts, ping.c.room, _HOUR).where(which))
    ids, seen, rooms, numbers = zip(*pings, strict=True)
    hours = set(zip(rooms, numbers, strict=True))
    if max(seen) >= before_ts or hours & busy or not _are_sealed(connection, hours):
        return None
    rows = _read_rows(connection, fold)
    if rows is None:
        return None
    ping_seen_ts = np.zeros(PINGS, np.int64)
    ping_seen_ts[np.array(ids) - fold * PINGS] = seen
    seen_ts = ping_seen_ts[rows.ping - fold * PINGS] + rows.delay_ms
    origin_ts = seen_ts - rows.lag_ms
    row: dict[str, object] = {
        "id": fold,
        "first_ts": int(seen_ts.min()),
        "last_ts": int(seen_ts.max()),
        "first_origin_ts": int(origin_ts.min()),
        "last_origin_ts": int(origin_ts.max()),
        "samples": pack(rows),
    }
    return _New(fold, row, hours)


def _are_sealed(connection: Connection, hours: set[tuple[int, int]]) -> bool:
    """Whether all of these are packed for the boards, as they are now."""
    same = tuple_(sealed.c.room, sealed.c.hour).in_(hours)
    fresh = select(func.count()).where(same, sealed.c.is_stale.is_(False))
    return connection.execute(fresh).scalar_one() == len(hours)


def _read_rows(connection: Connection, fold: int) -> Rows | None:
    """None where some can't be folded: imported ones, and such as no board can take."""
    which = _is_in(fold)
    can_not = (
        sample.c.position.is_not(None)
        | sample.c.event_hash.is_(None)
        | ~sample.c.delay_ms.between(-PONG_TIMEOUT_MS, PONG_TIMEOUT_MS)
    )
    if connection.execute(select(sample.c.ping).where(which, can_not).limit(1)).first():
        return None
    columns = [func.coalesce(sample.c[name], NONE) for name in _SAMPLE_COLUMNS]
    wanted = select(*columns).where(which).order_by(sample.c.ping, sample.c.pong_server)
    found = np.array([tuple(row) for row in connection.execute(wanted)], np.int64)
    return Rows(*found.T)


def _is_in(fold: int) -> ColumnElement[bool]:
    return sample.c.ping.between(fold * PINGS, (fold + 1) * PINGS - 1)
