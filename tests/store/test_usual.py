"""The usual batch, which goes through the driver, against the same batch through SQLAlchemy."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import Engine, select

from pingboard.model import Batch, Ping, Provenance, Sample
from pingboard.store.ingest import Ingest
from pingboard.store.rows import hash_event_id
from pingboard.store.tables import change, closed, ping, redacted, sample, session, unanswered
from pingboard.store.usual import Usual
from tests.databases import open_migrated_file
from tests.samples import ROOM, make_ping, make_pong

ACCOUNT = "https://one.example @us:one.example"


def everything(engine: Engine) -> list[list[tuple[object, ...]]]:
    """What a batch can have changed."""
    with engine.connect() as connection:
        return [
            [tuple(row) for row in connection.execute(select(table))]
            for table in (ping, sample, unanswered, session, change, redacted)
        ]


def pong_to(ping: Ping, random: Random) -> Sample:
    pong = make_pong(ping, f"s{random.randrange(9)}.example", random.randrange(-50, 900))
    pong = replace(pong, origin_server_ts=pong.seen_ts - random.randrange(40))
    round_trip_ms = random.randrange(900) if ping.vantage else None
    return Sample(ping, pong, round_trip_ms, random.choice(list(Provenance)))


@pytest.fixture
def two(tmp_path: Path) -> list[Engine]:
    return [open_migrated_file(tmp_path / f"{name}.db") for name in ("usual", "other")]


@pytest.mark.parametrize("seed", range(3))
def test_it_leaves_behind_what_any_batch_would(two: list[Engine], seed: int) -> None:
    random = Random(seed)
    ingests = [Ingest(engine, ACCOUNT) for engine in two]
    servers = [f"s{number}.example" for number in range(9)]
    gone = [(ROOM, make_pong(make_ping(number), "s1.example").event_id) for number in (0, 1)]
    all_servers = [Sample(make_ping(99), make_pong(make_ping(99), one), None) for one in servers]
    for ingest in ingests:
        first = Batch([make_ping(98, vantage="main")], all_servers, redacted=gone)
        ingest.record(first, "s0")
    with two[0].connect() as connection:
        usual = Usual(two[0], connection.execute(select(session.c.account)).scalar_one())
    for number in range(40):
        # Pings come alone, with what is expected of them, or not before the first pong to them.
        numbers = [random.randrange(12) for _ in range(random.randrange(3))]
        pings = [make_ping(one, vantage="main" if one % 2 else None) for one in numbers]
        samples = [
            pong_to(random.choice([make_ping(one % 10), *pings]), random)
            for one in range(random.randrange(1, 5))
        ]
        expected = [(one, servers) for one in pings if one.vantage]
        token = f"s{number}" if random.random() < 0.7 else None
        batch = Batch(pings[:1], samples, expected=expected)
        assert usual.record(batch, token)
        # To settle what is not pending changes nothing, and is not usual.
        ingests[1].record(replace(batch, settled=[samples[0].pong]), token)
        assert everything(two[0]) == everything(two[1])


def test_it_takes_what_is_known_and_nothing_else(two: list[Engine]) -> None:
    engine = two[0]
    usual = Usual(engine, ACCOUNT)
    known = Sample(make_ping(1), make_pong(make_ping(1)), None)
    Ingest(engine, ACCOUNT).record(Batch([], [known]))
    before = everything(engine)
    new = make_ping(2)
    of_new_server = replace(known, pong=make_pong(make_ping(1), "new.example"))
    assert not usual.record(Batch([new], [known, of_new_server]), None)
    for one in (
        make_ping(2, "new.example"),
        make_ping(2, room_id="!new:one.example"),
        make_ping(2, vantage="new"),
    ):
        assert not usual.record(Batch([new, one]), None)
    assert not usual.record(Batch(expected=[(new, ["one.example", "new.example"])]), None)
    assert not usual.record(Batch([new], [known]), "a token without a session")
    assert not usual.record(Batch([new], redacted=[(ROOM, "$any")]), None)
    assert everything(engine) == before
    assert usual.record(Batch(samples=[known]), None)
    assert everything(engine) == before


def test_what_was_taken_back_does_not_come_again(two: list[Engine]) -> None:
    engine = two[0]
    ingest, usual = Ingest(engine, ACCOUNT), Usual(engine, ACCOUNT)
    first = make_pong(make_ping(1), "two.example")
    second = replace(first, event_id="$second")
    other = make_pong(make_ping(1), "one.example")
    ingest.record(Batch(samples=[Sample(make_ping(1), first, None)]))
    ingest.record(Batch(redacted=[(ROOM, first.event_id), (ROOM, "$unseen")]))
    ingest.record(Batch([make_ping(2)]))
    unseen = replace(make_pong(make_ping(2), "two.example"), event_id="$unseen")
    pongs = [(1, first), (1, second), (2, unseen), (1, other)]
    assert usual.record(Batch(samples=[Sample(make_ping(n), one, None) for n, one in pongs]), None)
    with engine.connect() as connection:
        stored = connection.execute(select(sample.c.event_hash)).scalars().all()
    assert stored == [hash_event_id(other.event_id)]


def test_it_adds_nothing_to_closed_hours(two: list[Engine]) -> None:
    engine = two[0]
    Ingest(engine, ACCOUNT).record(Batch([make_ping(5)]))
    with engine.begin() as connection:
        connection.execute(closed.insert().values(room=1, before_ts=make_ping(3).seen_ts))
    usual = Usual(engine, ACCOUNT)
    before = everything(engine)
    assert not usual.record(Batch([make_ping(4), make_ping(2)]), None)
    assert everything(engine) == before
    assert usual.record(Batch([make_ping(3)]), None)


def test_where_another_writes_it_does_not_wait(two: list[Engine]) -> None:
    engine = two[0]
    known = Sample(make_ping(1), make_pong(make_ping(1)), None)
    Ingest(engine, ACCOUNT).record(Batch([], [known]))
    usual = Usual(engine, ACCOUNT)
    with closing(sqlite3.connect(str(engine.url.database), isolation_level=None, uri=True)) as busy:
        busy.execute("BEGIN IMMEDIATE")
        assert not usual.record(Batch(samples=[known]), None)
        busy.execute("ROLLBACK")
    assert usual.record(Batch(samples=[known]), None)
