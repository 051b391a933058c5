"""Dropping raw rows, on both databases: every board stays as it is, and what is closed stays so."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from pingboard.boards import Boards
from pingboard.model import Batch, BoardName, Sample, Window, to_ts
from pingboard.profiles import read_history, read_profile
from pingboard.records import Record
from pingboard.store import tables
from pingboard.store.changes import find_version, prune
from pingboard.store.engine import Engine
from pingboard.store.export import read_records
from pingboard.store.imports import Importer
from pingboard.store.ingest import Ingest
from pingboard.store.retention import find_kept_from, retire
from pingboard.store.rows import hash_event_id
from pingboard.store.sealed import seal
from tests.samples import ROOM, make_ping, make_pong

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
WINDOWS = [Window(NOW - timedelta(days=days), NOW) for days in (7, 30, 365)]
HORIZON_TS = to_ts(NOW - timedelta(days=14))


def old_sample(days: float, pong_server: str = "two.example", ms: int = 100) -> Sample:
    """An answer to a ping of ours, so many days ago."""
    ts = to_ts(NOW - timedelta(days=days))
    ping = replace(make_ping(event_id=f"$at{ts}"), origin_server_ts=ts, seen_ts=ts, sent_ts=ts - 3)
    ping = replace(ping, vantage="main")
    return Sample(ping, make_pong(ping, pong_server, ms), ms + 50)


@pytest.fixture
def ingest(engine: Engine) -> Ingest:
    """What wrote two months of samples and losses, packed and counted; the last is an hour old."""
    random, ingest = Random(1), Ingest(engine, "test")
    days = [random.uniform(1, 70) for _ in range(150)]
    ingest.record(Batch([], [old_sample(one, "two.example", 60 + int(one)) for one in days]))
    more = [old_sample(one, "three.example", random.randrange(900)) for one in days[:100]]
    ingest.record(Batch([], more))
    three = select(tables.server.c.id).where(tables.server.c.name == "three.example")
    whose = three.scalar_subquery()
    answered = select(tables.sample.c.ping).where(tables.sample.c.pong_server == whose)
    silent = select(tables.ping.c.id, whose).where(tables.ping.c.id.not_in(answered))
    with engine.begin() as connection:
        lost = insert(tables.unanswered).from_select(["ping", "pong_server"], silent)
        connection.execute(lost)
    ingest.record(Batch([], [old_sample(1 / 24)]))
    seal(engine, to_ts(NOW), most=10_000)
    with engine.begin() as connection:
        prune(connection, keep=1)
    return ingest


def read_everything(engine: Engine) -> list[Any]:
    """Boards of all windows, the rooms, and what is shown of a homeserver."""
    boards = Boards(engine)
    found: list[Any] = [
        boards.board(name, window, now=NOW, room=ROOM) for window in WINDOWS for name in BoardName
    ]
    found.append(boards.rooms())
    for name in ("two.example", "three.example"):
        for window in WINDOWS[1:]:
            profile = read_profile(boards, ROOM, window, name, now=NOW)
            found.append(profile)
            history = (boards, ROOM, window, name, BoardName.RESPONSE, timedelta(days=1))
            buckets = read_history(*history, now=NOW)
            found.append([bucket for bucket in buckets if bucket.samples or bucket.sent])
    return found


def retire_all(engine: Engine) -> int:
    hours = 0
    while retire(engine, HORIZON_TS):
        hours += 1
    return hours


def count(engine: Engine, table: Any) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_every_board_stays_as_it_is(engine: Engine, ingest: Ingest) -> None:
    before, version = read_everything(engine), find_version(engine)
    pings = count(engine, tables.ping)
    assert retire_all(engine) > 50
    assert 0 < count(engine, tables.ping) < pings / 2
    assert count(engine, tables.unanswered) > 0
    assert read_everything(engine) == before
    assert find_version(engine) == version


def test_what_is_dropped_is_told(engine: Engine, ingest: Ingest) -> None:
    assert find_kept_from(engine) is None
    retire_all(engine)
    kept_from = find_kept_from(engine, [1])
    assert kept_from is not None
    assert HORIZON_TS - 5 * 86_400_000 < kept_from <= HORIZON_TS
    assert find_kept_from(engine, [99]) is None
    records = list(read_records(engine, None, WINDOWS[2]))
    assert min(record.ping_seen_ts for record in records) >= kept_from


def test_a_closed_hour_is_never_changed_again(engine: Engine, ingest: Ingest) -> None:
    retire_all(engine)
    before, samples = read_everything(engine), count(engine, tables.sample)
    late = old_sample(30, "late.example")
    ingest.record(Batch([], [late], expected=[(old_sample(40).ping, ["two.example"])]))
    ingest.record(Batch(redacted=[(ROOM, late.pong.event_id)]))
    assert count(engine, tables.sample) == samples
    seal(engine, to_ts(NOW), most=10_000)
    assert read_everything(engine) == before
    with engine.connect() as connection:
        redacted = connection.execute(select(tables.redacted.c.event_hash)).scalars().all()
    assert redacted == [hash_event_id(late.pong.event_id)]


def test_what_is_still_open_takes_late_pongs_and_redactions(engine: Engine, ingest: Ingest) -> None:
    retire_all(engine)
    samples = count(engine, tables.sample)
    late = old_sample(10, "late.example")
    ingest.record(Batch([], [late]))
    assert count(engine, tables.sample) == samples + 1
    ingest.record(Batch(redacted=[(ROOM, late.pong.event_id)]))
    assert count(engine, tables.sample) == samples


def test_an_import_is_told_what_is_closed(engine: Engine, ingest: Ingest) -> None:
    ts = to_ts(NOW)
    rows = [
        Record(
            ROOM, None, None, f"$i{days}", "a.example", "b.example", 100, None, at_ts, None,
            at_ts, at_ts + 100, None, None, "import", None,
        )
        for days in (30, 3)
        for at_ts in [ts - days * 86_400_000]
    ]  # fmt: skip
    retire_all(engine)
    importer = Importer(engine)
    [(index, fault)] = importer.add(rows)
    assert (index, importer.imported) == (0, 1)
    assert "older than the raw samples" in fault


def test_an_hour_waits_while_readers_may_look_for_its_rows(engine: Engine, ingest: Ingest) -> None:
    ingest.record(Batch([], [old_sample(70.5, "late.example")]))
    assert retire_all(engine) == 0
    seal(engine, to_ts(NOW), most=10_000)
    assert retire_all(engine) == 0
    ingest.record(Batch([], [old_sample(1 / 48)]))
    with engine.begin() as connection:
        prune(connection, keep=1)
    assert retire_all(engine) > 50
