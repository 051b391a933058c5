"""No window loses a sample: long ones, over upgrades and retention, to the edge of an hour."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from pingboard.boards import Boards
from pingboard.homeservers import read_matrix
from pingboard.model import Batch, BoardName, Sample, Window, from_ts
from pingboard.store.engine import Engine
from pingboard.store.exporter import read_records
from pingboard.store.hours import close_hours
from pingboard.store.ingest import Ingest
from pingboard.store.retention import drop_samples
from pingboard.store.rooms import read_lineage
from pingboard.store.samples import SampleFilter, find_page_end, stream
from tests.samples import ROOM, START_TS, make_ping, make_pong

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
NEW = "!new:one.example"


def answers(hours: Iterable[int], room_id: str = ROOM) -> list[Sample]:
    """A pong in each hour behind the start."""
    pings = [make_ping(3600 * hour, room_id=room_id) for hour in hours]
    return [Sample(ping, make_pong(ping), None) for ping in pings]


def window(first_hour: int, after_hour: int) -> Window:
    start = from_ts(START_TS)
    return Window(start + timedelta(hours=first_hour), start + timedelta(hours=after_hour))


def test_a_long_window_is_whole_when_it_is_asked_for_again_hours_later(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest, boards = Ingest(engine, "test"), Boards(engine)
    days = 60
    ingest.record(Batch(samples=answers(range(24 * days))))
    close_hours(engine, START_TS + days * DAY_MS)
    month = window(24 * (days - 33), 24 * days)
    for hours in range(4):
        monkeypatch.setattr(time, "monotonic", lambda at=3700.0 * hours: at)
        ingest.record(Batch(samples=answers([24 * days + hours])))
        recent = window(24 * days, 24 * days + 9)
        boards.board(BoardName.DELIVERY, recent, now=recent.end, room=ROOM)
        assert sum(pair.samples for pair in read_matrix(boards, ROOM, month)) == 33 * 24


def test_a_room_of_which_no_single_sample_is_kept_still_belongs_to_its_upgrade(
    engine: Engine,
) -> None:
    ingest = Ingest(engine, "test")
    ingest.record(Batch(samples=answers(range(200))))
    ingest.record(Batch(samples=answers(range(200, 500), NEW)))
    ingest.record_room(NEW, predecessor=ROOM)
    close_hours(engine, START_TS + 30 * DAY_MS)
    while drop_samples(engine, START_TS + 200 * HOUR_MS):
        pass
    assert len([*read_records(engine, None, window(0, 720))]) == 300
    for boards in (Boards(engine), Boards(engine, default_room=NEW)):
        for room_id in (ROOM, NEW):
            for name in (BoardName.DELIVERY, BoardName.RECEPTION):
                now = from_ts(START_TS + 30 * DAY_MS)
                board = boards.board(name, window(0, 720), now=now, room=room_id)
                assert board.samples == 500


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_pong_that_was_seen_before_its_ping_is_in_the_window_in_which_it_was_seen(
    engine: Engine, is_closed: bool
) -> None:
    """A clock was set in between; the ping is in the hour after the window, its pong inside."""
    end_ts = START_TS // HOUR_MS * HOUR_MS + HOUR_MS
    usual = make_ping(1)
    early = replace(make_ping(2), seen_ts=end_ts + 3, origin_server_ts=end_ts + 3)
    pong = replace(make_pong(early), seen_ts=end_ts - 2)
    samples = [Sample(usual, make_pong(usual), None), Sample(early, pong, None)]
    Ingest(engine, "test").record(Batch(samples=samples))
    if is_closed:
        close_hours(engine, START_TS + DAY_MS)
    inside = Window(from_ts(START_TS), from_ts(end_ts))
    board = Boards(engine).board(BoardName.DELIVERY, inside, now=inside.end, room=ROOM)
    assert board.samples == 2
    assert len([*read_records(engine, None, inside)]) == 2
    sample_filter = SampleFilter(read_lineage(engine, ROOM), inside)
    assert sum(len(chunk) for chunk in stream(engine, sample_filter)) == 2
    end, has_more = find_page_end(engine, sample_filter, None, 1)
    assert has_more
    assert sum(len(chunk) for chunk in stream(engine, sample_filter, end)) == 1


@pytest.mark.parametrize("one_way_ms", [-3, 9, 100, 600_001])
def test_a_room_knows_its_last_pong_once_all_its_hours_are_closed(
    engine: Engine, one_way_ms: int
) -> None:
    """Also where no board takes what the pong claims."""
    ping = make_ping(1)
    pong = replace(make_pong(ping), one_way_ms=one_way_ms)
    Ingest(engine, "test").record(Batch(samples=[Sample(ping, pong, None)]))
    seen_at = from_ts(pong.seen_ts)
    for days in (0, 3, 40):
        close_hours(engine, START_TS + days * DAY_MS)
        [room] = Boards(engine).rooms()
        assert (room.samples, room.last_pong_at) == (1, seen_at)


def test_a_section_of_all_rooms_names_an_upgraded_room_once(engine: Engine) -> None:
    ingest = Ingest(engine, "test")
    ingest.record(Batch(samples=answers([1])))
    ingest.record(Batch(samples=answers([2], NEW)))
    ingest.record(Batch(samples=answers([1], "!other:one.example")))
    ingest.record_room(NEW, predecessor=ROOM)
    assert Boards(engine).section_rooms([]) == [NEW, "!other:one.example"]
