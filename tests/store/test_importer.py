"""Importing: what was redacted stays gone, and what is over is closed at the end."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, make_url, select, text

from pingboard.file_formats import Record, read_pingstat
from pingboard.model import Batch, Window, from_ts
from pingboard.store.engine import Engine, open_engine
from pingboard.store.exporter import read_pingstat_rows, read_records
from pingboard.store.hours import close_hours
from pingboard.store.importer import Importer
from pingboard.store.ingest import Ingest
from pingboard.store.schema import hour, sample, unanswered
from tests.databases import PostgreSQL, open_migrated_file
from tests.samples import ROOM, START_TS, make_sample

WINDOW = Window(from_ts(START_TS), from_ts(START_TS) + timedelta(days=1))


def test_a_redacted_pong_does_not_come_again_with_an_import(engine: Engine) -> None:
    ingest, first, second = Ingest(engine, "test"), make_sample(1), make_sample(2)
    ingest.record(Batch([], [first, second]))
    exported = list(read_records(engine, None, WINDOW))
    of_pingstat = list(read_pingstat_rows(engine, ROOM, [1], 0, START_TS * 2, 0, 600_000))
    ingest.record(Batch(redacted=[(ROOM, first.pong.event_id)]))
    [stays] = read_records(engine, None, WINDOW)
    read = [read_pingstat(row._asdict()) for row in of_pingstat]
    for rows in (exported, [row for row in read if isinstance(row, Record)]):
        importer = Importer(engine)
        assert list(importer.add(rows)) == [(0, "its pong was redacted")]
        assert (importer.imported, importer.known) == (0, 1)
        assert list(read_records(engine, None, WINDOW)) == [stays]


def test_a_pong_that_was_redacted_before_it_came_is_not_imported(engine: Engine) -> None:
    ingest, sample = Ingest(engine, "test"), make_sample(1)
    ingest.record(Batch([], [sample]))
    exported = list(read_records(engine, None, WINDOW))
    moved = [record._replace(ping_event_id="$elsewhere") for record in exported]
    ingest.record(Batch(redacted=[(ROOM, sample.pong.event_id)]))
    assert list(Importer(engine).add(moved)) == [(0, "its pong was redacted")]


def test_what_is_known_opens_no_closed_hour(engine: Engine) -> None:
    ingest, lost = Ingest(engine, "test"), make_sample(2, round_trip_ms=100)
    ingest.record(Batch(samples=[make_sample(1)], expected=[(lost.ping, ["two.example"])]))
    exported = list(read_records(engine, None, WINDOW))
    assert [row.one_way_ms for row in exported] == [100, None]
    closing_ts = START_TS + 2 * 86_400_000
    assert close_hours(engine, closing_ts) == 1
    importer = Importer(engine)
    assert list(importer.add(exported)) == []
    assert (importer.imported, importer.known) == (0, 1)
    assert close_hours(engine, closing_ts) == 0
    assert list(read_records(engine, None, WINDOW)) == exported


def test_rooms_are_exported_in_the_same_order_from_any_database(engine: Engine) -> None:
    for room_id in ("!second:one.example", "!first:one.example"):
        again = make_sample(1)
        ping = replace(again.ping, room_id=room_id)
        pong = replace(again.pong, room_id=room_id)
        Ingest(engine, "test").record(Batch([], [replace(again, ping=ping, pong=pong)]))
    rooms = [record.room_id for record in read_records(engine, None, WINDOW)]
    assert rooms == ["!first:one.example", "!second:one.example"]


def test_an_import_leaves_no_rows_of_hours_that_are_over(engine: Engine) -> None:
    rows = [
        {
            "room_id": ROOM,
            "ping_id": f"$ping{number}",
            "ping_server": "one.example",
            "pong_server": f"{server}.example",
            "receive_diff": 100 + number,
            "pong_timestamp": START_TS + number * 400_000,
        }
        for number in range(100)
        for server in ("two", "three")
    ]
    records = [record for row in rows if isinstance(record := read_pingstat(row), Record)]
    lost = records[-1]._replace(pong_server="four.example", one_way_ms=None)
    with Importer(engine) as importer:
        for start in range(0, len(records), 30):
            assert list(importer.add(records[start : start + 30])) == []
        assert list(importer.add([lost])) == []
    with engine.connect() as connection:
        for table in (sample, unanswered):
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0
        samples = select(func.count(), func.sum(hour.c.samples))
        assert connection.execute(samples).one() == (12, len(records))
    assert len(list(read_records(engine, None, WINDOW))) == len(records) + 1


def test_rows_of_one_ping_under_both_rooms_of_an_upgrade_are_one_sample(engine: Engine) -> None:
    ingest = Ingest(engine, "test")
    ingest.record_room("!old:one.example")
    ingest.record_room("!new:one.example", predecessor="!old:one.example")
    record = read_pingstat(
        {
            "room_id": "!old:one.example",
            "ping_id": "$ping",
            "ping_server": "one.example",
            "pong_server": "two.example",
            "receive_diff": 100,
            "pong_timestamp": START_TS,
        }
    )
    assert isinstance(record, Record)
    with Importer(engine) as importer:
        assert list(importer.add([record, record._replace(room_id="!new:one.example")])) == []
        assert (importer.imported, importer.known) == (1, 1)
    assert len(list(read_records(engine, None, WINDOW))) == 1


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    """Let no file become larger in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def export_one(engine: Engine) -> list[Record]:
    Ingest(engine, "test").record(Batch(samples=[make_sample(1)]))
    return list(read_records(engine, None, WINDOW))


def test_an_import_succeeds_where_the_disk_has_no_room_to_make_the_file_smaller(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, engine = (open_migrated_file(tmp_path / name) for name in ("a.db", "b.db"))
    records = export_one(source)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE filler AS SELECT zeroblob(2000000) AS content"))
    with engine.connect() as connection:
        connection.rollback()
        connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    importer = Importer(engine)
    assert list(importer.add(records)) == []
    with limited_files(1_000_000):
        importer.close()
    assert importer.imported == 1
    [line] = caplog.messages
    assert line == "after the import the database could not be made smaller: disk I/O error"
    assert list(read_records(engine, None, WINDOW)) == records
    source.dispose()
    engine.dispose()


def test_an_import_succeeds_where_somebody_reads_a_table_that_is_to_be_made_smaller(
    postgresql: PostgreSQL, caplog: pytest.LogCaptureFixture
) -> None:
    source = open_engine(postgresql.create_migrated())
    url = make_url(postgresql.create_migrated())
    impatient = url.update_query_dict({"options": "-clock_timeout=100ms"})
    engine = open_engine(impatient.render_as_string(hide_password=False))
    records = export_one(source)
    with engine.connect() as reader:
        reader.execute(select(sample))
        with Importer(engine) as importer:
            assert list(importer.add(records)) == []
    assert importer.imported == 1
    [line] = caplog.messages
    assert line.startswith("after the import the database could not be made smaller: cancel")
    assert list(read_records(engine, None, WINDOW)) == records
    source.dispose()
    engine.dispose()
