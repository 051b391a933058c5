"""Past months, counted: a room and month -> one row from which long windows are exact and fast.

Built from the months' hours, and outlives raw rows as they do. The month is that of the pongs,
UTC. A change to one of its hours makes it stale (see `changes`); until it is counted anew, a window
reads the hours instead.

The format, of each board's blob: the keys' steps and the counts of a `Counted`, as `packing` packs
small numbers, and the servers and cells of a `Dense`. `response` has more columns: how many answers
and losses each server had, and, for its clock, the answers of the lowest round trip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sqlalchemy import delete, func, insert, select

from pingboard.columns.blocks import EMPTY, HOUR_MS, answers_inside, claims_inside, losses_inside
from pingboard.columns.counts import DENSE_BITS, NOTHING, Counted, Dense, add_up, split
from pingboard.model import PONG_TIMEOUT_MS, BoardName, month_of, month_start_ts
from pingboard.store import changes, columns, sealed, tables
from pingboard.store.engine import read_snapshot
from pingboard.store.packing import pack_column, pack_small, unpack_columns, unpack_small

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Connection, Engine

    from pingboard.columns.blocks import Answers, Block, Column, Integers

_DAY_MS = 24 * HOUR_MS
_EMPTY_COUNTED: list[NDArray[Any]] = [np.empty(0, np.int64)] * 5 + [np.empty(0, np.uint8)]
_EMPTY_ANSWERED = [np.empty(0, np.int64)] * 7


class Answered(NamedTuple):
    """What `response` shows beside the round trips; (s,) by server, and (n,)."""

    answers: Integers
    """how many, by server"""
    losses: Integers
    servers: Column
    """of the answers with the lowest round trip: server, and so on"""
    ms: Column
    offset_x2_ms: Integers


class Long(NamedTuple):
    """A long window of one room: whole months, and the hours that are left over."""

    months: Sequence[tuple[Counted, Dense]]
    answered: Sequence[Answered]
    """of the same months; empty for other boards than `response`"""
    stretches: Sequence[tuple[int, int, Sequence[Block]]]
    """[start, end) (timestamps) of what no month has, and blocks that hold it"""
    claims: Sequence[tuple[Column, Column]]
    """servers and latencies of hours that lie wholly inside, beside the blocks"""


class Prepared(NamedTuple):
    """A month counted as of a version, not kept yet."""

    version: int
    room: int
    month: int
    samples: int
    blobs: dict[str, bytes]


def read_long(
    connection: Connection,
    room_row: int,
    board: BoardName,
    start_ts: int,
    end_ts: int,
    settled_ts: int,
) -> Long:
    """What a room heard in [start, end); months that end after `settled_ts` are read as hours."""
    first, after = month_of(max(0, start_ts - 1)) + 1, month_of(min(end_ts, settled_ts))
    months: list[tuple[Counted, Dense]] = []
    answered: list[Answered] = []
    rest = start_ts
    bounds = []
    for number, blob in _read_fresh(connection, room_row, board, first, after):
        if rest < month_start_ts(number):
            bounds.append((rest, month_start_ts(number)))
        months.append(_unpack_counted(blob))
        if board is BoardName.RESPONSE:
            answered.append(_unpack_answered(blob))
        rest = month_start_ts(number + 1)
    if rest < end_ts:
        bounds.append((rest, end_ts))
    stretches: list[tuple[int, int, Sequence[Block]]] = []
    claims: list[tuple[Column, Column]] = []
    for bound in bounds:
        inside, blocks = _read_stretch(connection, room_row, board, *bound)
        stretches.append((*bound, blocks))
        claims += inside
    return Long(months, answered, stretches, claims)


def prepare(engine: Engine, now_ts: int) -> Prepared | None:
    """Count a past month that is not counted or stale; only reads. None where there is none."""
    with read_snapshot(engine) as connection:
        version = changes.read_version(connection)
        # The last pongs to count belong to pings of an hour before.
        after = month_of(now_ts - 2 * PONG_TIMEOUT_MS - HOUR_MS)
        for room_row, _, _ in columns.read_rooms(connection):
            for number in _uncounted(connection, room_row, after):
                return _count(connection, version, room_row, number)
    return None


def keep(engine: Engine, prepared: Prepared) -> bool:
    """Keep a counted month; False where one of its hours has changed meanwhile."""
    with engine.begin() as connection:
        changes.hold_back_others(connection)
        stale = changes.read_touched(connection, prepared.version)
        if stale is None or any(
            room_row == prepared.room and prepared.month in changes.touched_months(hour)
            for room_row, hour in stale
        ):
            return False
        table = tables.month
        same = (table.c.room == prepared.room) & (table.c.month == prepared.month)
        connection.execute(delete(table).where(same))
        key = {"room": prepared.room, "month": prepared.month, "samples": prepared.samples}
        connection.execute(insert(table).values(**key, is_stale=False, **prepared.blobs))
    return True


def count_months(engine: Engine, now_ts: int) -> int:
    """Count all months that can be; returns how many. For the one writer."""
    sealed.mark(engine)
    counted = 0
    while (prepared := prepare(engine, now_ts)) is not None and keep(engine, prepared):
        counted += 1
    return counted


def _read_fresh(
    connection: Connection, room_row: int, board: BoardName, first: int, after: int
) -> Iterator[tuple[int, bytes]]:
    pending = {
        number
        for of_room, hour in changes.read_pending(connection)
        if of_room == room_row
        for number in changes.touched_months(hour)
    }
    table = tables.month
    wanted = (
        select(table.c.month, table.c[board.value])
        .where(table.c.room == room_row, table.c.month >= first, table.c.month < after)
        .where(table.c.is_stale.is_(False))
        .order_by(table.c.month)
    )
    for number, blob in connection.execute(wanted):
        if number not in pending:
            yield number, blob


def _read_stretch(
    connection: Connection, room_row: int, board: BoardName, start_ts: int, end_ts: int
) -> tuple[list[tuple[Column, Column]], list[Block]]:
    """The hours that lie wholly inside as columns, where that is enough; the rest as blocks."""
    inner = -((-start_ts - PONG_TIMEOUT_MS) // HOUR_MS)
    outer = (end_ts - PONG_TIMEOUT_MS) // HOUR_MS
    if board is BoardName.RESPONSE or inner >= outer:
        return [], _read(connection, room_row, start_ts, end_ts)
    servers = "ping_server" if board is BoardName.DELIVERY else "pong_server"
    inside, others = sealed.read_claims(connection, room_row, inner, outer, servers)
    first, after = _hours(start_ts, end_ts)
    for edge in ((first, inner), (outer, after)):
        others |= sealed.read_hours(connection, room_row, *edge)
    return inside, [others[hour] for hour in sorted(others)]


def _hours(start_ts: int, end_ts: int) -> tuple[int, int]:
    """The first hour of pings that can have a pong in [start, end), and the first after them."""
    return (start_ts - PONG_TIMEOUT_MS) // HOUR_MS, (end_ts + PONG_TIMEOUT_MS) // HOUR_MS + 1


def _read(connection: Connection, room_row: int, start_ts: int, end_ts: int) -> list[Block]:
    first, after = _hours(start_ts, end_ts)
    hours = sealed.read_hours(connection, room_row, first, after)
    return [hours[hour] for hour in sorted(hours)]


def _uncounted(connection: Connection, room_row: int, after: int) -> list[int]:
    """The months of a room before `after` that have no fresh count, the latest first."""
    of_room = tables.ping.c.room == room_row
    first_ts = connection.scalar(select(func.min(tables.ping.c.seen_ts)).where(of_room))
    packed = select(func.min(tables.sealed.c.hour)).where(tables.sealed.c.room == room_row)
    first_hour = connection.scalar(packed)
    firsts = [ts for ts in (first_ts, first_hour and first_hour * HOUR_MS) if ts is not None]
    if not firsts:
        return []
    table = tables.month
    is_fresh = (table.c.room == room_row) & table.c.is_stale.is_(False)
    fresh = set(connection.execute(select(table.c.month).where(is_fresh)).scalars())
    numbers = range(after - 1, month_of(max(0, min(firsts) - PONG_TIMEOUT_MS)) - 1, -1)
    return [number for number in numbers if number not in fresh]


def _count(connection: Connection, version: int, room_row: int, number: int) -> Prepared:
    """Day by day, so that never more than a day's samples are in memory at once."""
    start_ts, end_ts = month_start_ts(number), month_start_ts(number + 1)
    counted = dict.fromkeys(BoardName, NOTHING)
    answered: list[Answered] = []
    for day_ts in range(start_ts, end_ts, _DAY_MS):
        next_ts = min(day_ts + _DAY_MS, end_ts)
        blocks = _read(connection, room_row, day_ts, next_ts)
        answers = answers_inside(blocks, day_ts, next_ts)
        for board in BoardName:
            servers, ms = _columns(blocks, answers, board, day_ts, next_ts)
            counted[board] = add_up([counted[board]], servers, ms)
        losses = losses_inside(blocks, day_ts, next_ts)
        answered.append(_summarise(answers, losses.pong_server))
    blobs = {str(board): _pack_counted(one) for board, one in counted.items()}
    blobs[str(BoardName.RESPONSE)] += _pack_answered(_merge(answered))
    samples = int(counted[BoardName.DELIVERY].counts.sum())
    return Prepared(version, room_row, number, samples, blobs)


