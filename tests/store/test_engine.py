"""Opening and migrating, on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from pingboard.model import Batch, ConfigurationError, StoreError
from pingboard.store.engine import (
    MIGRATION_LOCK,
    Engine,
    PassingStoreError,
    _known_schemas,
    _migrations,
    back_up,
    find_file,
    is_current,
    migrate,
    open_engine,
)
from pingboard.store.ingest import Ingest
from pingboard.store.schema import metadata
from tests.databases import PostgreSQL
from tests.samples import make_sample


def test_migrations_lead_to_the_tables_of_the_code(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_migrations_are_named_in_their_order() -> None:
    script = ScriptDirectory(str(_migrations()))
    assert _known_schemas() == [migration.revision for migration in script.walk_revisions()][::-1]


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


def test_a_database_of_another_pingboard_is_refused_in_one_line(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0012'"))
    with pytest.raises(StoreError, match=r"^.*0012, which another version .* \d{4}\).*$"):
        migrate(engine)


def test_a_database_of_another_program_is_refused_in_one_line(database_url: str) -> None:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE pong (room_id TEXT)"))
    with pytest.raises(StoreError, match=r"^PINGBOARD_DATABASE_URL: .* of another program; .*$"):
        migrate(engine)
    engine.dispose()


def test_a_read_only_engine_can_not_write(engine: Engine, database_url: str) -> None:
    reader = open_engine(database_url, read_only=True)
    with pytest.raises((StoreError, SQLAlchemyError), match=r"(?i)read-?only"):
        Ingest(reader, "x").record(Batch([], [make_sample()]))
    reader.dispose()


def test_sqlite_is_in_wal_mode_and_seldom_checkpoints(tmp_path: Path) -> None:
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
    with pytest.raises(StoreError, match=r"^PINGBOARD_DATABASE_URL: .*unable to open.* write"):
        migrate(open_engine(f"sqlite:///{tmp_path}/none/a.db"))


@pytest.mark.parametrize("path", ["/", "{folder}", "{folder}/", "{folder}/none/", "{folder}/pipe"])
def test_what_is_no_file_is_refused_and_stays_as_it_is(tmp_path: Path, path: str) -> None:
    tmp_path.chmod(0o755)
    os.mkfifo(tmp_path / "pipe", 0o644)
    with pytest.raises(ConfigurationError, match="names a folder or a device, not a file"):
        open_engine(f"sqlite:///{path.format(folder=tmp_path)}")
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "pipe").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("folder", ["C#/app", "a?b", "x%41y", "%23", "ä ö", "a:b@c", "lat\udce9in"])
def test_the_file_stands_where_its_path_says(tmp_path: Path, folder: str) -> None:
    file = tmp_path / folder / "pingboard.db"
    file.parent.mkdir(parents=True)
    engine = open_engine(f"sqlite:///{file}")
    migrate(engine)
    assert find_file(engine) == file
    assert file.exists()
    reader = open_engine(f"sqlite:///{file}", read_only=True)
    assert is_current(reader)
    with pytest.raises(StoreError, match="readonly"), reader.begin() as connection:
        connection.execute(text("CREATE TABLE a (b INTEGER)"))
    back_up(reader, file.with_name(f"{file.parent.name}.db"))
    assert file.with_name(f"{file.parent.name}.db").exists()
    reader.dispose()
    engine.dispose()
    tops = {"C#/app": "C#"}
    assert [path.name for path in tmp_path.iterdir()] == [tops.get(folder, folder)]


def test_database_and_copy_are_private_also_where_they_were_not(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    engine = open_engine(f"sqlite:///{file}")
    migrate(engine)
    engine.dispose()
    file.chmod(0o644)
    engine = open_engine(f"sqlite:///{file}")
    reader = open_engine(f"sqlite:///{file}", read_only=True)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE a (b INTEGER)"))
        back_up(reader, tmp_path / "b.db")
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(["a.db", "a.db-wal", "a.db-shm", "b.db"], "0o600")
    reader.dispose()
    engine.dispose()


def test_a_second_connection_drops_no_lock_of_the_first(tmp_path: Path) -> None:
    file = tmp_path / "pingboard.db"
    engine = open_engine(f"sqlite:///{file}")
    migrate(engine)
    look = (
        f"import sqlite3; sqlite3.connect({str(file)!r}).execute('SELECT * FROM room').fetchall()"
    )
    with engine.connect() as first, engine.connect() as second:
        first.rollback()
        second.rollback()
        # Another process that takes itself for the last one deletes the log as it closes.
        subprocess.run([sys.executable, "-c", look], check=True)
        assert file.with_name("pingboard.db-wal").exists()
    engine.dispose()


def test_a_copy_that_is_interrupted_is_no_copy(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/a.db")
    migrate(engine)
    copy = f"""
