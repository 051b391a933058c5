"""What can't have happened when it says is rejected, and nothing else happens."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pingboard.file_formats import Record, read_pingstat
from pingboard.store.engine import Engine
from pingboard.store.hours import close_hours
from pingboard.store.importer import Importer
from pingboard.store.schema import hour, ping
from tests.databases import count_rows
from tests.samples import ROOM, START_TS

DAY_MS = 86_400_000


def row(number: int, pong_timestamp: int) -> dict[str, Any]:
    return {
        "room_id": ROOM,
        "ping_id": f"$ping{number}",
        "pong_server": "two.example",
        "ping_server": "one.example",
        "receive_diff": 100,
        "pong_timestamp": pong_timestamp,
    }


def import_rows(engine: Engine, rows: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """Return how many samples were imported, and why the others were not."""
    read = [read_pingstat(row) for row in rows]
    reasons = [reason for reason in read if isinstance(reason, str)]
    with Importer(engine) as importer:
        records = [record for record in read if isinstance(record, Record)]
        reasons += [why for _, why in importer.add(records)]
    return importer.imported, reasons


@pytest.mark.parametrize(
    "pong_timestamp",
    [0, 1, 1_409_529_599_999, 253_402_300_800_000, 2**53, None],
    ids=["1970", "1970-01-01", "before Matrix", "the year 10000", "far beyond", "400 days ahead"],
)
def test_an_impossible_row_is_rejected_and_the_others_of_its_chunk_stay(
    engine: Engine, pong_timestamp: int | None
) -> None:
    if pong_timestamp is None:
        pong_timestamp = time.time_ns() // 1_000_000 + 400 * DAY_MS
    rows = [row(1, START_TS), row(2, pong_timestamp), row(3, START_TS + DAY_MS)]
    imported, [reason] = import_rows(engine, rows)
    assert imported == 2
    assert str(pong_timestamp) in reason or "ahead" in reason
    close_hours(engine, START_TS + 2 * DAY_MS)
    assert (count_rows(engine, ping), count_rows(engine, hour)) == (2, 2)
