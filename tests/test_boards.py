"""Boards from a real store, on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from pingboard.boards import Boards
from pingboard.homeservers import read_history
from pingboard.model import Batch, BoardName, Sample, Standing, Window, from_ts
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from tests.samples import ROOM, START_TS, make_ping, make_pong, make_sample

NOW = from_ts(START_TS) + timedelta(days=1)
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
DAY = Window(from_ts(START_TS), NOW)


def answer(
    number: int, pong_server: str, round_trip_ms: int, ahead_ms: int = 0, *, void: bool = False
) -> Sample:
    """Our own ping, answered by a server whose clock is ahead, after equal ways there and back."""
    sent_ts = START_TS + number * 1000
    own = make_ping(number, "ours.example", vantage="main", sent_ts=None if void else sent_ts)
    there_ms = round_trip_ms // 2 + ahead_ms
    pong = replace(
        make_pong(own, pong_server, there_ms),
        origin_server_ts=sent_ts + there_ms,
        seen_ts=sent_ts + round_trip_ms,
    )
    return Sample(own, pong, None if void else round_trip_ms)


def response(engine: Engine, window: Window = DAY) -> dict[str, Standing]:
    board = Boards(engine).board(BoardName.RESPONSE, window, now=NOW, room=ROOM)
    return {row.homeserver: row for row in board.standings}


def test_loss_is_the_share_of_expected_pongs_that_are_unanswered(engine: Engine) -> None:
    samples = [answer(number, "two.example", 200) for number in range(1, 8)]
    samples.append(answer(3, "three.example", 300))
    expected = [(sample.ping, ["three.example"]) for sample in samples[:2]]
    Ingest(engine, "test").record(Batch(samples=samples, expected=expected))
    rows = response(engine)
    two, three = rows["two.example"], rows["three.example"]
    assert (two.samples, two.sent, two.lost, two.loss) == (7, 7, 0, 0.0)
    assert (three.samples, three.sent, three.lost, three.loss) == (1, 3, 2, 2 / 3)


def test_an_answer_that_breaks_a_silence_counts_as_one_that_was_expected(engine: Engine) -> None:
    # Nobody is expected to answer after a day of silence, nor before the first answer.
    Ingest(engine, "test").record(Batch(samples=[answer(1, "two.example", 200)], expected=[]))
    row = response(engine)["two.example"]
    assert (row.sent, row.lost, row.loss) == (1, 0, 0.0)


def test_a_ping_counts_for_loss_ten_minutes_after_it_was_seen(engine: Engine) -> None:
    newest = int(timedelta(days=1).total_seconds())
    numbers = range(newest - 1200, newest, 60)
    ingest = Ingest(engine, "test")
    for number in numbers:
        sample = answer(number, "two.example", 200)
        is_answered = number % 120 == 0
        expected = [(sample.ping, ["two.example"])]
        ingest.record(Batch(samples=[sample] if is_answered else [], expected=expected))
    row = response(engine)["two.example"]
    assert (row.samples, row.sent, row.lost, row.loss) == (10, 10, 5, 0.5)
    buckets = read_history(
        Boards(engine), ROOM, DAY, "two.example", BoardName.RESPONSE, timedelta(days=1), now=NOW
    )
    assert (sum(bucket.sent for bucket in buckets), sum(bucket.lost for bucket in buckets)) == (
        10,
        5,
    )


def test_a_void_ping_counts_for_nobody_and_against_nobody(engine: Engine) -> None:
    ingest = Ingest(engine, "test")
    for number in range(20):
        sample = answer(number, "two.example", 200, void=number >= 15)
        is_answered = number % 2 == 0
        expected = [] if number >= 15 else [(sample.ping, ["two.example"])]
        ingest.record(Batch(samples=[sample] if is_answered else [], expected=expected))
        if 10 <= number < 15:
            ingest.record(Batch(voided=[sample.ping]))
    row = response(engine)["two.example"]
    assert (row.sent, row.lost, row.loss) == (10, 5, 0.5)


def test_a_loss_is_in_the_window_in_which_its_ping_was_sent(engine: Engine) -> None:
    samples = [answer(number, "two.example", 200) for number in (1, 5, 9)]
    samples.append(answer(5, "three.example", 300))
    expected = [(samples[number].ping, ["three.example"]) for number in (0, 2)]
    Ingest(engine, "test").record(Batch(samples=samples, expected=expected))
    first = from_ts(START_TS + 1000)
    for window, lost in ((DAY, 2), (Window(first, from_ts(START_TS + 9000)), 1)):
        assert response(engine, window)["three.example"].lost == lost


def test_the_clock_offset_is_that_of_the_fastest_round_trip_and_moves_no_rank(
    engine: Engine,
) -> None:
    samples = [answer(1, "two.example", 400, 0), answer(2, "two.example", 100, 5000)]
    Ingest(engine, "test").record(Batch([], [*samples, answer(3, "three.example", 80)]))
    rows = response(engine)
    assert rows["two.example"].clock_offset_ms == 5000.0
    assert rows["two.example"].clock_uncertainty_ms == 50.0
    assert rows["three.example"].clock_offset_ms == 0.0
    ranks = [(row.homeserver, row.median_ms) for row in rows.values()]
    assert ranks == [("three.example", 80.0), ("two.example", 250.0)]


def test_the_other_boards_say_nothing_of_loss_and_clocks(engine: Engine) -> None:
    Ingest(engine, "test").record(Batch([], [answer(1, "two.example", 400)]))
    board = Boards(engine).board(BoardName.RECEPTION, DAY, now=NOW, room=ROOM)
    [row] = board.standings
    assert row.sent is row.lost is row.loss is row.clock_offset_ms is None


def test_a_pong_is_in_the_window_in_which_it_was_seen(engine: Engine) -> None:
    Ingest(engine, "test").record(Batch([], [make_sample(1, one_way_ms=5000)]))
    seen_at = from_ts(make_pong(make_ping(1), one_way_ms=5000).seen_ts)
    moment = timedelta(milliseconds=1)
    for window, samples in (
        (Window(seen_at, seen_at + moment), 1),
        (Window(seen_at - moment, seen_at), 0),
        (Window(seen_at + moment, seen_at + timedelta(days=1)), 0),
    ):
        board = Boards(engine).board(BoardName.RECEPTION, window, now=NOW, room=ROOM)
        assert board.samples == samples


def test_either_id_of_an_upgraded_room_gives_the_union(engine: Engine) -> None:
    ingest = Ingest(engine, "test")
    ingest.record(Batch([], [make_sample(1)]))
    boards = Boards(engine)
    assert boards.board(BoardName.DELIVERY, DAY, now=NOW, room=ROOM).samples == 1
    upgraded = replace(make_ping(2), room_id="!new")
    pong = replace(make_pong(upgraded), room_id="!new")
    ingest.record(Batch([], [Sample(upgraded, pong, None)]))
    ingest.record_room("!new", predecessor=ROOM)
    for either in (ROOM, "!new"):
        assert boards.board(BoardName.DELIVERY, DAY, now=NOW, room=either).samples == 2
