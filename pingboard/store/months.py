"""Past months, counted: a room and month -> one row from which long windows are exact and fast.

Built from the months' hours, and outlives raw rows as they do. The month is that of the pongs,
UTC. A change to one of its hours makes it stale (see `changes`); until it is counted anew, a window
reads the hours instead. What a blob holds: see `counted`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sqlalchemy import delete, func, insert, select

from pingboard.columns.blocks import HOUR_MS, WIDE, answers_inside, claims_inside, losses_inside
from pingboard.columns.counts import NOTHING, Counted, Dense, add_up
from pingboard.model import PONG_TIMEOUT_MS, BoardName, month_of, month_start_ts
from pingboard.store import changes, columns, sealed, tables
from pingboard.store.counted import (
    Answered,
    merge,
    pack_answered,
    pack_counted,
    summarise,
    unpack_answered,
    unpack_counted,
)
from pingboard.store.engine import read_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Engine

    from pingboard.columns.blocks import Answers, Block
    from pingboard.columns.narrow import Column

_DAY_MS = 24 * HOUR_MS


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
        months.append(unpack_counted(blob))
        if board is BoardName.RESPONSE:
            answered.append(unpack_answered(blob))
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
        answered.append(summarise(answers, losses.pong_server))
    blobs = {str(board): pack_counted(one) for board, one in counted.items()}
    blobs[str(BoardName.RESPONSE)] += pack_answered(merge(answered))
    samples = int(counted[BoardName.DELIVERY].counts.sum())
    return Prepared(version, room_row, number, samples, blobs)


def _columns(
    blocks: Sequence[Block], answers: Answers, board: BoardName, start_ts: int, end_ts: int
) -> tuple[Column, Column]:
    if board is BoardName.RESPONSE:
        taken = answers.ms >= 0
        return answers.pong_server[taken], answers.ms[taken]
    claims = [WIDE.claims, *claims_inside(blocks, start_ts, end_ts)]
    by_ping = board is BoardName.DELIVERY
    servers = [one.ping_server if by_ping else one.pong_server for one in claims]
    return np.concatenate(servers), np.concatenate([one.ms for one in claims])
