"""Past hours, packed: a room and hour -> one row that loads fifty times as fast as its samples.

The hour is that of the pings. A trigger marks a packed hour stale when a late pong, a redaction or
an import changes it; then its rows are read instead until it is packed anew. So what is read here
is always what the rows say.

The format: the columns of a block (`pingboard.blocks`) one after the other. Each is a header (least
value, count, bytes a value) and the values less the least, in as few bytes as they need; of times,
the differences between neighbours. Some 7 bytes a sample.
"""

from __future__ import annotations

import struct
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from sqlalchemy import delete, func, insert, select

from pingboard.blocks import EMPTY, HOUR_MS, Answers, Block, Claims, Losses
from pingboard.model import PONG_TIMEOUT_MS
from pingboard.store import changes, columns
from pingboard.store.tables import ping, sample, sealed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray
    from sqlalchemy import Connection, Engine

_HEADER = struct.Struct("<qIB")
_VERSION = b"\x01"
_BYTES = (1, 2, 4, 8)
_STORED: dict[int, np.dtype[Any]] = {
    1: np.dtype("<u1"),
    2: np.dtype("<u2"),
    4: np.dtype("<u4"),
    8: np.dtype("<i8"),
}
_DTYPES = [
    (column.dtype, column)
    for rows in EMPTY
    for name, column in zip(rows._fields, cast("tuple[NDArray[Any], ...]", rows), strict=True)
    for _ in range(2 if name == "seen_ts" else 1)
]
"""Of each packed column, in order, its type and what it is when empty; of times there are two."""


def read_hours(connection: Connection, room_row: int, first: int, after: int) -> dict[int, Block]:
    """The blocks of a room from the hour `first` until before `after`, packed ones and others."""
    wanted = select(sealed.c.hour, sealed.c.packed).where(
        sealed.c.room == room_row,
        sealed.c.hour >= first,
        sealed.c.hour < after,
        sealed.c.is_stale.is_(False),
    )
    found = {hour: unpack(packed) for hour, packed in connection.execute(wanted)}
    for start, end in _gaps(sorted(found), first, after):
        read = columns.read_hours(connection, room_row, start, end)
        found.update({hour: block for (_, hour), block in read.items()})
    return found


def seal(engine: Engine, now_ts: int, most: int = 24) -> int:
    """Pack past hours that are not packed or are stale, at most so many in one transaction.

    Returns how many; 0 when there is nothing left to do. For the one writer. An hour is past once
    no pong to its pings can count any more.
    """
    before = (now_ts - PONG_TIMEOUT_MS) // HOUR_MS
    with engine.begin() as connection:
        changes.hold_back_others(connection)
        wanted = [
            (room_row, hour)
            for room_row, _, _ in columns.read_rooms(connection)
            for hour in _unsealed(connection, room_row, before)
        ][:most]
        for room_row, hour in wanted:
            _seal_hour(connection, room_row, hour)
        changes.prune(connection)
    return len(wanted)


def pack(block: Block) -> bytes:
    """A block as bytes."""
    packed = [_VERSION]
    for rows in block:
        named: Iterator[tuple[str, Any]] = zip(rows._fields, rows, strict=True)
        for name, column in named:
            if name == "seen_ts":
                packed += [_pack_column(column[:1]), _pack_column(np.diff(column))]
            else:
                packed.append(_pack_column(column))
    return b"".join(packed)


def unpack(packed: bytes) -> Block:
    """The block of what `pack` gave."""
    columns_ = iter(_unpack_columns(packed))
    return Block(
        Claims(next(columns_), _times(columns_), *islice(columns_, 3)),
        Answers(next(columns_), _times(columns_), *islice(columns_, 3)),
        Losses(next(columns_), _times(columns_), next(columns_)),
    )


def _times(parts: Iterator[NDArray[Any]]) -> NDArray[np.int64]:
    first, steps = next(parts), next(parts)
    if not len(first):
        return first
    times = np.empty(len(steps) + 1, np.int64)
    times[0] = 0
    np.cumsum(steps, out=times[1:])
    times += first[0]
    return times


def _pack_column(column: NDArray[Any]) -> bytes:
    values = column.astype(np.int64)
    least, most = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    size = next(size for size in _BYTES if size == 8 or most - least < 1 << (8 * size))
    if size == 8:
        least = 0
    return _HEADER.pack(least, len(values), size) + (values - least).astype(f"<i{size}").tobytes()


def _unpack_columns(packed: bytes) -> Iterator[NDArray[Any]]:
    position = len(_VERSION)
    for dtype, nothing in _DTYPES:
        least, count, size = _HEADER.unpack_from(packed, position)
        position += _HEADER.size
        if count:
            stored = np.frombuffer(packed, _STORED[size], count, position)
            column = stored.astype(dtype)
            column += least
            yield column
            position += count * size
        else:
            yield nothing


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


def _seal_hour(connection: Connection, room_row: int, hour: int) -> None:
    block = columns.read_hours(connection, room_row, hour, hour + 1).get((room_row, hour), EMPTY)
    inside = (
        (ping.c.room == room_row)
        & (ping.c.seen_ts >= hour * HOUR_MS)
        & (ping.c.seen_ts < (hour + 1) * HOUR_MS)
    )
    counted = select(func.count()).join_from(ping, sample, sample.c.ping == ping.c.id).where(inside)
    samples = connection.execute(counted).scalar_one()
    same = (sealed.c.room == room_row) & (sealed.c.hour == hour)
    connection.execute(delete(sealed).where(same))
    row = {"room": room_row, "hour": hour, "is_stale": False, "samples": samples}
    connection.execute(insert(sealed).values(**row, packed=pack(block)))
