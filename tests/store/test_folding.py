"""Samples that are folded: no reader and no writer can tell, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from pingboard.boards import Boards
from pingboard.model import Batch, BoardName, Ping, Sample, Window, from_ts
from pingboard.records import Record
from pingboard.store import folded, folding, tables
from pingboard.store.changes import find_version, prune
from pingboard.store.engine import Engine, open_engine
from pingboard.store.export import pingstat_rows, read_records
from pingboard.store.figures import lineage, read_answers
from pingboard.store.imports import Importer
from pingboard.store.ingest import Ingest
from pingboard.store.recall import answered_since
from pingboard.store.retention import retire
from pingboard.store.samples import Selection, find_page_end, stream
from pingboard.store.sealed import seal
from tests.databases import PostgreSQL, open_migrated_file
from tests.samples import ROOM, START_TS, make_ping, make_pong

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
DAYS = 1.5
NOW_TS = START_TS + round(DAYS * DAY_MS)
EVER = Window(from_ts(START_TS - DAY_MS), from_ts(NOW_TS + DAY_MS))
OTHER_ROOM = "!other:one.example"

numbers = st.integers(-(2**31), 2**31 - 1)
times = st.integers(-(2**52), 2**52)


@given(
    rows=st.dictionaries(
        st.tuples(st.integers(64, 95), st.integers(1, 5000)),
        st.tuples(
            numbers, st.none() | times, times, times, st.integers(0, 5), st.integers(0, 2**48 - 1)
        ),
        min_size=1,
    )
)
def test_what_is_packed_is_unpacked_as_it_was(rows: dict[tuple[int, int], Any]) -> None:
    listed = [
        (*key, ms, folded.NONE if round_trip is None else round_trip, *others)
        for key, (ms, round_trip, *others) in sorted(rows.items())
    ]
    given_rows = folded.Rows(*np.array(listed, np.int64).T)
    for name, before, after in zip(
        folded.Rows._fields, given_rows, folded.unpack(folded.pack(given_rows)), strict=True
    ):
        assert before.tolist() == after.tolist(), name


def fold_all(engine: Engine, now_ts: int = NOW_TS + DAY_MS) -> int:
    """Pack the past for the boards and forget the journal, as time does; then fold."""
    while seal(engine, now_ts):
        pass
    with engine.begin() as connection:
        prune(connection, keep=1)
    return folding.fold(engine, now_ts)


def count(engine: Engine, table: Any) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def answers(random: Random, *, days: float = DAYS, pings: int = 40) -> list[Sample]:
    """Pongs of some servers to pings of any time, some of ours; clocks are wrong by up to days."""
    samples = []
    for number in sorted(random.randrange(int(days * DAY_MS)) / 1000 for _ in range(pings)):
        ours = random.random() < 0.5
        ping = replace(
            make_ping(0, f"s{random.randrange(3)}.example"),
            event_id=f"$at{number}",
            room_id=random.choice([ROOM, ROOM, OTHER_ROOM]),
            seen_ts=START_TS + round(number * 1000),
            origin_server_ts=START_TS + round(number * 1000) - random.randrange(500),
            vantage="main" if ours else None,
            sent_ts=START_TS + round(number * 1000) - 7 if ours else None,
        )
        for server in random.sample(range(9), random.randrange(1, 7)):
            pong = make_pong(ping, f"s{server}.example", random.randrange(-50, 5000))
            off = random.choice([0, 0, 0, random.randrange(-3 * DAY_MS, 3 * DAY_MS)])
            pong = replace(pong, origin_server_ts=pong.seen_ts - random.randrange(90) - off)
            samples.append(Sample(ping, pong, random.choice([None, 321]) if ours else None))
    return samples


def read_everything(engine: Engine) -> dict[str, Any]:
    """Whatever reads single samples, or says something of them."""
    rooms = lineage(engine, ROOM)
    found: dict[str, Any] = {
        "export": list(read_records(engine, None, EVER)),
        "export of a room": list(read_records(engine, rooms, EVER)),
        "export of a day": list(read_records(engine, None, Window(*_day(0)))),
        "rooms": Boards(engine).rooms(),
        "answered": answered_since(engine, ROOM, START_TS + 20 * HOUR_MS),
    }
    for name, window in (("all", EVER), ("a day", Window(*_day(1)))):
        start_ts, end_ts = window.start_ts, window.end_ts
        for number in (2, 5):
            server = f"s{number}.example"
            one = read_answers(engine, rooms, window, server, from_ts(NOW_TS))
            found[f"answers of {server}, {name}"] = [sorted(part.tolist()) for part in one]
            found[f"pongs of {server}, {name}"] = _read_pages(
                engine, Selection(rooms, window, pong_server=server)
            )
        found[f"pingstat, {name}"] = list(
            pingstat_rows(engine, ROOM, rooms, start_ts, end_ts, 0, 4000)
        )
        found[f"samples, {name}"] = _read_pages(engine, Selection(rooms, window))
        of = Selection(rooms, window, ping_server="s1.example")
        found[f"samples of one ping server, {name}"] = _read_pages(engine, of)
        for board in BoardName:
            found[f"{board}, {name}"] = Boards(engine).board(
                board, window, now=from_ts(NOW_TS), room=ROOM
            )
    return found


def _day(number: int) -> tuple[Any, Any]:
    return from_ts(START_TS + number * DAY_MS), from_ts(START_TS + (number + 1) * DAY_MS)


def _read_pages(engine: Engine, selection: Selection) -> list[Any]:
    pages, after = [], None
    while True:
        last, has_more = find_page_end(engine, selection, after, 151)
        pages += [one for chunk in stream(engine, selection, after, last) for one in chunk]
        if not has_more:
            return pages
        after = last


class Twins(NamedTuple):
    """Two databases to which the same happens; only the second is ever folded."""

    plain: Engine
    folded: Engine

    def do(self, change: Any) -> None:
        """The same change to both."""
        for one in self:
            change(one)

    def assert_same(self) -> None:
        """Every reader gets the same from both."""
        mine, others = map(read_everything, self)
        for name, found in mine.items():
            assert others[name] == found, name


@pytest.fixture
def twins(engine: Engine, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Twins]:
    if engine.dialect.name == "sqlite":
        second = open_migrated_file(tmp_path / "second.db")
    else:
        databases: PostgreSQL = request.getfixturevalue("postgresql")
        second = open_engine(databases.create_migrated())
    yield Twins(engine, second)
    second.dispose()


def test_folded_samples_are_read_as_their_rows_were(twins: Twins) -> None:
    samples = answers(Random(1), pings=200)
    twins.do(lambda one: Ingest(one, "test").record(Batch([], samples)))
    version = find_version(twins.folded)
    assert fold_all(twins.folded) > 5
    assert find_version(twins.folded) == version
    assert count(twins.folded, tables.sample) < len(samples) / 4
    twins.assert_same()


def test_nothing_is_folded_too_early(engine: Engine) -> None:
    Ingest(engine, "test").record(Batch([], answers(Random(2), days=1, pings=70)))
    assert fold_all(engine, START_TS + DAY_MS) == 0
    assert fold_all(engine, START_TS + 2 * DAY_MS + HOUR_MS) > 0


def test_what_readers_may_still_look_for_is_not_folded(engine: Engine) -> None:
    Ingest(engine, "test").record(Batch([], answers(Random(3), pings=70)))
    while seal(engine, NOW_TS + DAY_MS):
        pass
    assert not folding.prepare(engine, NOW_TS + DAY_MS).folds


def test_what_is_not_packed_for_the_boards_is_not_folded(engine: Engine) -> None:
    Ingest(engine, "test").record(Batch([], answers(Random(8), pings=70)))
    with engine.begin() as connection:
        prune(connection, keep=1)
    assert folding.fold(engine, NOW_TS + DAY_MS) == 0


def test_what_changed_since_it_was_prepared_stays_rows(engine: Engine) -> None:
    ingest = Ingest(engine, "test")
    (one, *_), samples = answers(Random(4), pings=1), answers(Random(5), pings=70)
    ingest.record(Batch([], [one, *samples]))
    while seal(engine, NOW_TS + DAY_MS):
        pass
    with engine.begin() as connection:
        prune(connection, keep=1)
    prepared = folding.prepare(engine, NOW_TS + DAY_MS)
    late = replace(make_pong(one.ping, "late.example"), event_id="$late")
    ingest.record(Batch([], [Sample(one.ping, late, None)]))
    assert len(prepared.folds) > folding.keep(engine, prepared)
    servers = {one.pong_server for one in read_records(engine, None, EVER)}
    assert "late.example" in servers


def test_imported_samples_stay_rows(engine: Engine) -> None:
    Ingest(engine, "test").record(Batch([], answers(Random(6), pings=70)))
    exported = list(read_records(engine, None, EVER))
    with engine.begin() as connection:
        for table in (tables.sample, tables.ping):
            connection.execute(table.delete())
    list(Importer(engine).add(exported))
    assert fold_all(engine) == 0
    assert list(read_records(engine, None, EVER)) == exported


KINDS = ("late", "gap", "redaction", "unknown", "void", "import", "repeat")


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_can_tell_whatever_happens_to_the_past(twins: Twins, kind: str) -> None:
    random = Random(kind)
    known = answers(random, pings=110)
    twins.do(lambda one: Ingest(one, "test").record(_batch(known)))
    kept = Boards(twins.folded)
    unfolded = 0
    for _ in range(2):
        assert fold_all(twins.folded) > 0
        folds = count(twins.folded, tables.folded)
        twins.do(_choose_change(kind, random, known))
        unfolded += folds - count(twins.folded, tables.folded)
        twins.assert_same()
        for name in BoardName:
            mine, others = (
                one.board(name, EVER, now=from_ts(NOW_TS), room=ROOM)
                for one in (Boards(twins.plain), kept)
            )
            assert mine == others
        with twins.folded.begin() as connection:  # whatever it was, it is over
            folding.unfold_all(connection)
    assert (unfolded > 0) is (kind != "unknown")


def _batch(samples: list[Sample]) -> Batch:
    """With pongs that have not come to our own pings."""
    ours = [one.ping for one in samples if one.ping.vantage]
    silent = [(ping, ["s7.example", "s8.example", "silent.example"]) for ping in ours]
    return Batch([], samples, expected=silent)


def _choose_change(kind: str, random: Random, known: list[Sample]) -> Any:
    some = random.sample([one for one in known if one.ping.vantage], 3)
    if kind == "late":
        late = [Sample(one.ping, _pong(one.ping, random), None) for one in some]
        return lambda engine: Ingest(engine, "test").record(Batch([], late))
    if kind == "gap":
        new = answers(random, pings=5)
        return lambda engine: Ingest(engine, "test").record(_batch(new))
    if kind in ("redaction", "unknown"):
        events = [
            (one.ping.room_id, one.pong.event_id if kind == "redaction" else "$chat")
            for one in some
        ]
        return lambda engine: Ingest(engine, "test").record(Batch(redacted=events))
    if kind == "void":
        voided = [one.ping for one in some]
        return lambda engine: Ingest(engine, "test").record(Batch(voided=voided))
    if kind == "repeat":
        return lambda engine: Ingest(engine, "test").record(Batch([], some))
    records = [_record(one) for one in [*some, *answers(random, pings=2)]]
    return lambda engine: list(Importer(engine).add(records))


def _pong(ping: Ping, random: Random) -> Any:
    return make_pong(ping, f"late{random.randrange(5)}.example", random.randrange(5000))


def _record(one: Sample) -> Record:
    ping, pong = one.ping, one.pong
    return Record(
        ping.room_id, None, None, ping.event_id, ping.server, pong.server, pong.one_way_ms,
        one.round_trip_ms, ping.seen_ts, pong.seen_ts, ping.origin_server_ts,
        pong.origin_server_ts, ping.sent_ts, ping.vantage, "live", None,
    )  # fmt: skip


def test_retention_drops_what_is_folded(twins: Twins) -> None:
    samples = answers(Random(7), pings=200)
    twins.do(lambda one: Ingest(one, "test").record(Batch([], samples)))
    for one in twins:
        while seal(one, NOW_TS + DAY_MS):
            pass
        with one.begin() as connection:
            prune(connection, keep=1)
    assert fold_all(twins.folded) > 3
    for _ in range(25):
        twins.do(lambda one: retire(one, START_TS + DAY_MS))
    assert count(twins.plain, tables.ping) == count(twins.folded, tables.ping) < 200
    with twins.folded.connect() as connection:
        there = set(connection.execute(select(tables.ping.c.id)).scalars())
        for fold in folded.find_folds(connection):
            assert there >= set(folded.read_rows(connection, fold).ping.tolist())
    twins.assert_same()
