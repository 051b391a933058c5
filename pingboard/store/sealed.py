"""Past hours, packed: a room and hour -> one row that loads fifty times as fast as its samples.

The hour is that of the pings. A late pong, a redaction or an import that changes a packed hour
makes it stale (see `changes`); then its rows are read instead until it is packed anew. So what is
read here is always what the rows say, or what they said before `retention` dropped them.

The format: the columns of a block (`columns.blocks`) one after the other, as `packing` packs them;
of times, the differences between neighbours. Some 7 bytes a sample.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sqlalchemy import bindparam, delete, func, insert, select

from pingboard.columns.blocks import EMPTY, HOUR_MS, Answers, Block, Claims, Losses
from pingboard.columns.narrow import Offsets, narrow
from pingboard.model import PONG_TIMEOUT_MS
from pingboard.store import changes, columns
from pingboard.store.engine import read_snapshot
from pingboard.store.packing import pack_column, read_columns
from pingboard.store.tables import ping, room, sample, sealed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Connection, Engine

    from pingboard.columns.narrow import Column, Integers

    _Stored = tuple[int, NDArray[Any]]
    """The least value of a packed column, and how much more each is."""

_VERSION = b"\x01"
_COLUMNS = 6 + 6 + 4
"""Packed ones: of claims, answers and losses. Of times there are two."""

_CLAIM_COLUMNS = {"ping_server": 3, "pong_server": 4, "ms": 5}
_ANSWER_COLUMNS = {"ping": 6, "pong_server": 9}
"""Where they are among the packed columns."""


class _Hour(NamedTuple):
    room: int
    hour: int
    samples: int
    packed: bytes


class Prepared(NamedTuple):
    """Hours packed as of a version, not kept yet."""

    version: int
    hours: Sequence[_Hour]


def read_hours(connection: Connection, room_row: int, first: int, after: int) -> dict[int, Block]:
    """The blocks of a room from the hour `first` until before `after`, packed ones and others."""
    if first >= after:
        return {}
    packed = _read_packed(connection, room_row, first, after)
    found = {hour: unpack(blob) for hour, blob in packed}
    return found | _read_rows(connection, room_row, sorted(found), first, after)


def _read_packed(
    connection: Connection, room_row: int, first: int, after: int
) -> Iterator[tuple[int, bytes]]:
    """The packed hours as they are now, in order."""
    wanted = (
        select(sealed.c.hour, sealed.c.packed)
        .where(sealed.c.room == room_row, sealed.c.hour >= first, sealed.c.hour < after)
        .where(sealed.c.is_stale.is_(False))
        .order_by(sealed.c.hour)
    )
    pending = changes.read_pending(connection)
    for hour, packed in connection.execute(wanted):
        if (room_row, hour) not in pending:
            yield hour, packed


def _read_rows(
    connection: Connection, room_row: int, packed: Iterable[int], first: int, after: int
) -> dict[int, Block]:
    """The other hours, from rows."""
    return {
        hour: block
        for start, end in _gaps(packed, first, after)
        for (_, hour), block in columns.read_hours(connection, room_row, start, end).items()
    }


def read_claims(
    connection: Connection, room_row: int, first: int, after: int, servers: str
) -> tuple[list[tuple[Column, Column]], dict[int, Block]]:
    """Of whole hours only what a board takes: servers (`ping_server`, ...) and latencies.

    Those hours that are not packed come as blocks.
    """
    chosen = (_CLAIM_COLUMNS[servers], _CLAIM_COLUMNS["ms"])
    found = []
    hours = []
    for hour, packed in _read_packed(connection, room_row, first, after):
        one, ms = (narrow(stored, least) for least, stored in _read_columns(packed, chosen))
        hours.append(hour)
        found.append((one, ms))
    return found, _read_rows(connection, room_row, hours, first, after)


def read_answered(
    connection: Connection, room_row: int, first: int, after: int, pong_server: int
) -> Iterator[Integers]:
    """The pings of ours (rows), hour by hour, that a server (row) answered."""
    hours = []
    for hour, packed in _read_packed(connection, room_row, first, after):
        (least, pings), (lowest, servers) = _read_columns(packed, _ANSWER_COLUMNS.values())
        hours.append(hour)
        yield pings[servers == pong_server - lowest].astype(np.int64) + least
    for block in _read_rows(connection, room_row, hours, first, after).values():
        yield block.answers.ping[block.answers.pong_server == pong_server].wide()


def seal(engine: Engine, now_ts: int, most: int = 24) -> int:
    """Pack past hours that are not packed or are stale, at most so many.

    Returns how many; 0 when there is nothing left to do. For the one writer, which can also do the
    three steps by itself and write other things in between.
    """
    mark(engine)
    return keep(engine, prepare(engine, now_ts, most))


def mark(engine: Engine) -> None:
    """The first step, a short write: what has changed is marked stale."""
    with engine.begin() as connection:
        changes.prune(connection)


def prepare(engine: Engine, now_ts: int, most: int = 24) -> Prepared:
    """The second, which only reads and packs: nobody waits for it.

    An hour is past once no pong to its pings can count any more.
    """
    before = (now_ts - PONG_TIMEOUT_MS) // HOUR_MS
    with read_snapshot(engine) as connection:
        version = changes.read_version(connection)
        hours: list[_Hour] = []
        for room_row in connection.execute(select(room.c.id)).scalars().all():
            wanted = _unsealed(connection, room_row, before)[: most - len(hours)]
            for first, after in _stretches(wanted):
                hours += _pack_hours(connection, room_row, first, after)
        return Prepared(version, hours)


def keep(engine: Engine, prepared: Prepared) -> int:
    """The third, a short write: keep those that have not changed meanwhile; returns how many."""
    with engine.begin() as connection:
        changes.hold_back_others(connection)
        stale = changes.read_touched(connection, prepared.version)
        if stale is None:
            return 0
        fresh = [one for one in prepared.hours if (one.room, one.hour) not in stale]
        if fresh:
            same = (sealed.c.room == bindparam("room_row")) & (sealed.c.hour == bindparam("at"))
            keys = [{"room_row": one.room, "at": one.hour} for one in fresh]
            connection.execute(delete(sealed).where(same), keys)
            rows = [{**one._asdict(), "is_stale": False} for one in fresh]
            connection.execute(insert(sealed), rows)
    return len(fresh)


def pack(block: Block) -> bytes:
    """A block as bytes."""
    packed = [_VERSION]
    for rows in block:
        ping, seen_ts, *others = rows
        times = seen_ts.wide()
        columns_ = (ping.wide(), times[:1], np.diff(times), *others)
        packed += map(pack_column, columns_)
    return b"".join(packed)


def unpack(packed: bytes) -> Block:
    """The block of what `pack` gave."""
    parts = _read_columns(packed)
    return Block(
        Claims(_offsets(parts), _times(parts), *_narrow(parts, 3)),
        Answers(_offsets(parts), _times(parts), *_narrow(parts, 3)),
        Losses(_offsets(parts), _times(parts), *_narrow(parts, 1)),
    )


def _read_columns(packed: bytes, chosen: Collection[int] | None = None) -> Iterator[_Stored]:
    return read_columns(packed, _COLUMNS, len(_VERSION), chosen)


def _narrow(parts: Iterator[_Stored], number: int) -> Iterator[Column]:
    return (narrow(stored, least) for least, stored in islice(parts, number))


def _offsets(parts: Iterator[_Stored]) -> Offsets:
    least, stored = next(parts)
    return Offsets(least, stored.copy())  # not a view: that would keep all that is packed


def _times(parts: Iterator[_Stored]) -> Offsets:
    (first, one), (step, more) = next(parts), next(parts)
    if not len(one):
        return Offsets(0, one.copy())
    span = (step + (1 << 8 * more.itemsize) - 1) * len(more)
    if span >= 1 << 31:  # only then is it worth adding up
        span = step * len(more) + int(more.sum(dtype=np.int64))
    low: Column = np.zeros(len(more) + 1, np.int32 if span < 1 << 31 else np.int64)
    low[1:] = more
    if step:
        low[1:] += step
    return Offsets(first + int(one[0]), np.add.accumulate(low, out=low))


def _gaps(hours: Iterable[int], first: int, after: int) -> Iterator[tuple[int, int]]:
    """The stretches of [first, after) that none of the ordered hours is in."""
    for hour in hours:
        if first < hour:
            yield first, hour
        first = hour + 1
    if first < after:
        yield first, after


def _unsealed(connection: Connection, room_row: int, before: int) -> list[int]:
    """The past hours from a room's first ping on that have no fresh pack; also empty ones, so that
    reading meets no gaps."""
    of_room = ping.c.room == room_row
    first = connection.execute(select(func.min(ping.c.seen_ts)).where(of_room)).scalar_one()
    if first is None:
        return []
    is_fresh = (sealed.c.room == room_row) & sealed.c.is_stale.is_(False)
    fresh = set(connection.execute(select(sealed.c.hour).where(is_fresh)).scalars())
    last = connection.execute(select(func.max(ping.c.seen_ts)).where(of_room)).scalar_one()
    end = min(before, last // HOUR_MS + 1)
    return [hour for hour in range(first // HOUR_MS, end) if hour not in fresh]


def _stretches(hours: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The hours, in order, as stretches [first, after) without a gap."""
    starts = [n for n, hour in enumerate(hours) if n == 0 or hours[n - 1] != hour - 1]
    for start, end in pairwise([*starts, len(hours)]):
        yield hours[start], hours[end - 1] + 1


