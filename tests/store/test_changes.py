"""The journal of changes, on SQLite and on PostgreSQL: no writer can pass it by."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, delete, func, insert, select, update

from pingboard.model import Batch
from pingboard.store.changes import Watch, prune, read_changed, read_version
from pingboard.store.engine import Engine, _migrations, open_engine
from pingboard.store.ingest import Ingest
from pingboard.store.tables import ping, room, sample, unanswered
from tests.samples import ROOM, make_sample


@pytest.fixture
def watch(engine: Engine, database_url: str) -> Iterator[Watch]:
    reader = open_engine(database_url, read_only=True)
    watch = Watch(reader)
    yield watch
    watch.close()
    reader.dispose()


def changed_since(engine: Engine, version: int) -> list[int] | None:
    with engine.connect() as connection:
        return read_changed(connection, version)


def test_each_kind_of_change_names_its_ping_and_raises_the_version(
    engine: Engine, watch: Watch
) -> None:
    Ingest(engine, "test").record(Batch([], [make_sample(1), make_sample(2)]))
    with engine.connect() as connection:
        [one, two] = connection.execute(select(ping.c.id).order_by(ping.c.id)).scalars()
        [server] = connection.execute(select(sample.c.pong_server).distinct()).scalars()
    version = watch.version()
    assert version > 0
    of_one = sample.c.ping == one
    for statement, changed in [
        (update(sample).where(of_one).values(round_trip_ms=None), [one]),
        (delete(sample).where(of_one), [one]),
        (insert(unanswered).values(ping=two, pong_server=server), [two]),
        (delete(unanswered), [two]),
        (update(room).values(alias="#ping:one.example"), []),
    ]:
        with engine.begin() as connection:
            connection.execute(statement)
        assert changed_since(engine, version) == changed
        assert watch.version() > version
        version = watch.version()


def test_the_same_samples_again_are_no_change(engine: Engine, watch: Watch) -> None:
    for _ in range(2):
        Ingest(engine, "test").record(Batch([], [make_sample(1)]))
        version = watch.version()
    assert changed_since(engine, version - 1) is not None
    Ingest(engine, "test").record(Batch([], [make_sample(1)]), "s2")
    assert watch.version() == version


def test_what_was_rolled_back_is_no_change(engine: Engine, watch: Watch) -> None:
    Ingest(engine, "test").record_room(ROOM, None)
    version = watch.version()
    with engine.connect() as connection:
        connection.execute(update(room).values(alias="#other:one.example"))
        connection.rollback()
    assert watch.version() == version


def test_a_reader_that_is_too_far_behind_is_told_so(engine: Engine) -> None:
    Ingest(engine, "test").record(Batch([], [make_sample(number) for number in range(1, 6)]))
    with engine.begin() as connection:
        version = read_version(connection)
        prune(connection, keep=2)
    assert changed_since(engine, version - 3) is None
    assert len(changed_since(engine, version - 2) or []) == 2
    assert changed_since(engine, version) == []


def test_numbers_go_on_where_they_were_before_an_upgrade(engine: Engine, watch: Watch) -> None:
    ingest = Ingest(engine, "test")
    ingest.record(Batch([], [make_sample(number) for number in range(5)]))
    before = watch.version()  # the first was the room
    for move, revision in ((command.downgrade, "0009"), (command.upgrade, "head")):
        with engine.begin() as connection:
            move(migrations_of(connection), revision)
        assert watch.version() == before
        assert sorted(changed_since(engine, 1) or []) == [1, 2, 3, 4, 5]
        with engine.begin() as connection:
            oldest = select(func.min(sample.c.ping)).scalar_subquery()
            connection.execute(delete(sample).where(sample.c.ping == oldest))
        before += 1
        assert watch.version() == before


def migrations_of(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_migrations()))
    config.attributes["connection"] = connection
    return config