def _columns(
    blocks: Sequence[Block], answers: Answers, board: BoardName, start_ts: int, end_ts: int
) -> tuple[Column, Column]:
    if board is BoardName.RESPONSE:
        taken = answers.ms >= 0
        return answers.pong_server[taken], answers.ms[taken]
    claims = [EMPTY.claims, *claims_inside(blocks, start_ts, end_ts)]
    by_ping = board is BoardName.DELIVERY
    servers = [one.ping_server if by_ping else one.pong_server for one in claims]
    return np.concatenate(servers), np.concatenate([one.ms for one in claims])


def _summarise(answers: Answers, losses: Column) -> Answered:
    lowest = _lowest(answers.pong_server, answers.ms, answers.offset_x2_ms)
    return Answered(np.bincount(answers.pong_server), np.bincount(losses), *lowest)


def _lowest(servers: Column, ms: Column, offset_x2_ms: Integers) -> tuple[Column, Column, Integers]:
    """The answers with each server's lowest round trip, of those that tell of its clock."""
    tells = (ms >= 0) & (offset_x2_ms != columns.NO_OFFSET)
    servers, ms, offset_x2_ms = servers[tells], ms[tells], offset_x2_ms[tells]
    lowest = np.full(int(servers.max(initial=0)) + 1, np.iinfo(np.int32).max, np.int32)
    np.minimum.at(lowest, servers, ms)
    best = ms == lowest[servers]
    return servers[best], ms[best], offset_x2_ms[best]


