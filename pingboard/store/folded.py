"""Samples of past pings, packed: those of 32 pings in one row, a third of what their rows take.

Which ones, and how they become rows again before anything of them changes, is in `folding`. Here
is what they look like and how they are read: who reads single samples reads these beside the rows.

The format: columns (see `packing`), by ping and pong server. Most bytes go to what is random, the
48 bits of the event's hash, the one-way latency, and how late we saw the pong; the rest follows
from it, or is as in the sample before. Some 13 bytes a sample.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sqlalchemy import select

from pingboard.store.packing import (
    pack_column,
    pack_small,
    pack_steps,
    unpack_columns,
    unpack_small,
    unpack_steps,
    unzigzag,
    zigzag,
)
from pingboard.store.rows import is_one_of
from pingboard.store.tables import folded, ping, room, server, vantage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import ColumnElement, Connection

    from pingboard.columns.narrow import Integers

    Mask = NDArray[np.bool_]

PINGS = 32
"""Pings, by their row IDs, whose samples are folded together."""

NONE = np.iinfo(np.int64).min
"""Stands for a round trip that there is not."""

_NOTHING = [np.empty(0, np.int64)] * 16
_HASH_COLUMNS = (14, 15)
_TWO_BYTES = (1 << 16) - 1


class Rows(NamedTuple):
    """Rows of the table `sample`, column by column; all (n,), in order of their key."""

    ping: Integers
    pong_server: Integers
    one_way_ms: Integers
    round_trip_ms: Integers
    delay_ms: Integers
    lag_ms: Integers
    provenance: Integers
    event_hash: Integers


class PingRow(NamedTuple):
    """A ping, with the names that it refers to."""

    id: int
    room: int
    room_id: str
    room_alias: str | None
    room_predecessor: str | None
    event: str
    server: str
    origin_server_ts: int
    seen_ts: int
    sent_ts: int | None
    vantage: str | None


class FoldedSample(NamedTuple):
    """A sample as a reader wants it."""

    ping: PingRow
    pong_server: int
    """row ID"""
    seen_ts: int
    """when the pong was seen"""
    origin_server_ts: int
    """of the pong"""
    one_way_ms: int
    round_trip_ms: int | None
    provenance: int
    event_hash: int


class Fold(NamedTuple):
    """Samples that are folded together, and their pings by row ID."""

    pings: dict[int, PingRow]
    rows: Rows
    seen_ts: Integers
    """when the pong of each was seen"""

    @property
    def origin_server_ts(self) -> Integers:
        """When the pong of each was sent, by its server's clock."""
        return self.seen_ts - self.rows.lag_ms

    def take(self, chosen: Mask) -> Iterator[FoldedSample]:
        """Those that a mask takes, by ping and pong server."""
        rows = self.rows
        times = (self.seen_ts, self.origin_server_ts)
        numbers = (rows.one_way_ms, rows.round_trip_ms, rows.provenance, rows.event_hash)
        columns = (rows.ping, rows.pong_server, *times, *numbers)
        listed = (column[chosen].tolist() for column in columns)
        for ping_row, pong_server, seen_ts, origin_ts, one_way, round_trip, *others in zip(
            *listed, strict=True
        ):
            round_trip_ms = None if round_trip == NONE else round_trip
            yield FoldedSample(
                self.pings[ping_row],
                pong_server,
                seen_ts,
                origin_ts,
                one_way,
                round_trip_ms,
                *others,
            )


def pack(rows: Rows) -> bytes:
    """Rows as bytes. All have to have an event hash."""
    has_round_trip = rows.round_trip_ms != NONE
    # The bot claims what it took from the ping's clock to its own, which sent the pong.
    claim_error = rows.delay_ms - rows.lag_ms - rows.one_way_ms
    # From our send, not from when the ping came back to us.
    sent_before = (rows.round_trip_ms - rows.delay_ms)[has_round_trip]
    kinds, lengths = _find_runs(2 * rows.provenance + has_round_trip)
    return b"".join(
        (
            pack_steps(rows.ping),
            pack_steps(rows.pong_server),
            pack_small(zigzag(rows.one_way_ms), _TWO_BYTES),
            pack_small(zigzag(rows.lag_ms), _TWO_BYTES),
            pack_steps(claim_error),
            pack_steps(sent_before),
            pack_column(kinds) + pack_column(lengths),
            pack_column(rows.event_hash >> 32) + pack_column(rows.event_hash & 0xFFFFFFFF),
        )
    )


