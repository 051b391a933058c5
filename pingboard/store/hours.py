"""The hours of a room: open ones are rows, closed ones are packed; a reader need not know which.

An hour is that of a ping's receipt, and all pongs of the ping belong to it. It is closed once no
pong to its pings can count any more: what is packed is prepared read-only, and stored by a short
write, which deletes the rows. Whoever changes anything of an hour opens it first, in the same
transaction; only a redacted pong is taken out of a closed one. Readers get the packed hours of a
range, and all rows in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

import numpy as np
from sqlalchemy import ColumnElement, Connection, Engine, func, select

from pingboard.model import PONG_TIMEOUT_MS, DamagedHourError, from_ts
from pingboard.model.cancellation import raise_if_abandoned
from pingboard.sample_blocks import HOUR_MS, Block, Integers
from pingboard.store import journal
from pingboard.store.engine import read_snapshot
from pingboard.store.packing import (
    NO_ROWS,
    NONE,
    DamagedError,
    Hour,
    HourSamples,
    Packed,
    Pings,
    Unanswered,
    find_origin_ts,
    has_event_hashes,
    pack_hour,
    read_last_seen_ts,
    unpack_block,
    unpack_hour,
)
from pingboard.store.schema import hour, sample, unanswered
from pingboard.store.sql import execute, fetch_integers, insert_rows

CLOSED_AT_ONCE = 24
"""Hours that one pass of the worker closes: what it has packed stays in memory meanwhile."""

_PINGS = """
SELECT id, server, seen_ts, origin_server_ts, coalesce(sent_ts, -1),
CASE WHEN vantage IS NULL THEN 0 ELSE 1 END
FROM ping WHERE room = ? AND seen_ts >= ? AND seen_ts < ?
"""
_IN_RANGE = "ping.room{0} = ? AND ping.seen_ts >= ? AND ping.seen_ts < ?"
_COLUMNS = ", ".join(f"coalesce(sample.{name}, {NONE})" for name in HourSamples._fields)
_SAMPLES = f"""
SELECT ping.seen_ts / {HOUR_MS}, {_COLUMNS}
FROM sample JOIN ping ON ping.id = sample.ping WHERE {_IN_RANGE}
"""  # noqa: S608
_UNANSWERED = f"""
SELECT ping.seen_ts / {HOUR_MS}, unanswered.ping, unanswered.pong_server
FROM unanswered JOIN ping ON ping.id = unanswered.ping WHERE {_IN_RANGE}
"""  # noqa: S608
_OPEN_HOURS = f"""
SELECT DISTINCT ping.room, ping.seen_ts / {HOUR_MS} FROM ping
WHERE ping.id IN (SELECT ping FROM sample UNION SELECT ping FROM unanswered)
"""  # noqa: S608
_OF_HOUR = "ping IN (SELECT id FROM ping WHERE room = ? AND seen_ts >= ? AND seen_ts < ?)"


class ClosingHour(NamedTuple):
    """An open hour, packed."""

    room: int
    hour: int
    samples: int
    first_origin_ts: int
    last_origin_ts: int
    hot: bytes
    cold: bytes


class Closing(NamedTuple):
    """Hours packed as of a version, not stored yet."""

    version: int
    hours: Sequence[ClosingHour]


def iterate_hours(
    connection: Connection,
    room_row: int,
    first: int,
    after: int,
    damaged: list[DamagedHourError] | None = None,
) -> Iterator[tuple[int, Block]]:
    """Yield the blocks of a room's hours in [first, after), in order, without those that are empty.

    Only one of them has to be in memory. What is wrong with one that can't be read is raised, or
    appended to `damaged`.
    """
    opened = _read_open_hours(connection, room_row, first, after)
    for number, hot in execute(connection, _HOT, room_row, first, after, yield_per=64):
        for earlier in [other for other in opened if other < number]:
            yield earlier, unpack_block(pack_hour(opened.pop(earlier)).hot)
        try:
            with _naming(connection, room_row, number):
                block = unpack_block(hot)
        except DamagedHourError as error:
            if damaged is None:
                raise
            damaged.append(error)
            continue
        yield number, block
    for number, rows in opened.items():
        yield number, unpack_block(pack_hour(rows).hot)


def list_hours(
    connection: Connection, rooms: Collection[int], first: int, after: int
) -> list[journal.HourKey]:
    """Return the hours in [first, after) whose single samples are kept, the oldest first.

    Those of several rooms stand side by side.
    """
    is_inside = (hour.c.hour >= first) & (hour.c.hour < after)
    kept = [key for key in _list_kept(connection, rooms, is_inside) if first <= key[1] < after]
    return sorted(kept, key=lambda key: (key[1], key[0]))


def list_hours_by_origin(
    connection: Connection, rooms: Collection[int], oldest_ts: int, newest_ts: int
) -> list[journal.HourKey]:
    """Return those that can have a pong whose own time is in [oldest, newest]."""
    can_have = (hour.c.first_origin_ts <= newest_ts) & (hour.c.last_origin_ts >= oldest_ts)
    return sorted(_list_kept(connection, rooms, can_have))


def _list_kept(
    connection: Connection, rooms: Collection[int], is_asked_for: ColumnElement[bool]
) -> set[journal.HourKey]:
    """Return those closed hours whose single samples are kept, and all open ones."""
    packed = select(hour.c.room, hour.c.hour).where(hour.c.room.in_(rooms), is_asked_for)
    closed = connection.execute(packed.where(hour.c.cold.is_not(None)))
    opened = [key for key in _list_open_hours(connection) if key[0] in rooms]
    return {(room_row, number) for room_row, number in closed} | {*opened}


def digest_hours(
    connection: Connection, rooms: Collection[int], first: int, after: int
) -> bytes | None:
    """Return what differs once any sample of the hours in [first, after) does.

    None while one of them is open.
    """
    if any(key[0] in rooms and first <= key[1] < after for key in _list_open_hours(connection)):
        return None
    packed = (
        select(hour)
        .where(hour.c.room.in_(rooms), hour.c.hour >= first, hour.c.hour < after)
        .order_by(hour.c.room, hour.c.hour)
        .execution_options(yield_per=64)
    )
    digest = hashlib.blake2b(digest_size=9)
    for row in connection.execute(packed):
        raise_if_abandoned()
        digest.update(f"{row.room} {row.hour} {row.cold is None} ".encode())
        digest.update(row.hot)
        digest.update(row.cold or b"")
    return digest.digest()


def _list_open_hours(connection: Connection) -> list[journal.HourKey]:
    return [(room_row, number) for room_row, number in execute(connection, _OPEN_HOURS)]


def read_hour(connection: Connection, room_row: int, number: int) -> Hour:
    """Return all that is kept of one hour whose single samples are kept."""
    closed = read_closed_hour(connection, room_row, number)
    if closed is not None:
        return closed
    opened = _read_open_hours(connection, room_row, number, number + 1)
    return opened.get(number, NO_ROWS)


def read_closed_hour(connection: Connection, room_row: int, number: int) -> Hour | None:
    """Return all of one hour; None if it is open, or if its single samples are dropped."""
    packed = execute(connection, _PACKED, room_row, number).first()
    if packed is None:
        return None
    pings = _read_pings(connection, room_row, number)
    with _naming(connection, room_row, number):
        return unpack_hour(Packed(*packed), pings)


def name_hour(connection: Connection, room_row: int, number: int) -> str:
    """Return what an operator calls an hour."""
    begin = f"{from_ts(number * HOUR_MS):%Y-%m-%dT%H:%MZ}"
    names = execute(connection, "SELECT room_id FROM room WHERE id = ?", room_row)
    return f"the hour {begin} of {names.scalar_one_or_none() or f'room {room_row}'}"


@contextmanager
def _naming(connection: Connection, room_row: int, number: int) -> Iterator[None]:
    """Say which hour it is that is damaged."""
    try:
        yield
    except DamagedError as error:
        name = name_hour(connection, room_row, number)
        raise DamagedHourError(f"{name} is damaged ({error})") from error


_HOT = "SELECT hour, hot FROM hour WHERE room = ? AND hour >= ? AND hour < ? ORDER BY hour"
_PACKED = "SELECT hot, cold FROM hour WHERE room = ? AND hour = ? AND cold IS NOT NULL"


def _read_pings(connection: Connection, room_row: int, number: int) -> Pings:
    bounds = (number * HOUR_MS, (number + 1) * HOUR_MS)
    return Pings(*fetch_integers(connection, _PINGS, 6, room_row, *bounds))


def _read_open_hours(
    connection: Connection, room_row: int, first: int, after: int
) -> dict[int, Hour]:
    """Return the hours in [first, after) that have rows, in order."""
    bounds = (room_row, first * HOUR_MS, after * HOUR_MS)
    # Few pings of many hours have rows: the sum keeps SQLite from beginning with the pings.
    few = "" if after - first == 1 else " + 0"
    samples = fetch_integers(
        connection, _SAMPLES.format(few), 1 + len(HourSamples._fields), *bounds
    )
    missing = fetch_integers(connection, _UNANSWERED.format(few), 3, *bounds)
    return {
        number: _gather_rows(connection, room_row, number, samples, missing)
        for number in np.union1d(samples[0], missing[0]).tolist()
    }


def _gather_rows(
    connection: Connection, room_row: int, number: int, samples: Integers, missing: Integers
) -> Hour:
    rows = HourSamples(*samples[1:, samples[0] == number])
    expected = Unanswered(*missing[1:, missing[0] == number])
    pings = _read_pings(connection, room_row, number)
    is_used = np.isin(pings.id, np.concatenate([rows.ping, expected.ping]))
    return Hour(Pings(*(column[is_used] for column in pings)), rows, expected)


def open_hours(connection: Connection, hours: Iterable[journal.HourKey]) -> None:
    """Make rows of those hours (room row, hour) that are closed, so that they can be changed.

    Not of those whose single samples are dropped (see `retention`): these stay as they are.
    """
    for room_row, number in hours:
        rows = read_closed_hour(connection, room_row, number)
        if rows is not None:
            _insert_rows(connection, rows)
            execute(connection, "DELETE FROM hour WHERE room = ? AND hour = ?", room_row, number)


def _insert_rows(connection: Connection, rows: Hour) -> None:
    # In the order of the table's key: each row is then added at the end.
    order = np.lexsort((rows.samples.pong_server, rows.samples.ping))
    columns: list[list[int | None]] = [column[order].tolist() for column in rows.samples]
    for place, name in enumerate(HourSamples._fields):
        if sample.c[name].nullable:
            columns[place] = [None if value == NONE else value for value in columns[place]]
    insert_rows(connection, sample, HourSamples._fields, list(zip(*columns, strict=True)))
    missing = [column.tolist() for column in rows.unanswered]
    insert_rows(connection, unanswered, Unanswered._fields, list(zip(*missing, strict=True)))


def find_event_hashes(
    connection: Connection, rooms: Collection[int], hashes: Sequence[int]
) -> tuple[set[journal.HourKey], list[DamagedHourError]]:
    """Return the closed hours of rooms (rows) that have a pong of one of these event hashes.

    And what is wrong with those that may have one, but are damaged.
    """
    packed = (
        select(hour.c.room, hour.c.hour, hour.c.cold)
        .where(hour.c.room.in_(rooms), hour.c.cold.is_not(None))
        .order_by(hour.c.hour.desc())
    )
    hours: set[journal.HourKey] = set()
    damaged: list[DamagedHourError] = []
    missing = np.array(hashes)
    with connection.execute(packed.execution_options(yield_per=64)) as rows:
        for room_row, number, cold in rows:
            try:
                with _naming(connection, room_row, number):
                    is_here = has_event_hashes(cold, missing)
            except DamagedHourError as error:
                damaged.append(error)
                continue
            if is_here.any():
                hours.add((room_row, number))
                missing = missing[~is_here]
                if not len(missing):
                    break
    return hours, damaged


def delete_event_hashes(
    connection: Connection, room_row: int, number: int, hashes: Sequence[int]
) -> list[tuple[int, int]]:
    """Delete the pongs of these event hashes from a closed hour, which stays closed.

    Return their pings and pong servers (rows). Packing again takes a tenth of opening.
    """
    rows = read_closed_hour(connection, room_row, number)
    if rows is None:
        return []
    is_deleted = np.isin(rows.samples.event_hash, hashes)
    kept = HourSamples(*(column[~is_deleted] for column in rows.samples))
    is_used = np.isin(rows.pings.id, np.concatenate([kept.ping, rows.unanswered.ping]))
    pings = Pings(*(column[is_used] for column in rows.pings))
    execute(connection, "DELETE FROM hour WHERE room = ? AND hour = ?", room_row, number)
    if len(pings.id):
        packed = _pack(room_row, number, Hour(pings, kept, rows.unanswered))
        insert_rows(connection, hour, ClosingHour._fields, [packed])
    columns = (rows.samples.ping[is_deleted], rows.samples.pong_server[is_deleted])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def close_hours(engine: Engine, now_ts: int) -> int:
    """Close all hours that can be closed; return how many."""
    closed = 0
    while stored := store_closing(engine, prepare_closing(engine, now_ts)):
        closed += stored
    return closed


def prepare_closing(engine: Engine, now_ts: int, limit: int = CLOSED_AT_ONCE) -> Closing:
    """Pack hours whose last pong has come or is lost; this only reads, and nobody waits for it."""
    before = (now_ts - PONG_TIMEOUT_MS) // HOUR_MS
    with read_snapshot(engine) as connection:
        version = journal.read_version(connection)
        past = sorted(key for key in _list_open_hours(connection) if key[1] < before)[:limit]
        return Closing(version, [_pack_open_hour(connection, *key) for key in past])


def _pack_open_hour(connection: Connection, room_row: int, number: int) -> ClosingHour:
    rows = _read_open_hours(connection, room_row, number, number + 1)[number]
    return _pack(room_row, number, rows)


def _pack(room_row: int, number: int, rows: Hour) -> ClosingHour:
    packed = pack_hour(rows)
    origin_ts = find_origin_ts(rows)
    first_ts, last_ts = (
        (int(origin_ts.min()), int(origin_ts.max())) if len(origin_ts) else (number * HOUR_MS,) * 2
    )
    return ClosingHour(room_row, number, len(origin_ts), first_ts, last_ts, *packed)


def store_closing(engine: Engine, closing: Closing) -> int:
    """Store those hours that have not changed since they were packed; return how many.

    A short write, for the one writer.
    """
    if not closing.hours:
        return 0
    with engine.begin() as connection:
        changed = journal.read_changed_hours(connection, closing.version)
        if changed is None:
            return 0
        hours = [closed for closed in closing.hours if (closed.room, closed.hour) not in changed]
        # One that is there already was stored by a try whose answer was lost.
        insert_rows(connection, hour, ClosingHour._fields, hours)
        newest = 0
        for closed in hours:
            bounds = (closed.room, closed.hour * HOUR_MS, (closed.hour + 1) * HOUR_MS)
            newest = max(newest, execute(connection, _NEWEST, *bounds).scalar_one() or 0)
            for table in (sample, unanswered):
                execute(connection, f"DELETE FROM {table.name} WHERE {_OF_HOUR}", *bounds)  # noqa: S608
        journal.prune(connection, newest)
    return len(hours)


_NEWEST = f"SELECT max(version) FROM sample WHERE {_OF_HOUR}"  # noqa: S608


def count_samples(connection: Connection) -> dict[int, int]:
    """Return how many samples each room (row) has, of those that have any."""
    packed = select(hour.c.room, func.sum(hour.c.samples)).group_by(hour.c.room)
    counts = {room: int(samples) for room, samples in connection.execute(packed)}
    opened = "SELECT room, count(*) FROM sample JOIN ping ON ping.id = sample.ping GROUP BY room"
    for room, samples in execute(connection, opened):
        counts[room] = counts.get(room, 0) + samples
    return counts


def find_first_open_hour(connection: Connection, room_row: int) -> int | None:
    """Return the first hour of a room that is open, or None."""
    opened = (number for room, number in _list_open_hours(connection) if room == room_row)
    return min(opened, default=None)


def find_last_pong(connection: Connection, room_row: int) -> int | None:
    """Return when the last pong of a room was seen, or None if none was; damaged hours are left
    out."""
    opened = """
    SELECT max(seen_ts + delay_ms) FROM sample JOIN ping ON ping.id = sample.ping
    WHERE ping.room + 0 = ?
    """
    packed = select(hour.c.hot).where(hour.c.room == room_row, hour.c.samples > 0)
    times = [execute(connection, opened, room_row).scalar_one()]
    # The last pong of an hour may have come after that of the next.
    for hot in connection.scalars(packed.order_by(hour.c.hour.desc()).limit(2)).all():
        with suppress(DamagedError):
            times.append(read_last_seen_ts(hot))
    return max((ts for ts in times if ts is not None), default=None)
