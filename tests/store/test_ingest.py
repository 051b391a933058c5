"""The writer, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from pingboard.model import (
    Batch,
    Gap,
    Provenance,
    Rejected,
    Rejection,
    RoomState,
    from_ts,
    hash_event_id,
)
from pingboard.store import rejections, schema
from pingboard.store.backlog import read_heard_times
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest, SavedSession
from pingboard.store.pings import find_pings
from pingboard.store.rooms import list_rooms, read_room_names, record_room_state
from pingboard.store.schema import ping, rejection, room, sample, server, unanswered, vantage
from tests.databases import count_rows
from tests.rows import read_rows
from tests.samples import ROOM, START_TS, make_ping, make_sample


@pytest.fixture
def ingest(engine: Engine) -> Ingest:
    return Ingest(engine, "https://one.example @pingboard:one.example")


def read_rejections(engine: Engine) -> dict[Rejection, int]:
    counted = select(rejection.c.reason, func.sum(rejection.c.count)).group_by(rejection.c.reason)
    with engine.connect() as connection:
        return {Rejection(reason): int(count) for reason, count in connection.execute(counted)}


def test_what_is_recorded_can_be_read(engine: Engine, ingest: Ingest) -> None:
    ingest.record(Batch([], [make_sample(1, round_trip_ms=250), make_sample(2, "three.example")]))
    assert sorted(row[:4] for row in read_rows(engine, ROOM)) == [
        ("one.example", "two.example", 100, 250),
        ("three.example", "two.example", 100, None),
    ]


def test_the_same_batch_twice_is_stored_once(engine: Engine, ingest: Ingest) -> None:
    batch = Batch([make_ping(2)], [make_sample(1), make_sample(1, pong_server="three.example")])
    ingest.record(batch, "s1")
    ingest.record(batch, "s1")
    assert count_rows(engine, ping) == 2
    assert count_rows(engine, sample) == 2
    assert count_rows(engine, server) == 3


def test_the_first_pong_of_a_server_stands_and_another_is_a_duplicate(
    engine: Engine, ingest: Ingest
) -> None:
    first, second, third = (make_sample(1, one_way_ms=ms) for ms in (100, 1, 2))
    second, third = (
        dataclasses.replace(sample, pong=dataclasses.replace(sample.pong, event_id=event_id))
        for sample, event_id in ((second, "$second"), (third, "$third"))
    )
    ingest.record(Batch([], [first, third]))
    ingest.record(Batch([], [first, second]))
    ingest.record(Batch([], [second, third]))
    assert [row.one_way_ms for row in read_rows(engine, ROOM)] == [100]
    assert read_rejections(engine) == {Rejection.DUPLICATE: 2}


@pytest.mark.parametrize("is_one_batch", [False, True])
def test_an_earlier_pong_of_history_takes_the_place_of_a_later_one_of_history_alone(
    engine: Engine, ingest: Ingest, is_one_batch: bool
) -> None:
    live, later = make_sample(1, one_way_ms=100), make_sample(2, one_way_ms=100)
    later = dataclasses.replace(later, provenance=Provenance.GAP_FILL)
    earlier = [
        dataclasses.replace(
            first,
            pong=dataclasses.replace(
                first.pong, event_id="$earlier", one_way_ms=50, seen_ts=first.pong.seen_ts - 50
            ),
            provenance=Provenance.GAP_FILL,
        )
        for first in (live, later)
    ]
    ingest.record(Batch([], [live]))
    if is_one_batch:
        ingest.record(Batch([], [later, *earlier]))
    else:
        ingest.record(Batch([], [later]))
        ingest.record(Batch([], earlier))
    assert sorted(row.one_way_ms for row in read_rows(engine, ROOM)) == [50, 100]
    assert count_rows(engine, sample) == 2
    assert read_rejections(engine) == {Rejection.DUPLICATE: 2}


def test_when_the_first_pong_is_redacted_the_next_one_does_not_count(
    engine: Engine, ingest: Ingest
) -> None:
    first = make_sample()
    better = dataclasses.replace(first.pong, event_id="$better", one_way_ms=1)
    ingest.record(Batch([], [first]))
    ingest.record(Batch(redacted=[(ROOM, first.pong.event_id)]))
    ingest.record(Batch([], [first, dataclasses.replace(first, pong=better)]))
    assert count_rows(engine, sample) == 0
    assert read_rejections(engine) == {Rejection.DUPLICATE: 1}


def test_a_pong_redacted_before_it_arrived_leaves_its_ping_unanswered(
    engine: Engine, ingest: Ingest
) -> None:
    ours = make_sample(1, round_trip_ms=250)
    others = make_sample(1, pong_server="three.example", round_trip_ms=250)
    ingest.record(Batch(expected=[(ours.ping, ["two.example", "three.example"])]))
    ingest.record(Batch(redacted=[(ROOM, ours.pong.event_id)]))
    ingest.record(Batch(samples=[ours, others]))
    assert (count_rows(engine, sample), count_rows(engine, unanswered)) == (1, 1)


def test_each_account_has_a_sync_token_of_its_own(engine: Engine, ingest: Ingest) -> None:
    ingest.record(Batch([], []), "s1")
    ingest.save_login("DEVICE", "token")
    assert ingest.saved_session() == SavedSession("DEVICE", "token", "s1")
    assert Ingest(engine, "another").saved_session() == SavedSession()


def test_our_account_is_stored_only_as_a_digest(engine: Engine, ingest: Ingest) -> None:
    ingest.record(Batch([], [make_sample()]), "s1")
    with engine.connect() as connection:
        for table in ping.metadata.sorted_tables:
            assert "@pingboard" not in str(connection.execute(select(table)).all())


def test_token_and_samples_are_committed_together_or_not_at_all(
    engine: Engine, ingest: Ingest
) -> None:
    ingest.record(Batch([], [make_sample(1)]), "s1")
    good = make_sample(2)
    bad = dataclasses.replace(
        good,
        pong=dataclasses.replace(good.pong, server="x.example", one_way_ms=None),  # type: ignore[arg-type]
    )
    with pytest.raises(SQLAlchemyError):
        ingest.record(Batch([], [good, bad]), "s2")
    assert ingest.saved_session().next_batch == "s1"
    assert count_rows(engine, sample) == 1


def test_our_own_pings_name_their_vantage(engine: Engine, ingest: Ingest) -> None:
    ours = make_ping(1, vantage="frankfurt")
    ingest.record(Batch([ours, make_ping(2, vantage="frankfurt"), make_ping(3)], []))
    assert count_rows(engine, vantage) == 1
    assert find_pings(engine, ROOM, ["$ping1", "$ping3", "$unknown"]) == {
        "$ping1": ours,
        "$ping3": make_ping(3),
    }


def test_a_ping_is_found_in_its_own_room_only(engine: Engine, ingest: Ingest) -> None:
    ingest.record(Batch([make_ping(1)], []))
    assert find_pings(engine, "!other:one.example", ["$ping1"]) == {}


def test_more_events_than_one_query_takes_are_found(engine: Engine, ingest: Ingest) -> None:
    pings = [make_ping(number) for number in range(1, 1203)]
    ingest.record(Batch(pings, []))
    assert len(find_pings(engine, ROOM, [ping.event_id for ping in pings])) == 1202


def test_rejected_pongs_are_counted_by_reason_and_day(engine: Engine, ingest: Ingest) -> None:
    late = [Rejected(n, ROOM, "two.example", Rejection.LATE, START_TS) for n in range(3)]
    tomorrow = Rejected(3, ROOM, "two.example", Rejection.LATE, START_TS + 86_400_000)
    ingest.record(Batch(rejected=[*late[:2], tomorrow]))
    ingest.record(Batch(rejected=[late[2]]))
    with engine.connect() as connection:
        counts = connection.execute(select(rejection.c.count).order_by(rejection.c.day)).scalars()
        assert list(counts) == [3, 1]


def test_a_rejected_pong_is_counted_once_under_a_reason(engine: Engine, ingest: Ingest) -> None:
    unknown = Rejected(1, ROOM, "two.example", Rejection.UNKNOWN_PING, START_TS)
    late = dataclasses.replace(unknown, reason=Rejection.LATE)
    ingest.record(Batch(rejected=[unknown, unknown]))
    ingest.record(Batch(rejected=[unknown, late]))
    ingest.record(Batch(rejected=[unknown, late]))
    with engine.connect() as connection:
        counts = connection.execute(select(rejection.c.reason, rejection.c.count)).all()
        assert sorted(map(tuple, counts)) == [("late", 1), ("unknown_ping", 1)]


@pytest.mark.parametrize(("reason", "samples"), [("unknown_ping", 1), ("late", 0)])
def test_a_rejected_pong_counts_later_only_where_its_ping_was_unknown(
    engine: Engine, ingest: Ingest, reason: str, samples: int
) -> None:
    told = dataclasses.replace(make_sample(1), provenance=Provenance.GAP_FILL)
    event_hash = hash_event_id(told.pong.event_id)
    rejected = Rejected(event_hash, ROOM, "two.example", Rejection(reason), START_TS)
    ingest.record(Batch(rejected=[rejected]))
    ingest.record(Batch(samples=[told]))
    assert count_rows(engine, sample) == samples


def test_the_last_rejected_pongs_are_remembered(
    engine: Engine, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejections, "MAX_REMEMBERED", 3)
    pongs = [Rejected(n, ROOM, "two.example", Rejection.LATE, START_TS) for n in range(5)]
    for pong in pongs:
        ingest.record(Batch(rejected=[pong]))
    ingest.record(Batch(rejected=pongs[2:]))
    assert count_rows(engine, schema.rejected_pong) == 3
    with engine.connect() as connection:
        assert connection.execute(select(rejection.c.count)).scalar_one() == 5


def test_an_upgraded_room_stays_upgraded_when_sending_is_denied(
    engine: Engine, ingest: Ingest
) -> None:
    ingest.record_room("!old")
    ingest.record_room("!new", predecessor="!old")
    record_room_state(engine, "!old", RoomState.DENIED)
    record_room_state(engine, "!new", RoomState.DENIED)
    with engine.connect() as connection:
        states = set(connection.execute(select(room.c.room_id, room.c.state)).all())
    assert states == {("!old", "upgraded"), ("!new", "denied")}


def test_an_alias_that_moved_leads_to_the_new_room(engine: Engine, ingest: Ingest) -> None:
    ingest.record_room("!old", "#ping:one.example")
    ingest.record_room("!new", "#ping:one.example")
    assert dict(read_room_names(engine)) == {"!old": None, "!new": "#ping:one.example"}


def test_rooms_count_their_samples_and_the_latest_ping_comes_first(
    engine: Engine, ingest: Ingest
) -> None:
    ingest.record_room("!quiet", "#quiet:one.example")
    ingest.record(Batch([make_ping(1, room_id="!older")], [make_sample(2), make_sample(3)]))
    rooms = list_rooms(engine)
    assert [(room.room_id, room.samples) for room in rooms] == [
        (ROOM, 2),
        ("!older", 0),
        ("!quiet", 0),
    ]
    assert rooms[0].last_pong_at == from_ts(START_TS + 3100)
    assert rooms[1].last_pong_at is None


def test_what_was_heard_last_in_an_earlier_run_is_the_newest_ping(
    engine: Engine, ingest: Ingest
) -> None:
    for room_id in (ROOM, "!silent", "!not-asked"):
        ingest.record_room(room_id)
    past = [Gap(room_id, "s1", None, 0, START_TS - 1) for room_id in (ROOM, "!silent")]
    ingest.record(Batch(gaps=past, pings=[make_ping(5), make_ping(7)]))
    assert read_heard_times(engine) == {ROOM: START_TS + 7000, "!silent": START_TS - 1}