def _pack_hours(connection: Connection, room_row: int, first: int, after: int) -> Iterator[_Hour]:
    blocks = columns.read_hours(connection, room_row, first, after)
    samples = count_rows(connection, room_row, first, after)
    for hour in range(first, after):
        block = blocks.get((room_row, hour), EMPTY)
        yield _Hour(room_row, hour, samples[hour], pack(block))


def count_rows(connection: Connection, room_row: int, first: int, after: int) -> Counter[int]:
    """The samples of each hour as its rows say, also those that no board takes."""
    hour = ping.c.seen_ts.op("/")(HOUR_MS)
    counted = select(hour, func.count()).join_from(ping, sample, sample.c.ping == ping.c.id)
    of_room = counted.where(ping.c.room == room_row, ping.c.seen_ts >= first * HOUR_MS)
    inside = of_room.where(ping.c.seen_ts < after * HOUR_MS).group_by(hour)
    return Counter({number: samples for number, samples in connection.execute(inside)})  # noqa: C416


def read_last_pong(connection: Connection, room_row: int) -> int | None:
    """When the last pong was seen that a packed hour of a room has, as it is now; None without."""
    has_any = (sealed.c.room == room_row) & (sealed.c.samples > 0) & sealed.c.is_stale.is_(False)
    hours = select(sealed.c.hour).where(has_any).order_by(sealed.c.hour.desc())
    pending = changes.read_pending(connection)
    with connection.execute(hours) as found:
        latest = next((hour for hour in found.scalars() if (room_row, hour) not in pending), None)
    if latest is None:
        return None
    block = read_hours(connection, room_row, latest, latest + 1)[latest]
    times = (rows.seen_ts[-1:].tolist() for rows in block[:2])
    return max((one for last in times for one in last), default=None)