def unpack(packed: bytes) -> Rows:
    """The rows of what `pack` gave."""
    parts = unpack_columns(packed, _NOTHING)
    ping_rows, servers = unpack_steps(parts), unpack_steps(parts)
    one_way_ms, lag_ms = (unzigzag(unpack_small(parts, _TWO_BYTES)) for _ in range(2))
    delay_ms = unpack_steps(parts) + lag_ms + one_way_ms
    sent_before = unpack_steps(parts)
    kinds = np.repeat(next(parts), next(parts))
    has_round_trip = kinds & 1 == 1
    round_trip_ms = np.full(len(kinds), NONE)
    round_trip_ms[has_round_trip] = delay_ms[has_round_trip] + sent_before
    event_hash = (next(parts) << 32) | next(parts)
    return Rows(
        ping_rows, servers, one_way_ms, round_trip_ms, delay_ms, lag_ms, kinds >> 1, event_hash
    )


def _find_runs(column: Integers) -> tuple[Integers, Integers]:
    """The values of a column, each run of equal ones once, and how long the runs are."""
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    return column[starts], np.diff(starts, append=len(column))


def find_folds(connection: Connection, *which: ColumnElement[bool]) -> list[int]:
    """The IDs, in order, of those folds that meet all conditions on the table."""
    wanted = select(folded.c.id).where(*which).order_by(folded.c.id)
    return list(connection.execute(wanted).scalars())


def read_in_order(
    connection: Connection, choose: Callable[[Fold], Mask], *which: ColumnElement[bool]
) -> Iterator[FoldedSample]:
    """The chosen samples of these folds by when their pong was seen; then ping and pong server."""
    wanted = select(folded.c.id, folded.c.first_ts).where(*which).order_by(folded.c.first_ts)
    waiting: list[FoldedSample] = []
    for number, first_ts in connection.execute(wanted).all():
        # Whatever comes from here on is not older.
        ready = bisect_left(waiting, first_ts, key=attrgetter("seen_ts"))
        yield from waiting[:ready]
        fold = read_fold(connection, number)
        waiting = sorted([*waiting[ready:], *fold.take(choose(fold))], key=_order)
    yield from waiting


def _order(one: FoldedSample) -> tuple[int, int, int]:
    return one.seen_ts, one.ping.id, one.pong_server


def read_rows(connection: Connection, fold: int) -> Rows:
    """The samples of one fold, as they are packed."""
    return unpack(connection.execute(select(folded.c.samples).filter_by(id=fold)).scalar_one())


def read_fold(connection: Connection, fold: int) -> Fold:
    """One fold with all that its samples refer to."""
    rows = read_rows(connection, fold)
    pings = _read_pings(connection, fold)
    seen_ts = np.zeros(PINGS, np.int64)
    for id_, one in pings.items():
        seen_ts[id_ - fold * PINGS] = one.seen_ts
    return Fold(pings, rows, seen_ts[rows.ping - fold * PINGS] + rows.delay_ms)


def _read_pings(connection: Connection, fold: int) -> dict[int, PingRow]:
    predecessor = room.alias()
    wanted = (
        select(
            ping.c.id,
            ping.c.room,
            room.c.room_id,
            room.c.alias,
            predecessor.c.room_id,
            ping.c.event,
            server.c.name,
            ping.c.origin_server_ts,
            ping.c.seen_ts,
            ping.c.sent_ts,
            vantage.c.name,
        )
        .select_from(ping)
        .join(room, room.c.id == ping.c.room)
        .join(server, server.c.id == ping.c.server)
        .outerjoin(predecessor, predecessor.c.id == room.c.predecessor)
        .outerjoin(vantage, vantage.c.id == ping.c.vantage)
        .where(ping.c.id >= fold * PINGS, ping.c.id < (fold + 1) * PINGS)
    )
    return {row[0]: PingRow(*row) for row in connection.execute(wanted)}


def find_hashes(
    connection: Connection, room_row: int, hashes: Sequence[int]
) -> list[tuple[int, int]]:
    """Ping and pong server (rows) of a room's samples whose pong has one of these event hashes."""
    every = select(folded.c.samples).execution_options(yield_per=16)
    found: list[tuple[int, int]] = []
    for packed in connection.execute(every).scalars():
        high, low = unpack_columns(packed, _NOTHING, _HASH_COLUMNS)
        places = np.flatnonzero(np.isin((high << 32) | low, hashes))
        if len(places):
            rows = unpack(packed)
            found += zip(rows.ping[places].tolist(), rows.pong_server[places].tolist(), strict=True)
    same = is_one_of(connection, ping.c.id, [one for one, _ in found])
    here = connection.execute(select(ping.c.id).where(same, ping.c.room == room_row)).scalars()
    in_room = set(here)
    return [key for key in found if key[0] in in_room]
