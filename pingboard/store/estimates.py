"""What pingstat does not keep: when a ping was sent, and which event a pong is.

Once such a ping is seen, live or in the room's history, its own times take the place of what was
estimated. Once such a pong is heard, its event is known, so that a redaction finds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pingboard.columns import HOUR_MS
from pingboard.model import PONG_TIMEOUT_MS, Ping, Provenance
from pingboard.store.schema import sample
from pingboard.store.sql import execute, insert_rows

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pingboard.store.changes import Changes
    from pingboard.store.lookups import StoredPing

_UPDATE_PING = """
UPDATE ping SET server = ?, origin_server_ts = ?, seen_ts = ?, vantage = ?, sent_ts = ?,
is_estimated = ? WHERE id = ?
"""
_LEARN_EVENT = """
UPDATE sample SET event_hash = ? WHERE ping = ? AND pong_server = ? AND one_way_ms = ?
AND ? + delay_ms - lag_ms = ? AND event_hash IS NULL
"""
_COLUMNS = tuple(column for column in sample.c.keys() if column != "ping")  # noqa: SIM118


def estimate_pong_seen_ts(ping_seen_ts: int, origin_server_ts: int) -> int:
    """Return when a pong that nobody saw arrive was seen: by its own time, as far as that can be.

    Its time is a foreign clock's, and a pong that counts came within ten minutes after its ping.
    """
    return max(ping_seen_ts, min(origin_server_ts, ping_seen_ts + PONG_TIMEOUT_MS))


def replace_estimate(
    connection: Connection,
    changes: Changes,
    stored: StoredPing,
    seen: Ping,
    server: int,
    vantage: int | None,
) -> StoredPing:
    """Give a stored ping the times with which it was seen, and its pongs times near these.

    `server` and `vantage` are row IDs.
    """
    changes.touch((stored.room, ts // HOUR_MS) for ts in (stored.seen_ts, seen.seen_ts))
    times = (seen.origin_server_ts, seen.seen_ts)
    execute(connection, _UPDATE_PING, server, *times, vantage, seen.sent_ts, False, stored.id)
    real = stored._replace(
        server=server,
        origin_server_ts=seen.origin_server_ts,
        seen_ts=seen.seen_ts,
        is_ours=vantage is not None,
        is_estimated=False,
    )
    move_samples(connection, stored, real)
    return real


def move_samples(connection: Connection, source: StoredPing, target: StoredPing) -> None:
    """Give a ping the samples of another one that is the same, or of itself before it was moved.

    Both hours are open. Pongs that named another ping server are left out: they lied. So are those
    of pong servers of which the target has one already.
    """
    sql = f"SELECT {', '.join(_COLUMNS)} FROM sample WHERE ping = ?"  # noqa: S608
    rows = [dict(zip(_COLUMNS, row, strict=True)) for row in execute(connection, sql, source.id)]
    execute(connection, "DELETE FROM sample WHERE ping = ?", source.id)
    if source.server != target.server:
        return
    for row in rows:
        seen_ts = source.seen_ts + row["delay_ms"]
        origin_ts = seen_ts - row["lag_ms"]
        if row["provenance"] == Provenance.IMPORT:
            seen_ts = estimate_pong_seen_ts(target.seen_ts, origin_ts)
        delay_ms = max(-PONG_TIMEOUT_MS, min(seen_ts - target.seen_ts, PONG_TIMEOUT_MS))
        row |= {"delay_ms": delay_ms, "lag_ms": target.seen_ts + delay_ms - origin_ts}
        if row["event_hash"] is not None:
            of_pong = (row["pong_server"], row["one_way_ms"], origin_ts)
            learn_event(connection, target, *of_pong, row["event_hash"])
    moved = [(target.id, *row.values()) for row in rows]
    insert_rows(connection, sample, ("ping", *_COLUMNS), moved)


def learn_event(
    connection: Connection,
    stored: StoredPing,
    pong_server: int,
    one_way_ms: int,
    origin_server_ts: int,
    event_hash: int,
) -> bool:
    """Remember which event an imported pong is; tell whether there is such a pong."""
    key = (stored.id, pong_server, one_way_ms)
    times = (stored.seen_ts, origin_server_ts)
    return bool(execute(connection, _LEARN_EVENT, event_hash, *key, *times).rowcount)