def _merge(parts: Sequence[Answered]) -> Answered:
    lowest = _lowest(
        np.concatenate([one.servers for one in parts]),
        np.concatenate([one.ms for one in parts]),
        np.concatenate([one.offset_x2_ms for one in parts]),
    )
    return Answered(
        add_counts([one.answers for one in parts]),
        add_counts([one.losses for one in parts]),
        *lowest,
    )


def add_counts(parts: Sequence[Integers]) -> Integers:
    """Counts by server, of which any may know fewer servers than others, added up."""
    total = np.zeros(max(map(len, parts), default=0), np.int64)
    for one in parts:
        total[: len(one)] += one
    return total


def _pack_counted(counted: Counted) -> bytes:
    (keys, counts), dense = split(counted)
    packed = pack_small(np.diff(keys, prepend=0)) + pack_small(counts)
    return packed + pack_column(dense.servers) + pack_column(dense.cells.ravel())


def _unpack_counted(blob: bytes) -> tuple[Counted, Dense]:
    parts = unpack_columns(blob, _EMPTY_COUNTED)
    steps, counts = unpack_small(parts), unpack_small(parts)
    servers, cells = next(parts), next(parts)
    dense = Dense(servers, cells.reshape(len(servers), 1 << DENSE_BITS))
    return Counted(np.cumsum(steps, out=steps), counts), dense


def _pack_answered(answered: Answered) -> bytes:
    lowest = (answered.servers, answered.ms, answered.offset_x2_ms)
    packed = pack_small(answered.answers) + pack_small(answered.losses)
    return packed + b"".join([pack_column(column) for column in lowest])


def _unpack_answered(blob: bytes) -> Answered:
    columns_ = _EMPTY_COUNTED + _EMPTY_ANSWERED
    skipped = len(_EMPTY_COUNTED)
    parts = unpack_columns(blob, columns_, chosen=range(skipped, len(columns_)))
    answers, losses = unpack_small(parts), unpack_small(parts)
    servers, ms, offsets = parts
    return Answered(answers, losses, servers.astype(np.int32), ms.astype(np.int32), offsets)