import resource, signal
from pathlib import Path
from pingboard.store.engine import back_up, open_engine
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # ends the process at a byte too many
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
back_up(open_engine("sqlite:///{tmp_path}/a.db", read_only=True), Path("{tmp_path}/b.db"))
"""
    ended = subprocess.run([sys.executable, "-c", copy], check=False)
    assert ended.returncode == -signal.SIGXFSZ
    assert {path.name for path in tmp_path.glob("b*")} == {"b.db.part", "b.db.part-journal"}
    back_up(engine, tmp_path / "b.db")
    assert {path.name for path in tmp_path.glob("b*")} == {"b.db"}
    engine.dispose()


def test_a_copy_of_no_database_is_refused(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/none.db", read_only=True)
    with pytest.raises(ConfigurationError, match=r"there is no database .*none\.db to copy"):
        back_up(engine, tmp_path / "b.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:hunter@2@h/x",
        "postgresql://u:hunter/2@h/x",
        "postgresql://u:hunter%zz2@h/x",
        "postgresql://u:hunter2@h:port/x",
        "postgresql://u:hunter2@h:99999/x",
        "postgresql://u:hunter2@[::1/x",
        "postgresql://u:hunter2@h/x?nonsense=1",
    ],
)
def test_a_postgresql_address_that_can_not_be_read_is_refused_without_its_secret(
    address: str,
) -> None:
    with pytest.raises(ConfigurationError, match=r"^PINGBOARD_DATABASE_URL: ") as raised:
        open_engine(address)
    assert "hunter" not in str(raised.value)
    assert "2@" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql+psycopg2", "postgresql+asyncpg"])
def test_postgresql_addresses_of_other_tools_work(postgresql_database: str, scheme: str) -> None:
    engine = open_engine(postgresql_database.replace("postgresql", scheme, 1))
    migrate(engine)
    assert is_current(engine)
    engine.dispose()


def test_a_list_of_postgresql_hosts_works_for_readers_too(postgresql_database: str) -> None:
    folder = make_url(postgresql_database).query["host"]
    name = make_url(postgresql_database).database
    address = (
        f"postgresql:///{name}?user=postgres&host=/nowhere,{folder}&target_session_attrs=read-write"
    )
    for read_only in (False, True):
        engine = open_engine(address, read_only=read_only)
        with engine.connect() as connection:
            is_read_only = connection.execute(text("SHOW transaction_read_only")).scalar_one()
        assert is_read_only == ("on" if read_only else "off")
        engine.dispose()


def test_a_database_server_that_is_away_is_one_line_and_passes() -> None:
    engine = open_engine("postgresql://u:hunter2@127.0.0.1:1/x", read_only=True)
    with pytest.raises(PassingStoreError, match=r"connection .* refused") as raised:
        engine.connect()
    assert "hunter2" not in str(raised.value)
    assert "\n" not in str(raised.value)


def set_read_only(url: str, setting: str) -> None:
    """Let whoever connects to a database from now on write to it, or not."""
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(text("SET TRANSACTION READ WRITE"))
        name = make_url(url).database
        connection.execute(
            text(f"ALTER DATABASE {name} SET default_transaction_read_only = {setting}")
        )
    engine.dispose()


def test_a_server_that_only_reads_for_now_passes_for_who_writes_alone(
    postgresql: PostgreSQL,
) -> None:
    url = postgresql.create_migrated()
    set_read_only(url, "on")
    writer, reader = open_engine(url), open_engine(url, read_only=True)
    migrate(writer)
    with pytest.raises(PassingStoreError, match=r"can't be written to: .* read-only transaction"):
        Ingest(writer, "x").record(Batch([], [make_sample()]))
    assert is_current(reader)
    with pytest.raises((StoreError, SQLAlchemyError), match="read-only") as raised:
        Ingest(reader, "x").record(Batch([], [make_sample()]))
    assert not isinstance(raised.value, PassingStoreError)
    set_read_only(url, "off")
    Ingest(writer, "x").record(Batch([], [make_sample()]))
    reader.dispose()
    writer.dispose()


def test_tables_that_a_role_may_only_read_are_not_waited_for(postgresql_database: str) -> None:
    set_read_only(postgresql_database, "on")
    engine = open_engine(postgresql_database)
    with pytest.raises(StoreError, match=r"can only read; run `pingboard db upgrade`") as raised:
        migrate(engine)
    assert not isinstance(raised.value, PassingStoreError)
    engine.dispose()


STARTER = """
import sys
from pingboard.store.engine import is_current, migrate, open_engine
engine = open_engine(sys.argv[1])
input()
migrate(engine)
assert is_current(engine)
"""


def test_four_processes_that_start_at_once_make_the_tables_once(database_url: str) -> None:
    command = [sys.executable, "-c", STARTER, database_url]
    pipe = subprocess.PIPE
    starters = [subprocess.Popen(command, stdin=pipe, stderr=pipe, text=True) for _ in range(4)]
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("\n")
        starter.stdin.flush()
    errors = [starter.communicate(timeout=240)[1] for starter in starters]
    assert [starter.returncode for starter in starters] == [0, 0, 0, 0], errors


def test_tables_that_somebody_else_changes_are_waited_for_with_a_limit(
    postgresql_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pingboard.store.engine.MIGRATION_WAIT_S", 1)
    engine = open_engine(postgresql_database)
    with engine.begin() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        with pytest.raises(PassingStoreError, match=r"lock timeout"):
            migrate(engine)
    migrate(engine)
    engine.dispose()


@pytest.mark.parametrize(
    "url", ["pingboard.db", "mysql://localhost/x", "sqlite://", "sqlite:///", "sqlite:///:memory:"]
)
def test_a_url_of_another_kind_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ConfigurationError, match="for example PINGBOARD_DATABASE_URL="):
        open_engine(url)


def test_the_sample_table_has_neither_text_nor_rowid(tmp_path: Path) -> None:
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
    reader = open_engine(f"sqlite:///{tmp_path}/a.db", read_only=True)
    with engine.begin():  # a write under way
        back_up(reader, tmp_path / "b.db")
    reader.dispose()
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
