"""Which rooms there are, what they were upgraded from, and how much was heard in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, Engine, select, update

from pingboard.model import Room, RoomState, from_ts
from pingboard.sample_blocks import HOUR_MS
from pingboard.store import journal
from pingboard.store.engine import read_snapshot
from pingboard.store.hours import count_samples, find_last_pong
from pingboard.store.schema import room
from pingboard.store.sql import execute


class RoomStatus(NamedTuple):
    """Whether a room can be measured in, and where it came from."""

    state: str | None
    """model.RoomState; None where it was never joined, as after an import"""
    predecessor: str | None
    """the ID of the room that was upgraded to this one"""


class Lineages:
    """Which rooms were upgraded to one another, as of one moment."""

    def __init__(self, rows: Iterable[tuple[int, str, int | None]]) -> None:
        """`rows` are the row ID, the room ID, and the row ID of the predecessor."""
        self._rows: dict[str, int] = {}
        self._neighbours: dict[int, set[int]] = {}
        for row, room_id, predecessor in rows:
            self._rows[room_id] = row
            self._neighbours.setdefault(row, set())
            if predecessor is not None:
                self._neighbours[row].add(predecessor)
                self._neighbours.setdefault(predecessor, set()).add(row)

    def find(self, room_id: str) -> tuple[int, ...]:
        """Return the rows of a room and of all that it was upgraded from or to; () if unknown."""
        rooms: set[int] = set()
        unseen = {self._rows[room_id]} if room_id in self._rows else set()
        while unseen:
            rooms |= unseen
            unseen = {row for known in unseen for row in self._neighbours[known]} - rooms
        return tuple(sorted(rooms))


def read_lineages(connection: Connection) -> Lineages:
    """Read the lineages of all rooms."""
    rows = execute(connection, "SELECT id, room_id, predecessor FROM room")
    return Lineages([(row, room_id, predecessor) for row, room_id, predecessor in rows])


def read_lineage(engine: Engine, room_id: str) -> list[int]:
    """Return the rows of a room and of all that it was upgraded from or to; [] if unknown."""
    with engine.connect() as connection:
        return [*read_lineages(connection).find(room_id)]


def read_lineage_ids(engine: Engine, room_id: str) -> list[str]:
    """Return the IDs of a room and of all that it was upgraded from or to."""
    ids = select(room.c.room_id).where(room.c.id.in_(read_lineage(engine, room_id)))
    with engine.connect() as connection:
        return list(connection.scalars(ids))


# A subquery a room, because each is one step in an index.
_ROOM_NAMES = """
SELECT room_id, alias, id, (SELECT max(seen_ts) FROM ping WHERE ping.room = room.id),
(SELECT max(hour) FROM hour WHERE hour.room = room.id) FROM room
"""


def read_room_names(engine: Engine) -> list[tuple[str, str | None]]:
    """Return ID and alias of every room, the one with the latest ping first."""
    with engine.connect() as connection:
        # The pings of old hours are dropped.
        latest = [
            (-max(ts or 0, (number or 0) * HOUR_MS), id_, room_id, alias)
            for room_id, alias, id_, ts, number in execute(connection, _ROOM_NAMES)
        ]
    return [(room_id, alias) for _, _, room_id, alias in sorted(latest)]


def list_rooms(engine: Engine) -> list[Room]:
    """Return every room with its samples counted, in the order of `read_room_names`."""
    with read_snapshot(engine) as connection:
        counts = count_samples(connection)
        ids = connection.execute(select(room.c.id, room.c.room_id))
        rows = {room_id: row for row, room_id in ids}
        last = {room_id: find_last_pong(connection, row) for room_id, row in rows.items()}
    return [
        Room(room_id, alias, counts.get(rows[room_id], 0), None if ts is None else from_ts(ts))
        for room_id, alias in read_room_names(engine)
        if room_id in rows
        for ts in [last[room_id]]
    ]


def read_room_states(engine: Engine) -> dict[str, RoomStatus]:
    """Return the status of every room, by its ID."""
    before = room.alias()
    rows = select(room.c.room_id, room.c.state, before.c.room_id).outerjoin_from(
        room, before, room.c.predecessor == before.c.id
    )
    with engine.connect() as connection:
        return {room_id: RoomStatus(*status) for room_id, *status in connection.execute(rows)}


def record_room_state(engine: Engine, room_id: str, state: RoomState) -> None:
    """Remember whether a room can be measured in; one that was upgraded stays upgraded."""
    with engine.begin() as connection:
        statement = update(room).where(room.c.room_id == room_id)
        # An upgrade takes the right to write away first, and the refusal may be told last.
        current = statement.where(room.c.state.is_distinct_from(str(RoomState.UPGRADED)))
        connection.execute(current.values(state=str(state)))
        journal.write_room_change(connection)
