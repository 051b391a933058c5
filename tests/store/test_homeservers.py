"""Reads of one homeserver, on both databases."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from pingboard.model import Batch, Rejected, Rejection, Sample, Window, from_ts
from pingboard.store.engine import Engine
from pingboard.store.homeservers import has_homeserver, read_answers, read_rejections
from pingboard.store.ingest import Ingest
from pingboard.store.rooms import read_lineage
from pingboard.store.schema import room
from tests.samples import ROOM, START_TS, make_sample

START = from_ts(START_TS)
WINDOW = Window(START, START + timedelta(hours=1))


def record(engine: Engine, *samples: Sample) -> list[int]:
    Ingest(engine, "test").record(Batch([], samples))
    return read_lineage(engine, ROOM)


def test_a_homeserver_is_known_once_it_was_heard(engine: Engine) -> None:
    record(engine, make_sample())
    assert has_homeserver(engine, "one.example")
    assert has_homeserver(engine, "two.example")
    assert not has_homeserver(engine, "TWO.example")


def test_every_room_of_an_upgrade_has_the_same_lineage(engine: Engine) -> None:
    ingest = Ingest(engine, "test")
    for name, predecessor in (
        ("!a:x", None),
        ("!b:x", "!a:x"),
        ("!c:x", "!b:x"),
        ("!other:x", None),
    ):
        ingest.record_room(name, predecessor=predecessor)
    with engine.connect() as connection:
        ids = {row.room_id: row.id for row in connection.execute(select(room.c.room_id, room.c.id))}
    whole = sorted(ids[name] for name in ("!a:x", "!b:x", "!c:x"))
    assert (
        read_lineage(engine, "!a:x")
        == read_lineage(engine, "!b:x")
        == read_lineage(engine, "!c:x")
        == whole
    )
    assert read_lineage(engine, "!other:x") == [ids["!other:x"]]
    assert read_lineage(engine, "!unknown:x") == []


def test_answers_are_to_our_own_pings_alone(engine: Engine) -> None:
    rooms = record(engine, make_sample(1, round_trip_ms=200), make_sample(2))
    answers = read_answers(engine, rooms, WINDOW, "two.example", WINDOW.end)
    assert answers.answered_ts.tolist() == [START_TS + 1000]
    assert answers.lost_ts.tolist() == []


def test_rejections_are_summed_over_days(engine: Engine) -> None:
    rooms = record(engine, make_sample())
    day = 86_400_000
    rejected = [
        Rejected(1, ROOM, "two.example", Rejection.LATE, START_TS),
        Rejected(2, ROOM, "two.example", Rejection.LATE, START_TS + 2 * day),
    ]
    Ingest(engine, "test").record(Batch([], [], rejected))
    assert read_rejections(engine, rooms, WINDOW, "two.example") == {"late": 1}
    longer = Window(START, START + timedelta(days=3))
    assert read_rejections(engine, rooms, longer, "two.example") == {"late": 2}
