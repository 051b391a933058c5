"""The journal, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import delete, select, update

from pingboard.model import Batch, Gap, RoomState
from pingboard.sample_blocks import HOUR_MS
from pingboard.store.engine import Engine, open_engine
from pingboard.store.hours import close_hours
from pingboard.store.ingest import Ingest
from pingboard.store.journal import (
    HourKey,
    VersionWatch,
    can_resume,
    limit_entries,
    prune,
    read_changed_hours,
)
from pingboard.store.rooms import record_room_state
from pingboard.store.samples import read_new
from pingboard.store.schema import room, sample
from tests.samples import ROOM, START_TS, make_ping, make_sample

HOUR = (1, START_TS // HOUR_MS)
NEXT = (1, START_TS // HOUR_MS + 1)
"""`START_TS` is more than half of an hour past the full one."""


@pytest.fixture
def watch(engine: Engine, database_url: str) -> Iterator[VersionWatch]:
    reader = open_engine(database_url, read_only=True)
    watch = VersionWatch(reader)
    yield watch
    watch.close()
    reader.dispose()


def changed_since(engine: Engine, version: int) -> set[HourKey] | None:
    with engine.connect() as connection:
        return read_changed_hours(connection, version)


def test_each_kind_of_change_names_its_hour_and_raises_the_version(
    engine: Engine, watch: VersionWatch
) -> None:
    ingest = Ingest(engine, "test")
    ours = make_ping(1, vantage="main")
    for batch, changed in [
        (Batch(samples=[make_sample(1), make_sample(3000)]), {HOUR, NEXT}),
        (Batch(samples=[make_sample(3000, pong_server="three.example")]), {NEXT}),
        (Batch(expected=[(ours, ["four.example"])]), {HOUR}),
        (Batch(voided=[ours]), {HOUR}),
        (Batch(redacted=[(ROOM, make_sample(3000).pong.event_id)]), {NEXT}),
    ]:
        version = watch.version()
        ingest.record(batch)
        assert changed_since(engine, version) == changed
        assert watch.version() > version


def test_what_no_board_shows_is_no_change(engine: Engine, watch: VersionWatch) -> None:
    ingest = Ingest(engine, "test")
    ingest.record(Batch([], [make_sample(1)]), "s1")
    version = watch.version()
    ingest.record(Batch([], [make_sample(1)]), "s2")
    ingest.record(Batch(pings=[make_ping(2)], gaps=[Gap(ROOM, "t1", None, None, START_TS)]), "s3")
    ingest.record(Batch(redacted=[(ROOM, "$no-pong")]), "s4")
    assert watch.version() == version


def test_a_change_of_a_room_raises_the_version(engine: Engine, watch: VersionWatch) -> None:
    ingest = Ingest(engine, "test")
    changes: list[Callable[[], object]] = [
        lambda: ingest.record_room(ROOM, "#ping:one.example"),
        lambda: record_room_state(engine, ROOM, RoomState.DENIED),
    ]
    for change in changes:
        version = watch.version()
        change()
        assert watch.version() > version


def test_a_transaction_that_is_rolled_back_leaves_the_version(
    engine: Engine, watch: VersionWatch
) -> None:
    Ingest(engine, "test").record_room(ROOM, None)
    version = watch.version()
    with engine.connect() as connection:
        connection.execute(update(room).values(alias="#other:one.example"))
        connection.rollback()
    assert watch.version() == version


def test_each_sample_has_a_number_of_its_own_while_its_hour_is_open(
    engine: Engine, watch: VersionWatch
) -> None:
    ingest, begin = Ingest(engine, "test"), watch.version()
    ingest.record(Batch([], [make_sample(number) for number in (1, 2, 3000)]))
    middle = watch.version()
    ingest.record(Batch([], [make_sample(3001)]))
    new = read_new(engine, begin, watch.version())
    assert [sample.ping.event_id for _, sample in new] == [f"$ping{n}" for n in (1, 2, 3000, 3001)]
    assert sorted({number for number, _ in new}) == [number for number, _ in new]
    assert read_new(engine, middle, watch.version()) == new[3:]
    assert [read_new(engine, number - 1, number) for number, _ in new] == [
        [change] for change in new
    ]
    with engine.begin() as connection:
        connection.execute(delete(sample).where(sample.c.ping == new[0][1].key[1]))
    assert read_new(engine, begin, watch.version()) == new[1:]


def test_a_version_before_a_closed_hour_can_not_be_resumed_from(
    engine: Engine, watch: VersionWatch
) -> None:
    ingest, begin = Ingest(engine, "test"), watch.version()
    ingest.record(Batch([], [make_sample(1)]))
    ingest.record(Batch([], [make_sample(3000)]))
    version = watch.version()
    assert close_hours(engine, START_TS + HOUR_MS) == 1
    assert watch.version() == version
    assert changed_since(engine, begin) is None
    assert not can_resume(engine, begin)
    assert changed_since(engine, version) == set()
    assert can_resume(engine, version)
    assert not can_resume(engine, version + 1)


def test_a_pruned_version_can_not_be_resumed_from(engine: Engine, watch: VersionWatch) -> None:
    begin = watch.version()
    Ingest(engine, "test").record(Batch([], [make_sample(1), make_sample(3000)]))
    version = watch.version()
    assert can_resume(engine, begin)
    with engine.begin() as connection:
        prune(connection, version)
    assert can_resume(engine, version)
    assert not can_resume(engine, version - 1)


def test_a_journal_with_more_entries_than_its_limit_keeps_only_the_last_one(
    engine: Engine, watch: VersionWatch
) -> None:
    Ingest(engine, "test").record(Batch([], [make_sample(4000 * number) for number in range(9)]))
    version = watch.version()
    for limit, is_known in ((20, True), (9, False)):
        with engine.begin() as connection:
            limit_entries(connection, limit)
        assert (changed_since(engine, version - 1) is not None) == is_known
    assert watch.version() == version
    with engine.connect() as connection:
        assert connection.scalar(select(room.c.id)) == 1
