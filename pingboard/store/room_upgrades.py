"""Room upgrades: what was stored of one event under two IDs of a room becomes one.

An import may name a room by its newest ID and a worker by an older one, before anybody knows that
the two are one room.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from pingboard.model import DamagedHourError
from pingboard.sample_blocks import HOUR_MS
from pingboard.store.hours import find_event_hashes
from pingboard.store.redactions import withdraw
from pingboard.store.retention import find_dropped, read_kept_from
from pingboard.store.rooms import read_lineages
from pingboard.store.sample_changes import PING_FIELDS, SampleChanges, StoredPing
from pingboard.store.sql import execute, placeholders

_MOVE = """
UPDATE {0} SET ping = ? WHERE ping = ? AND pong_server NOT IN
(SELECT pong_server FROM {0} WHERE ping = ?)
"""
_TAKE_TIMES = """
UPDATE ping SET (server, origin_server_ts, seen_ts, vantage, sent_ts, is_estimated) =
(SELECT server, origin_server_ts, seen_ts, vantage, sent_ts, is_estimated FROM ping WHERE id = ?)
WHERE id = ?
"""
_DELETE_WITHDRAWN = """
DELETE FROM {0} WHERE ping = ? AND pong_server IN
(SELECT pong_server FROM withdrawn WHERE ping = ?)
"""


def merge_lineage(connection: Connection, room_id: str) -> list[DamagedHourError]:
    """Merge the pings that a room's lineage has twice; what was heard stays, once.

    Return what is wrong with hours that are damaged, and therefore stay as they are.
    """
    lineage = read_lineages(connection).find(room_id)
    if len(lineage) < 2:
        return []
    changes = SampleChanges(connection)
    _delete_dropped(connection, changes, lineage)
    rooms = placeholders(len(lineage))
    doubled = f"""
    SELECT {PING_FIELDS} FROM ping WHERE room IN {rooms} AND event IN
    (SELECT event FROM ping WHERE room IN {rooms} GROUP BY event HAVING count(*) > 1)
    ORDER BY id
    """  # noqa: S608
    events: dict[str, list[StoredPing]] = {}
    for row in execute(connection, doubled, *lineage, *lineage).all():
        stored = StoredPing(*row)
        events.setdefault(stored.event_id, []).append(stored)
    for pings in events.values():
        hours = {(stored.room, stored.seen_ts // HOUR_MS) for stored in pings}
        if not changes.can_change(hours):
            continue
        changes.touch(hours)
        kept = pings[0]
        for other in pings[1:]:
            kept = _merge(connection, changes, kept, other, read_kept_from(connection, lineage))
    damaged = _redact_again(connection, changes, lineage)
    changes.finish()
    return changes.damaged + damaged


def _merge(
    connection: Connection,
    changes: SampleChanges,
    kept: StoredPing,
    other: StoredPing,
    kept_from_ts: int,
) -> StoredPing:
    """Give all that belongs to a ping to the one that was stored first, and its times if better."""
    if kept.fullness < other.fullness and other.seen_ts >= kept_from_ts:
        execute(connection, _TAKE_TIMES, other.id, kept.id)
        seen = other._replace(id=kept.id, room=kept.room)
        changes.move_samples(kept, seen)
        kept = seen._replace(room=other.room)
    changes.move_samples(other, kept)
    for table in ("unanswered", "withdrawn"):
        execute(connection, _MOVE.format(table), kept.id, other.id, kept.id)
        execute(connection, f"DELETE FROM {table} WHERE ping = ?", other.id)  # noqa: S608
    execute(connection, "DELETE FROM ping WHERE id = ?", other.id)
    execute(connection, "UPDATE ping SET room = ? WHERE id = ?", kept.room, kept.id)
    for table in ("sample", "unanswered"):
        execute(connection, _DELETE_WITHDRAWN.format(table), kept.id, kept.id)
    changes.delete_answered([kept])
    return kept


def _delete_dropped(connection: Connection, changes: SampleChanges, lineage: Sequence[int]) -> None:
    """Delete the pings whose single samples another room of the lineage has dropped."""
    if not read_kept_from(connection):
        return
    sql = f"SELECT {PING_FIELDS} FROM ping WHERE room IN {placeholders(len(lineage))}"  # noqa: S608
    pings = {row[2]: StoredPing(*row) for row in execute(connection, sql, *lineage)}
    for event_id in find_dropped(connection, lineage, pings):
        stored = pings[event_id]
        hours = [(stored.room, stored.seen_ts // HOUR_MS)]
        if not changes.can_change(hours):
            continue
        changes.touch(hours)
        for table in ("sample", "unanswered", "withdrawn"):
            execute(connection, f"DELETE FROM {table} WHERE ping = ?", stored.id)  # noqa: S608
        execute(connection, "DELETE FROM ping WHERE id = ?", stored.id)


def _redact_again(
    connection: Connection, changes: SampleChanges, lineage: Sequence[int]
) -> list[DamagedHourError]:
    """Take back the pongs that were redacted in another room of the lineage."""
    sql = f"SELECT event_hash FROM redacted WHERE room IN {placeholders(len(lineage))}"  # noqa: S608
    hashes = [row[0] for row in execute(connection, sql, *lineage)]
    if not hashes:
        return []
    hours, damaged = find_event_hashes(connection, lineage, hashes)
    withdraw(connection, changes, lineage, hashes, hours)
    return damaged
