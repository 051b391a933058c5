"""Dropping single samples, on both databases: every board stays as it is, and so do old hours."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import func, select

from pingboard.boards import Boards
from pingboard.file_formats import Record, read_pingstat
from pingboard.homeservers import read_history, read_profile
from pingboard.model import Batch, BoardName, Sample, Window, hash_event_id, to_ts
from pingboard.store import schema
from pingboard.store.engine import Engine
from pingboard.store.exporter import read_records
from pingboard.store.hours import close_hours
from pingboard.store.importer import Importer
from pingboard.store.ingest import Ingest
from pingboard.store.journal import find_version
from pingboard.store.retention import drop_samples, find_kept_from
from tests.samples import ROOM, make_ping, make_pong

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
WINDOWS = [Window(NOW - timedelta(days=days), NOW) for days in (7, 30, 365)]
HORIZON_TS = to_ts(NOW - timedelta(days=14))


def old_sample(days: float, pong_server: str = "two.example", ms: int = 100) -> Sample:
    """An answer to a ping of ours, so many days ago."""
    ts = to_ts(NOW - timedelta(days=days))
    ping = replace(make_ping(event_id=f"$at{ts}"), origin_server_ts=ts, seen_ts=ts, sent_ts=ts - 3)
    ping = replace(ping, vantage="main", sent_ts=ping.seen_ts)
    return Sample(ping, make_pong(ping, pong_server, ms), ms + 50)


@pytest.fixture
def ingest(engine: Engine) -> Ingest:
    """What wrote two months of samples and losses; all hours but the last are closed."""
    random, ingest = Random(1), Ingest(engine, "test")
    days = [random.uniform(1, 70) for _ in range(150)]
    ingest.record(Batch([], [old_sample(day, "two.example", 60 + int(day)) for day in days]))
    more = [old_sample(day, "three.example", random.randrange(900)) for day in days[:100]]
    ingest.record(Batch([], more))
    silent = [(old_sample(day).ping, ["three.example"]) for day in days[100:]]
    ingest.record(Batch(expected=silent))
    ingest.record(Batch([], [old_sample(1 / 24)]))
    close_hours(engine, to_ts(NOW))
    return ingest


def read_everything(engine: Engine) -> list[Any]:
    """Boards of all windows, the rooms, and what is shown of a homeserver."""
    boards = Boards(engine)
    answers: list[Any] = [
        boards.board(name, window, now=NOW, room=ROOM) for window in WINDOWS for name in BoardName
    ]
    answers.append(boards.rooms())
    for name in ("two.example", "three.example"):
        for window in WINDOWS[1:]:
            profile = read_profile(boards, ROOM, window, name, now=NOW)
            answers.append(profile)
            history = (boards, ROOM, window, name, BoardName.RESPONSE, timedelta(days=1))
            buckets = read_history(*history, now=NOW)
            answers.append([bucket for bucket in buckets if bucket.samples or bucket.sent])
    return answers


def drop_all(engine: Engine) -> int:
    hours = 0
    while drop_samples(engine, HORIZON_TS):
        hours += 1
    return hours


def count_samples(engine: Engine) -> int:
    [room] = Boards(engine).rooms()
    return room.samples


def test_every_board_stays_as_it_is(engine: Engine, ingest: Ingest) -> None:
    before, version = read_everything(engine), find_version(engine)
    assert drop_all(engine) > 50
    assert read_everything(engine) == before
    assert find_version(engine) == version


def test_what_only_single_samples_need_is_gone(engine: Engine, ingest: Ingest) -> None:
    drop_all(engine)
    edge = find_kept_from(engine) or 0
    with engine.connect() as connection:
        assert (connection.scalar(select(func.min(schema.ping.c.seen_ts))) or 0) >= edge
        packed = select(schema.hour.c.hour, schema.hour.c.cold)
        for hour, cold in connection.execute(packed):
            assert (cold is None) == (hour * 3_600_000 < edge)


def test_single_samples_are_kept_from_the_reported_time_on(engine: Engine, ingest: Ingest) -> None:
    assert find_kept_from(engine) is None
    drop_all(engine)
    kept_from = find_kept_from(engine, [1])
    assert kept_from is not None
    assert HORIZON_TS - 5 * 86_400_000 < kept_from <= HORIZON_TS
    assert find_kept_from(engine, [99]) is None
    records = list(read_records(engine, None, WINDOWS[2]))
    assert min(record.ping_seen_ts for record in records) >= kept_from


def test_an_old_hour_is_never_changed_again(engine: Engine, ingest: Ingest) -> None:
    drop_all(engine)
    before, samples = read_everything(engine), count_samples(engine)
    late = old_sample(30, "late.example")
    ingest.record(Batch([], [late], expected=[(old_sample(40).ping, ["two.example"])]))
    ingest.record(Batch(redacted=[(ROOM, late.pong.event_id)]))
    assert count_samples(engine) == samples
    close_hours(engine, to_ts(NOW))
    assert read_everything(engine) == before
    with engine.connect() as connection:
        redacted = connection.execute(select(schema.redacted.c.event_hash)).scalars().all()
    assert redacted == [hash_event_id(late.pong.event_id)]


def test_what_is_kept_takes_late_pongs_and_redactions(engine: Engine, ingest: Ingest) -> None:
    drop_all(engine)
    samples = count_samples(engine)
    late = old_sample(10, "late.example")
    ingest.record(Batch([], [late]))
    assert count_samples(engine) == samples + 1
    ingest.record(Batch(redacted=[(ROOM, late.pong.event_id)]))
    assert count_samples(engine) == samples


def test_an_import_reports_rows_older_than_the_single_samples(
    engine: Engine, ingest: Ingest
) -> None:
    drop_all(engine)
    with Importer(engine) as importer:
        [(index, fault)] = importer.add([make_row("$i", 30), make_row("$j", 3)])
    assert (index, importer.imported) == (0, 1)
    assert "older than the single samples" in fault


def test_a_ping_that_is_dropped_is_not_new_by_another_estimate_of_its_time(engine: Engine) -> None:
    with Importer(engine) as importer:
        assert list(importer.add([make_row("$i", 14.01), make_row("$i", 13.9, "c.example")])) == []
    assert drop_all(engine) == 1
    with Importer(engine) as again:
        assert len(list(again.add([make_row("$i", 13.9, "c.example")]))) == 1
    assert count_samples(engine) == 2


def test_an_hour_that_is_open_waits_and_so_do_those_after_it(
    engine: Engine, ingest: Ingest
) -> None:
    ingest.record(Batch([], [old_sample(70.5, "late.example")]))
    assert drop_all(engine) == 0
    close_hours(engine, to_ts(NOW))
    assert drop_all(engine) > 50


def make_row(event_id: str, days: float, pong_server: str = "b.example") -> Record:
    """A pong that pingstat saw so many days ago."""
    row = {
        "room_id": ROOM,
        "ping_id": event_id,
        "ping_server": "a.example",
        "pong_server": pong_server,
        "receive_diff": 100,
        "pong_timestamp": to_ts(NOW - timedelta(days=days)),
    }
    record = read_pingstat(row)
    assert isinstance(record, Record)
    return record
