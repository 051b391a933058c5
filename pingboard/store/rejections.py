"""Rejections: a pong that does not count is counted under its reason, once.

Room history has an event again after a restart, with a gap, and for another account. So the
last ones are remembered by the hash of their event, and never count later, unless all that was
wrong was an unknown ping.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from pingboard.model import Rejected, Rejection
from pingboard.store.row_ids import RowIDs
from pingboard.store.schema import rejected_pong, rejection
from pingboard.store.sql import add_counts, chunks, execute, insert_rows, placeholders

MAX_REMEMBERED = 100_000
"""About 10 MB, whatever a room sends; an older one is counted again if history brings it again."""

_DAY_MS = 86_400_000
_FIND = "SELECT event_hash, reason FROM rejected_pong WHERE event_hash IN "


def record_rejected(connection: Connection, row_ids: RowIDs, pongs: Sequence[Rejected]) -> None:
    """Count pongs that do not count, each once under a reason."""
    if not pongs:
        return
    by_key = {(pong.event_hash, str(pong.reason)): pong for pong in reversed(pongs)}
    known = _find(connection, {pong.event_hash for pong in pongs})
    new = [by_key[key] for key in by_key.keys() - known]
    last = execute(connection, "SELECT coalesce(max(id), 0) FROM rejected_pong").scalar_one()
    rows = [(row, pong.event_hash, str(pong.reason)) for row, pong in enumerate(new, last + 1)]
    insert_rows(connection, rejected_pong, ("id", "event_hash", "reason"), rows)
    forgotten = last + len(rows) - MAX_REMEMBERED
    execute(connection, "DELETE FROM rejected_pong WHERE id <= ?", forgotten)
    rooms = row_ids.rooms.find(connection, {pong.room_id for pong in new})
    servers = row_ids.servers.find(connection, {pong.server for pong in new})
    counts = Counter(
        (rooms[pong.room_id], servers[pong.server], str(pong.reason), pong.seen_ts // _DAY_MS)
        for pong in new
    )
    add_counts(connection, rejection, counts)


def find_rejected(connection: Connection, event_hashes: Iterable[int]) -> set[int]:
    """Return those pongs (hashes) that were rejected for a reason other than an unknown ping."""
    return {
        event_hash
        for event_hash, reason in _find(connection, event_hashes)
        if reason != Rejection.UNKNOWN_PING
    }


def _find(connection: Connection, event_hashes: Iterable[int]) -> set[tuple[int, str]]:
    """Return the hashes and reasons that are remembered."""
    return {
        (row[0], row[1])
        for chunk in chunks(event_hashes)
        for row in execute(connection, _FIND + placeholders(len(chunk)), *chunk)
    }
