"""What is written besides samples: redactions, void pings, pending pongs, gaps in history."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, insert, select, update

from pingboard.store.folded import find_hashes
from pingboard.store.folding import make_rows
from pingboard.store.rows import (
    chunks,
    hash_event_id,
    ids_of,
    insert_new,
    insert_rows,
    is_among,
    is_one_of,
    ping_ids,
    write_list,
)
from pingboard.store.tables import (
    gap,
    pending,
    ping,
    redacted,
    room,
    sample,
    server,
    unanswered,
    void_round,
    withdrawn,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection, Engine, Select

    from pingboard.model import Gap, Pending, Ping, Pong, VoidReason

_RECENT_MS = 86_400_000
"""Most redactions follow within a day; only for others are all pings of the room looked through."""


def redact(connection: Connection, events: Sequence[tuple[str, str]]) -> None:
    """Take pongs back, (room ID, event ID), and keep them from ever coming again."""
    rooms = ids_of(connection, room.c.room_id, {room_id for room_id, _ in events})
    for room_id, room_row in rooms.items():
        hashes = [hash_event_id(event) for of_room, event in events if of_room == room_id]
        rows = [{"room": room_row, "event_hash": hashed} for hashed in hashes]
        insert_new(connection, redacted, rows)
        names = [event for of_room, event in events if of_room == room_id]
        for chunk in chunks(names):
            gone = delete(pending).where(pending.c.room == room_row, pending.c.event.in_(chunk))
            connection.execute(gone)
        _delete_samples(connection, room_row, hashes)


def _delete_samples(connection: Connection, room_row: int, hashes: Sequence[int]) -> None:
    recent_ts = time.time_ns() // 1_000_000 - _RECENT_MS
    for chunk in chunks(hashes):
        # The table has no index on the hash: it would cost each sample more than the sample.
        found = select(sample.c.ping, sample.c.pong_server).join(ping, sample.c.ping == ping.c.id)
        found = found.where(ping.c.room == room_row, sample.c.event_hash.in_(chunk))
        keys = [tuple(one) for one in connection.execute(found.where(ping.c.seen_ts >= recent_ts))]
        if len(keys) < len(chunk):
            keys = [tuple(one) for one in connection.execute(found)]
            keys += find_hashes(connection, room_row, chunk)
        make_rows(connection, [ping_row for ping_row, _ in keys])
        insert_rows(connection, withdrawn, ("ping", "pong_server"), keys)
        for ping_row, server_row in keys:
            one = and_(sample.c.ping == ping_row, sample.c.pong_server == server_row)
            connection.execute(delete(sample).where(one))


def find_withdrawn(connection: Connection, pings: Sequence[int]) -> set[tuple[int, int]]:
    """The samples of these pings, by their keys, whose pong was taken back."""
    found = select(withdrawn.c.ping, withdrawn.c.pong_server)
    wanted = found.where(is_one_of(connection, withdrawn.c.ping, pings))
    return {(row[0], row[1]) for row in connection.execute(wanted)}


def find_redacted(
    connection: Connection, rooms: Collection[int], hashes: Sequence[int]
) -> set[tuple[int, int]]:
    """The pongs, by room (row) and hash, that were taken back before."""
    given = {"values": write_list(connection, hashes)}
    rows = connection.execute(_find_redacted(connection.dialect.name), given)
    return {(row[0], row[1]) for row in rows if row[0] in rooms}


@cache
def _find_redacted(dialect: str) -> Select[int, int]:
    found = select(redacted.c.room, redacted.c.event_hash)
    # Said by room too, because their key begins with it.
    rooms = redacted.c.room.in_(select(room.c.id))
    return found.where(rooms, is_among(dialect, redacted.c.event_hash))


def void(connection: Connection, pings: Sequence[Ping]) -> None:
    """Expect no pong of these any more."""
    rooms = ids_of(connection, room.c.room_id, {one.room_id for one in pings})
    ids = ping_ids(connection, [(one.room_id, one.event_id) for one in pings], rooms)
    make_rows(connection, list(ids.values()))
    for chunk in chunks(list(ids.values())):
        connection.execute(delete(unanswered).where(unanswered.c.ping.in_(chunk)))


def record_void_rounds(engine: Engine, vantage: str, counts: Mapping[VoidReason, int]) -> None:
    """Count rounds that measured nothing, by why."""
    with engine.begin() as connection:
        for reason, count in counts.items():
            key = {"vantage": vantage, "reason": str(reason)}
            insert_new(connection, void_round, [{**key, "count": 0}])
            same = update(void_round).filter_by(**key)
            connection.execute(same.values(count=void_round.c.count + count))


def record_pending(connection: Connection, pongs: Sequence[Pending]) -> None:
    """Keep pongs whose ping is not known yet, so that a restart does not lose them."""
    rooms = ids_of(connection, room.c.room_id, {one.pong.room_id for one in pongs})
    names = ids_of(connection, server.c.name, {one.pong.server for one in pongs})
    rows: list[dict[str, Any]] = [
        {
            "room": rooms[one.pong.room_id],
            "event": one.pong.event_id,
            "pong_server": names[one.pong.server],
            "ping_event": one.pong.ping_event_id,
            "claimed_from": one.pong.claimed_from,
            "one_way_ms": one.pong.one_way_ms,
            "origin_server_ts": one.pong.origin_server_ts,
            "seen_ts": one.pong.seen_ts,
            "provenance": int(one.provenance),
        }
        for one in pongs
    ]
    insert_new(connection, pending, rows)


def forget_pending(connection: Connection, pongs: Sequence[Pong]) -> None:
    """These are decided."""
    if not pongs:
        return
    rooms = ids_of(connection, room.c.room_id, {one.room_id for one in pongs})
    same = delete(pending).where(
        pending.c.room == bindparam("b_room"), pending.c.event == bindparam("b_event")
    )
    keys = [{"b_room": rooms[one.room_id], "b_event": one.event_id} for one in pongs]
    connection.execute(same, keys)


def record_gaps(connection: Connection, gaps: Sequence[Gap]) -> None:
    """Insert gaps that are new, update those that have an id."""
    rooms = ids_of(connection, room.c.room_id, {one.room_id for one in gaps})
    for one in gaps:
        progress = {
            "position": one.position,
            "closed_ts": one.closed_ts,
            "pongs": one.pongs,
            "fault": one.fault,
        }
        if one.id is not None:
            connection.execute(update(gap).where(gap.c.id == one.id).values(progress))
            continue
        bounds = {"until": one.until, "oldest_ts": one.oldest_ts, "opened_ts": one.opened_ts}
        connection.execute(insert(gap).values(room=rooms[one.room_id], **bounds, **progress))
