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
from pingboard.store.tables import change, redacted, sample, session, unanswered
from pingboard.store.usual import Usual
from tests.databases import open_migrated_file
from tests.samples import ROOM, make_ping, make_pong

ACCOUNT = "https://one.example @us:one.example"


def everything(engine: Engine) -> list[list[tuple[object, ...]]]:
    """What a batch can have changed."""
    with engine.connect() as connection:
        return [
            [tuple(row) for row in connection.execute(select(table))]
            for table in (sample, unanswered, session, change, redacted)
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
    usual, other = (Ingest(engine, ACCOUNT) for engine in two)
    pings = [make_ping(number, vantage="main" if number % 2 else None) for number in range(6)]
    expected = [(one, [f"s{number}.example" for number in range(9)]) for one in pings[1::2]]
    gone = [(ROOM, make_pong(pings[0], "s1.example").event_id)]
    first = Batch(pings, expected=expected, redacted=gone)
    for ingest in (usual, other):
        ingest.record(first, "s0")
    for number in range(30):
        samples = [pong_to(random.choice(pings), random) for _ in range(random.randrange(1, 5))]
        token = f"s{number}" if random.random() < 0.7 else None
        usual.record(Batch(samples=samples), token)
        # To settle what is not pending changes nothing, and is not usual.
        other.record(Batch(samples=samples, settled=[samples[0].pong]), token)
        assert everything(two[0]) == everything(two[1])


def test_it_takes_what_is_known_and_nothing_else(two: list[Engine]) -> None:
    engine = two[0]
    usual = Usual(engine, ACCOUNT)
    known = Sample(make_ping(1), make_pong(make_ping(1)), None)
    Ingest(engine, ACCOUNT).record(Batch([], [known]))
    before = everything(engine)
    other_server = replace(known, pong=make_pong(make_ping(1), "new.example"))
    other_ping = Sample(make_ping(2), make_pong(make_ping(2)), None)
    for one in (other_server, other_ping):
        assert not usual.record(Batch(samples=[known, one]), None)
    assert not usual.record(Batch(samples=[known]), "a token without a session")
    assert not usual.record(Batch(pings=[make_ping(1)], samples=[known]), None)
    assert not usual.record(Batch(), None)
    assert everything(engine) == before
    assert usual.record(Batch(samples=[known]), None)
    assert everything(engine) == before


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
