"""A closed hour that is damaged on disk: it stays as it is, is named, and stops nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select, update

from pingboard.model import Batch, DamagedHourError, Provenance, Sample, Window, from_ts
from pingboard.sample_blocks import HOUR_MS
from pingboard.store.engine import Engine, read_snapshot
from pingboard.store.exporter import read_records
from pingboard.store.hours import close_hours, find_last_pong, read_hour
from pingboard.store.importer import Importer
from pingboard.store.ingest import Ingest
from pingboard.store.pings import find_answered_since
from pingboard.store.schema import hour, redacted, sample
from tests.databases import count_rows
from tests.samples import ROOM, START_TS, make_ping, make_sample

HOUR = START_TS // HOUR_MS
LATER = "!later:one.example"
ALL = Window(from_ts(START_TS), from_ts(START_TS + 10 * HOUR_MS))

OLD, LOST, LAST = (make_sample(n, round_trip_ms=100) for n in (1, 4_000, 8_000))
"""Each in an hour of its own; that of `LOST` gets damaged."""


def damage(engine: Engine, part: str) -> None:
    with engine.begin() as connection:
        [packed] = connection.scalars(select(hour.c[part]).where(hour.c.hour == HOUR + 1))
        flipped = bytes([packed[0] ^ 1]) + packed[1:]
        connection.execute(update(hour).where(hour.c.hour == HOUR + 1).values({part: flipped}))


def restore(engine: Engine, part: str) -> None:
    damage(engine, part)


@pytest.fixture(params=["hot", "cold"])
def part(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ingest(engine: Engine, part: str) -> Ingest:
    ingest = Ingest(engine, "test")
    ingest.record(Batch(samples=[OLD, LOST, LAST]), "s1")
    assert close_hours(engine, START_TS + 10 * HOUR_MS) == 3
    damage(engine, part)
    return ingest


def read_pings(engine: Engine, part: str) -> list[tuple[str, str]]:
    """Return the pings and pong servers of all samples, once the damaged hour is restored."""
    restore(engine, part)
    records = list(read_records(engine, None, ALL))
    damage(engine, part)
    return sorted((record.ping_event_id, record.pong_server) for record in records)


def names(damaged: list[DamagedHourError]) -> set[str]:
    return {error.description.partition(" is")[0] for error in damaged}


NAME = f"the hour {from_ts((HOUR + 1) * HOUR_MS):%Y-%m-%dT%H:%MZ} of {ROOM}"


def answer(to: Sample, server: str) -> Sample:
    late = make_sample(pong_server=server)
    pong = replace(late.pong, event_id=f"$from-{server}", ping_event_id=to.ping.event_id)
    return replace(to, pong=replace(pong, seen_ts=to.pong.seen_ts), round_trip_ms=None)


def test_what_would_change_a_damaged_hour_is_left_out_and_all_else_is_written(
    engine: Engine, ingest: Ingest, part: str
) -> None:
    new = make_sample(9_000)
    damaged = ingest.record(
        Batch(
            samples=[answer(LOST, "three.example"), answer(OLD, "three.example"), new],
            expected=[(LOST.ping, ["silent.example"])],
            voided=[LOST.ping],
        ),
        "s2",
    )
    assert names(damaged) == {NAME}
    assert ingest.saved_session().next_batch == "s2"
    assert read_pings(engine, part) == [
        ("$ping1", "three.example"),
        ("$ping1", "two.example"),
        ("$ping4000", "two.example"),
        ("$ping8000", "two.example"),
        ("$ping9000", "two.example"),
    ]


def test_a_redacted_pong_is_looked_for_in_the_other_hours(
    engine: Engine, ingest: Ingest, part: str
) -> None:
    redactions = [(ROOM, OLD.pong.event_id), (ROOM, LAST.pong.event_id)]
    damaged = ingest.record(Batch(redacted=redactions), "s2")
    assert names(damaged) == ({NAME} if part == "cold" else set())
    assert read_pings(engine, part) == [("$ping4000", "two.example")]


def test_a_redaction_in_a_damaged_hour_is_remembered(
    engine: Engine, ingest: Ingest, part: str
) -> None:
    batch = Batch(redacted=[(ROOM, LOST.pong.event_id)])
    assert names(ingest.record(batch, "s2")) == {NAME}
    assert count_rows(engine, redacted) == 1
    # A backup has the token of its time too, so that the redaction is told again.
    restore(engine, part)
    assert ingest.record(batch, "s2") == []
    assert [record.ping_event_id for record in read_records(engine, None, ALL)] == [
        "$ping1",
        "$ping8000",
    ]


def test_a_pong_of_history_that_a_damaged_hour_may_have_is_left_out(
    engine: Engine, ingest: Ingest, part: str
) -> None:
    fetched = replace(LOST, provenance=Provenance.GAP_FILL, round_trip_ms=None)
    assert names(ingest.record(Batch(samples=[fetched]))) == {NAME}
    assert count_rows(engine, sample) == 0


def test_a_ping_of_a_damaged_hour_keeps_its_estimated_time(engine: Engine, part: str) -> None:
    ingest = Ingest(engine, "test")
    guessed = replace(LOST, ping=replace(LOST.ping, is_estimated=True, vantage=None, sent_ts=None))
    ingest.record(Batch(samples=[guessed]))
    close_hours(engine, START_TS + 10 * HOUR_MS)
    damage(engine, part)
    seen = make_ping(4_001, event_id="$ping4000")
    assert names(ingest.record(Batch(pings=[seen]))) == {NAME}
    restore(engine, part)
    with engine.connect() as connection:
        assert len(read_hour(connection, 1, HOUR + 1).samples.ping) == 1


def test_an_upgrade_is_followed_and_doubled_samples_of_a_damaged_hour_stay(
    engine: Engine, ingest: Ingest, part: str
) -> None:
    again = [
        replace(old, ping=replace(old.ping, room_id=LATER), pong=replace(old.pong, room_id=LATER))
        for old in (OLD, LOST)
    ]
    ingest.record(Batch(samples=again, redacted=[(LATER, LAST.pong.event_id)]))
    assert names(ingest.record_room(LATER, None, ROOM)) == {NAME}
    assert read_pings(engine, part) == [
        ("$ping1", "two.example"),
        ("$ping4000", "two.example"),
        ("$ping4000", "two.example"),
    ]
    # A worker that starts again tells of the upgrade again.
    restore(engine, part)
    assert ingest.record_room(LATER, None, ROOM) == []
    assert sorted(record.ping_event_id for record in read_records(engine, None, ALL)) == [
        "$ping1",
        "$ping4000",
    ]


def test_an_import_that_would_change_a_damaged_hour_ends_with_the_name_of_the_hour(
    engine: Engine, ingest: Ingest, part: str
) -> None:
    restore(engine, part)
    records = list(read_records(engine, None, ALL))
    damage(engine, part)
    with pytest.raises(DamagedHourError, match=NAME):
        list(Importer(engine).add(records))


def test_a_worker_begins_with_what_the_other_hours_say(
    engine: Engine, ingest: Ingest, part: str
) -> None:
    answered, damaged = find_answered_since(engine, ROOM, START_TS)
    assert answered == {"two.example": LAST.pong.seen_ts}
    assert names(damaged) == ({NAME} if part == "hot" else set())
    with read_snapshot(engine) as connection:
        assert find_last_pong(connection, 1) == LAST.pong.seen_ts
