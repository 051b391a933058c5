"""Opening and migrating, on SQLite and on PostgreSQL."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.exc import SQLAlchemyError

from pingboard.model import Batch, ConfigurationError, StoreError
from pingboard.store.engine import (
    Engine,
    _known_schemas,
    _migrations,
    back_up,
    is_current,
    migrate,
    open_engine,
)
from pingboard.store.ingest import Ingest
from pingboard.store.tables import metadata
from tests.samples import make_sample


def test_migrations_lead_to_the_tables_of_the_code(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_migrations_are_named_in_their_order() -> None:
    script = ScriptDirectory(str(_migrations()))
    assert _known_schemas() == [one.revision for one in script.walk_revisions()][::-1]


def test_migrations_lead_down_again(engine: Engine) -> None:
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(_migrations()))
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    migrate(engine)
    assert is_current(engine)


def test_migrating_twice_changes_nothing(engine: Engine) -> None:
    migrate(engine)
    assert is_current(engine)


def test_a_new_database_is_not_current(database_url: str) -> None:
    engine = open_engine(database_url, read_only=True)
    assert not is_current(engine)
    engine.dispose()


def test_a_database_of_a_newer_pingboard_is_refused(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match=r"schema 9999, newer .* upgrade pingboard"):
        migrate(engine)


def test_a_read_only_engine_can_not_write(engine: Engine, database_url: str) -> None:
    reader = open_engine(database_url, read_only=True)
    with pytest.raises(SQLAlchemyError, match=r"(?i)read-?only"):
        Ingest(reader, "x").record(Batch([], [make_sample()]))
    reader.dispose()


def test_sqlite_is_in_wal_mode_and_seldom_copies_it(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/a.db")
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        pages = connection.execute(text("PRAGMA wal_autocheckpoint")).scalar_one()
    # Beyond 4,062 frames a reader looks in a second table of the index (SQLite: "WAL-index").
    assert 2000 <= pages < 4062
    engine.dispose()


def test_a_file_that_is_no_database_is_refused_with_the_way_to_restore(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("Dear diary, " * 1000)
    with pytest.raises(StoreError, match=r"^PINGBOARD_DATABASE_URL: .*not a database; .* backup"):
        migrate(open_engine(f"sqlite:///{tmp_path}/a.db"))


def test_a_folder_that_does_not_exist_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"^PINGBOARD_DATABASE_URL: .*unable to open.* writable"):
        migrate(open_engine(f"sqlite:///{tmp_path}/none/a.db"))


@pytest.mark.parametrize(
    "url", ["pingboard.db", "mysql://localhost/x", "sqlite://", "sqlite:///:memory:"]
)
def test_a_url_of_another_kind_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ConfigurationError, match="for example PINGBOARD_DATABASE_URL="):
        open_engine(url)


def test_the_hot_table_is_narrow(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/a.db")
    migrate(engine)
    engine.dispose()
    with sqlite3.connect(tmp_path / "a.db") as connection:
        (sql,) = connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'sample'"
        ).fetchone()
    connection.close()
    assert sql.rstrip().endswith("WITHOUT ROWID")
    assert "TEXT" not in sql


def test_a_copy_made_while_writing_has_the_same_samples(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/a.db")
    migrate(engine)
    ingest = Ingest(engine, "x")
    ingest.record(Batch([], [make_sample(1)]), "s1")
    with engine.begin():  # a write under way
        back_up(open_engine(f"sqlite:///{tmp_path}/a.db", read_only=True), tmp_path / "b.db")
    ingest.record(Batch([], [make_sample(2)]), "s2")
    copy = open_engine(f"sqlite:///{tmp_path}/b.db")
    migrate(copy)
    assert Ingest(copy, "x").saved_session().next_batch == "s1"
    Ingest(copy, "x").record(Batch([], [make_sample(3)]))
    with copy.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM sample")).scalar_one() == 2
    with pytest.raises(ConfigurationError, match="there already"):
        back_up(engine, tmp_path / "b.db")
    copy.dispose()
    engine.dispose()
