"""The store's samples, read plainly: what everything that is faster is compared with."""

from __future__ import annotations

from typing import NamedTuple

from pingboard.model import BoardName, Window, from_ts
from pingboard.store.engine import Engine
from pingboard.store.exporter import read_records
from pingboard.store.rooms import read_lineage

ALWAYS = Window(from_ts(0), from_ts(2**47))


class Row(NamedTuple):
    """One sample."""

    ping_server: str
    pong_server: str
    one_way_ms: int
    round_trip_ms: int | None
    seen_ts: int


def read_rows(engine: Engine, room_id: str) -> list[Row]:
    """Every sample of one room, whatever boards take."""
    return [
        Row(
            record.ping_server,
            record.pong_server,
            record.one_way_ms,
            record.round_trip_ms,
            record.pong_seen_ts,
        )
        for record in read_records(engine, read_lineage(engine, room_id), ALWAYS)
        if record.one_way_ms is not None and record.pong_seen_ts is not None
    ]


def take(rows: list[Row], board: BoardName, window: Window) -> list[tuple[str, int]]:
    """The homeserver and the latency of each sample that a board takes."""
    kept = []
    for row in rows:
        ms = row.round_trip_ms if board is BoardName.RESPONSE else row.one_way_ms
        by = row.ping_server if board is BoardName.DELIVERY else row.pong_server
        is_inside = window.start_ts <= row.seen_ts < window.end_ts
        if is_inside and ms is not None and (board is BoardName.RESPONSE or 10 <= ms <= 600_000):
            kept.append((by, ms))
    return kept
