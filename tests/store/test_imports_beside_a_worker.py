"""What is imported meets what a worker has heard, or will hear: each sample counts once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pingboard.boards import Boards
from pingboard.file_formats import Record, read_pingstat
from pingboard.model import (
    Batch,
    BoardName,
    PingstatRow,
    Sample,
    Window,
    from_ts,
    hash_event_id,
)
from pingboard.store.engine import Engine
from pingboard.store.exporter import read_pingstat_rows, read_records
from pingboard.store.hours import close_hours
from pingboard.store.importer import Importer
from pingboard.store.ingest import Ingest
from pingboard.store.pings import find_pings
from pingboard.store.retention import drop_samples
from pingboard.store.rooms import read_lineage
from tests.samples import ROOM, START_TS, make_ping, make_pong

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
OLD, NEW = ROOM, "!new:one.example"
NOW_TS = START_TS + 40 * DAY_MS
EVER = Window(from_ts(START_TS - DAY_MS), from_ts(NOW_TS))


def heard(number: int, pong_server: str = "two.example", room_id: str = OLD) -> Sample:
    """A pong to a ping of `one.example`, as the worker hears it."""
    ping = make_ping(number, room_id=room_id)
    return Sample(ping, make_pong(ping, pong_server), None)


def pingstat_row(sample: Sample, **changes: object) -> dict[str, Any]:
    """The same as pingstat has it."""
    pong = sample.pong
    row = PingstatRow(
        sample.ping.room_id,
        sample.ping.event_id,
        pong.server,
        sample.ping.server,
        pong.one_way_ms,
        pong.origin_server_ts,
    )
    return {**row._asdict(), **changes}


def import_pingstat(engine: Engine, rows: Sequence[dict[str, Any]]) -> tuple[int, int, int]:
    """Return how many samples were new, known and rejected."""
    records = [record for row in rows if isinstance(record := read_pingstat(row), Record)]
    with Importer(engine) as importer:
        faults = [*importer.add(records)]
    return importer.imported, importer.known, len(faults)


def list_pingstat(engine: Engine, room_id: str = OLD) -> list[PingstatRow]:
    rooms = read_lineage(engine, room_id)
    return [*read_pingstat_rows(engine, room_id, rooms, 0, NOW_TS, 10, 600_000)]


def test_an_imported_pong_that_was_counted_as_lost_is_lost_no_more(engine: Engine) -> None:
    ingest, ping = Ingest(engine, "test"), make_ping(1, vantage="main")
    pong = make_pong(ping)
    ingest.record(Batch(pings=[ping], expected=[(ping, ["two.example"])]))
    [lost] = read_records(engine, None, EVER)
    came = lost._replace(
        one_way_ms=pong.one_way_ms,
        round_trip_ms=150,
        pong_seen_ts=pong.seen_ts,
        pong_origin_server_ts=pong.origin_server_ts,
        provenance="live",
        pong_event_hash=hash_event_id(pong.event_id),
    )
    with Importer(engine) as importer:
        assert [*importer.add([came])] == []
    board = Boards(engine).board(BoardName.RESPONSE, EVER, now=from_ts(NOW_TS), room=ROOM)
    [row] = board.standings
    assert (row.sent, row.lost) == (1, 0)


def test_a_pong_that_was_imported_is_not_expected_any_more(engine: Engine) -> None:
    ping = make_ping(1, vantage="main")
    Ingest(engine, "test").record(Batch(samples=[Sample(ping, make_pong(ping), 150)]))
    exported = [*read_records(engine, None, EVER)]
    ingest = Ingest(engine, "test")
    with Importer(engine) as importer:
        assert [*importer.add(exported)] == []
    ingest.record(Batch(expected=[(ping, ["two.example"])]))
    assert [*read_records(engine, None, EVER)] == exported


def test_a_file_that_is_imported_again_after_retention_counts_once(engine: Engine) -> None:
    edge_ts = START_TS // HOUR_MS * HOUR_MS + HOUR_MS
    at_the_edge = heard(1)
    ping = replace(at_the_edge.ping, seen_ts=edge_ts - 5, origin_server_ts=edge_ts - 5)
    pong = replace(at_the_edge.pong, seen_ts=edge_ts + 100, origin_server_ts=edge_ts + 110)
    sample = Sample(ping, pong, None)
    later = heard(2 * 3600)
    Ingest(engine, "test").record(Batch(samples=[sample, later]))
    rows = [pingstat_row(sample), pingstat_row(later)]
    close_hours(engine, NOW_TS)
    while drop_samples(engine, edge_ts):
        pass
    for _ in range(2):
        assert import_pingstat(engine, rows) == (0, 1, 1)
        board = Boards(engine).board(BoardName.DELIVERY, EVER, now=from_ts(NOW_TS), room=ROOM)
        assert board.samples == 2


def test_an_imported_ping_takes_its_real_time_and_its_pongs_keep_theirs(engine: Engine) -> None:
    first, second = heard(1, "two.example"), heard(1, "three.example")
    fast = replace(first.pong, origin_server_ts=first.pong.origin_server_ts + 29_000)
    first = replace(first, pong=fast)
    second = replace(second, pong=replace(second.pong, origin_server_ts=second.pong.seen_ts - 19))
    import_pingstat(engine, [pingstat_row(first)])
    [estimated] = read_records(engine, None, EVER)
    assert estimated.ping_seen_ts == first.ping.seen_ts + 29_000
    Ingest(engine, "test").record(Batch(pings=[second.ping], samples=[second]))
    records = [*read_records(engine, None, EVER)]
    assert {record.ping_seen_ts for record in records} == {first.ping.seen_ts}
    assert {record.ping_origin_server_ts for record in records} == {first.ping.origin_server_ts}
    assert {row.pong_server: row.pong_timestamp for row in list_pingstat(engine)} == {
        sample.pong.server: sample.pong.origin_server_ts for sample in (first, second)
    }


def test_a_pong_that_is_heard_after_its_import_can_be_redacted(engine: Engine) -> None:
    sample, ingest = heard(1), Ingest(engine, "test")
    import_pingstat(engine, [pingstat_row(sample)])
    ingest.record(Batch(samples=[sample]))
    ingest.record(Batch(redacted=[(OLD, sample.pong.event_id)]))
    assert list_pingstat(engine) == []


class Upgraded:
    """A worker heard 12 pongs in the old room and 12 in the new, and one was redacted; a pingstat
    names the new room for all. It has 18 of these 23, the redacted one, and two forged rows."""

    def __init__(self) -> None:
        self.heard = [heard(number, room_id=OLD if number < 12 else NEW) for number in range(24)]
        self.redacted = self.heard[3]
        known = [*self.heard[5:23], self.redacted]
        self.rows = [pingstat_row(sample, room_id=NEW) for sample in known]
        self.forged = [{**row, "ping_server": "liar.example"} for row in self.rows[:2]]

    def hear(self, ingest: Ingest) -> None:
        ingest.record(Batch(samples=self.heard))
        ingest.record(Batch(redacted=[(OLD, self.redacted.pong.event_id)]))


def test_a_pingstat_import_across_an_upgrade_brings_nothing_twice(engine: Engine) -> None:
    ingest, case = Ingest(engine, "test"), Upgraded()
    case.hear(ingest)
    ingest.record_room(NEW, predecessor=OLD)
    assert import_pingstat(engine, case.rows + case.forged) == (0, 18, 3)
    assert len(list_pingstat(engine)) == 23


def test_a_pingstat_import_before_an_upgrade_brings_nothing_twice(engine: Engine) -> None:
    ingest, case = Ingest(engine, "test"), Upgraded()
    assert import_pingstat(engine, case.rows + case.forged) == (19, 0, 2)
    case.hear(ingest)
    ingest.record_room(NEW, predecessor=OLD)
    for room_id in (OLD, NEW):
        rows = list_pingstat(engine, room_id)
        assert len(rows) == len({(row.ping_id, row.pong_server) for row in rows}) == 23
        board = Boards(engine).board(BoardName.DELIVERY, EVER, now=from_ts(NOW_TS), room=room_id)
        assert board.samples == 23
    assert import_pingstat(engine, case.rows + case.forged) == (0, 18, 3)


def test_a_ping_is_found_under_any_id_of_its_room(engine: Engine) -> None:
    ingest = Ingest(engine, "test")
    ingest.record(Batch(pings=[make_ping(1)]))
    ingest.record_room(NEW, predecessor=OLD)
    assert find_pings(engine, NEW, ["$ping1"])["$ping1"].server == "one.example"


def test_a_pong_is_redacted_under_any_id_of_its_room(engine: Engine) -> None:
    ingest, sample = Ingest(engine, "test"), heard(1)
    ingest.record(Batch(samples=[sample]))
    ingest.record_room(NEW, predecessor=OLD)
    ingest.record(Batch(redacted=[(NEW, sample.pong.event_id)]))
    assert [*read_records(engine, None, EVER)] == []
