"""Reads single samples with their names and event IDs: for pingstat's clients, and for export."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import func, null, select, union

from pingboard.model import PONG_TIMEOUT_MS, PingstatRow, Provenance
from pingboard.records import Record
from pingboard.store.columns import read_names
from pingboard.store.engine import read_snapshot
from pingboard.store.folded import read_in_order
from pingboard.store.tables import (
    folded,
    ping,
    pong_clock_is_days_off,
    room,
    sample,
    server,
    unanswered,
    vantage,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import (
        ColumnElement,
        CompoundSelect,
        Connection,
        Engine,
        Select,
        Table,
    )

    from pingboard.model import Window
    from pingboard.store.folded import Fold, FoldedSample, Mask

    T = TypeVar("T")
    _Ordered = tuple[*tuple[int, ...], T]
    """Behind the order of first sight."""

DAY_MS = 86_400_000
_LARGEST = 2**62
_FIELDS = len(Record._fields)


def pingstat_rows(
    engine: Engine,
    room_name: str,
    rooms: Sequence[int],
    oldest_ts: int,
    newest_ts: int,
    shortest_ms: int,
    longest_ms: int,
) -> Iterator[PingstatRow]:
    """The samples of rooms (rows), in order of first sight, under one room's name.

    Those with `oldest_ts <= pong_timestamp <= newest_ts` by the pong server's clock, and with
    `shortest_ms <= receive_diff <= longest_ms`. All of them, whatever a board would say to them.
    """
    oldest_ts, newest_ts = (max(-_LARGEST, min(ts, _LARGEST)) for ts in (oldest_ts, newest_ts))
    wanted = _select_pingstat(rooms, oldest_ts, newest_ts, shortest_ms, longest_ms)

    def choose(fold: Fold) -> Mask:
        ts, ms = fold.origin_server_ts, fold.rows.one_way_ms
        return (ts >= oldest_ts) & (ts <= newest_ts) & (ms >= shortest_ms) & (ms <= longest_ms)

    with read_snapshot(engine) as connection:
        names = read_names(connection)
        unfolded = (
            (*row[:4], PingstatRow(room_name, row[4], names[row[3]], names[row[5]], row[6], row[7]))
            for row in connection.execute(wanted)
        )
        others = (
            (*_key(one), _describe(room_name, one, names[one.pong_server]))
            for one in read_in_order(
                connection,
                choose,
                folded.c.last_origin_ts >= oldest_ts,
                folded.c.first_origin_ts <= newest_ts,
            )
            if one.ping.room in rooms
        )
        yield from (row for *_, row in heapq.merge(unfolded, others))


def _select_pingstat(
    rooms: Sequence[int], oldest_ts: int, newest_ts: int, shortest_ms: int, longest_ms: int
) -> Select[Any]:
    pong_ts = ping.c.seen_ts + sample.c.delay_ms - sample.c.lag_ms
    columns: list[ColumnElement[Any]] = [
        *first_sight(),
        ping.c.event,
        ping.c.server,
        sample.c.one_way_ms,
        pong_ts,
    ]
    return (
        select(*columns)
        .join_from(ping, sample, sample.c.ping == ping.c.id)
        .where(
            ping.c.id.in_(_pinged_about(rooms, oldest_ts, newest_ts)),
            pong_ts.between(oldest_ts, newest_ts),
            sample.c.one_way_ms.between(shortest_ms, longest_ms),
        )
        .order_by(*first_sight())
    )


def _describe(room_name: str, one: FoldedSample, pong_server: str) -> PingstatRow:
    of = one.ping
    return PingstatRow(
        room_name, of.event, pong_server, of.server, one.one_way_ms, one.origin_server_ts
    )


def read_records(engine: Engine, rooms: Sequence[int] | None, window: Window) -> Iterator[Record]:
    """All that is kept of the samples whose pong was seen in the window, in order of first sight.

    Then the pongs expected in it that have not come. `rooms` are rows, None takes all.
    """
    seen_ts = ping.c.seen_ts + sample.c.delay_ms
    came = _select_records(
        sample,
        first_sight(),
        sample.c.one_way_ms,
        sample.c.round_trip_ms,
        seen_ts,
        seen_ts - sample.c.lag_ms,
        sample.c.provenance,
        sample.c.event_hash,
    ).where(seen_ts >= window.start_ts, seen_ts < window.end_ts)
    order = [ping.c.id, unanswered.c.pong_server]
    missed = _select_records(unanswered, order, *[null()] * 6).where(
        ping.c.seen_ts >= window.start_ts, ping.c.seen_ts < window.end_ts
    )
    with read_snapshot(engine) as connection:
        came_rows, missed_rows = (
            _read_records(connection, one if rooms is None else one.where(ping.c.room.in_(rooms)))
            for one in (came, missed)
        )
        folded_rows = _read_folded(connection, rooms, window)
        yield from (record for *_, record in heapq.merge(came_rows, folded_rows))
        yield from (record for *_, record in missed_rows)


def _read_records(connection: Connection, wanted: Select[Any]) -> Iterator[_Ordered[Record]]:
    for row in connection.execute(wanted.execution_options(yield_per=10_000)):
        code = row[-2]
        name = None if code is None else Provenance(code).name.lower()
        yield (*row[:-_FIELDS], Record._make([*row[-_FIELDS:-2], name, row[-1]]))


def _read_folded(
    connection: Connection, rooms: Sequence[int] | None, window: Window
) -> Iterator[_Ordered[Record]]:
    def choose(fold: Fold) -> Mask:
        return (fold.seen_ts >= window.start_ts) & (fold.seen_ts < window.end_ts)

    names = read_names(connection)
    possible = (folded.c.last_ts >= window.start_ts, folded.c.first_ts < window.end_ts)
    for one in read_in_order(connection, choose, *possible):
        of = one.ping
        if rooms is None or of.room in rooms:
            record = Record(
                of.room_id,
                of.room_alias,
                of.room_predecessor,
                of.event,
                of.server,
                names[one.pong_server],
                one.one_way_ms,
                one.round_trip_ms,
                of.seen_ts,
                one.seen_ts,
                of.origin_server_ts,
                one.origin_server_ts,
                of.sent_ts,
                of.vantage,
                Provenance(one.provenance).name.lower(),
                one.event_hash,
            )
            yield (*_key(one), record)


def _select_records(
    of: Table, order: Sequence[ColumnElement[Any]], *numbers: ColumnElement[Any]
) -> Select[Any]:
    one_way, round_trip, pong_seen, pong_origin, provenance, event_hash = numbers
    ping_server, pong_server, predecessor = server.alias(), server.alias(), room.alias()
    return (
        select(
            *order,
            room.c.room_id,
            room.c.alias,
            predecessor.c.room_id,
            ping.c.event,
            ping_server.c.name,
            pong_server.c.name,
            one_way,
            round_trip,
            ping.c.seen_ts,
            pong_seen,
            ping.c.origin_server_ts,
            pong_origin,
            ping.c.sent_ts,
            vantage.c.name,
            provenance,
            event_hash,
        )
        .select_from(of)
        .join(ping, ping.c.id == of.c.ping)
        .join(room, room.c.id == ping.c.room)
        .join(ping_server, ping_server.c.id == ping.c.server)
        .join(pong_server, pong_server.c.id == of.c.pong_server)
        .outerjoin(predecessor, predecessor.c.id == room.c.predecessor)
        .outerjoin(vantage, vantage.c.id == ping.c.vantage)
        .order_by(*order)
    )


def first_sight() -> list[ColumnElement[int]]:
    """The order of first sight: imported history as it was imported, then all as it arrived."""
    seen_ts = ping.c.seen_ts + sample.c.delay_ms
    # Where there is no position, one beyond all others.
    position = func.coalesce(sample.c.position, _LARGEST)
    return [position, seen_ts, ping.c.id, sample.c.pong_server]


def _key(one: FoldedSample) -> tuple[int, int, int, int]:
    """The same of what is folded, which was not imported."""
    return _LARGEST, one.seen_ts, one.ping.id, one.pong_server


def _pinged_about(rooms: Sequence[int], oldest_ts: int, newest_ts: int) -> CompoundSelect[int]:
    """The pings that can have a pong in a window of pong times, which are a foreign clock's."""
    near = select(ping.c.id).where(
        ping.c.room.in_(rooms),
        ping.c.seen_ts.between(oldest_ts - DAY_MS - PONG_TIMEOUT_MS, newest_ts + DAY_MS),
    )
    far = (
        select(ping.c.id)
        .join_from(sample, ping, sample.c.ping == ping.c.id)
        .where(ping.c.room.in_(rooms), pong_clock_is_days_off)
    )
    return union(near, far)
