"""`pingboard db`: check, copy, backup and restore, as an operator does them."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from pingboard.model import Batch
from pingboard.store.editions import Edition, insert_edition
from pingboard.store.engine import Engine, open_engine
from pingboard.store.hours import close_hours
from pingboard.store.ingest import Ingest
from pingboard.store.schema import metadata, sample
from tests.commands import run
from tests.pingstat import random_rows
from tests.web.site import ROOM, make_answers, open_store, record

BOARDS = ("response", "delivery", "reception")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A SQLite database with closed and open hours, a redaction in each, and an edition."""
    store = open_store(tmp_path)
    in_closed = make_answers("one.example", [380, 395, 403, 9000])
    in_open = make_answers("two.example", [460, 512, 600, 9000], first=4000)
    record(store, in_closed)
    assert close_hours(store, time.time_ns() // 1_000_000) > 0
    record(store, in_open)
    redacted = [(ROOM, answers[-1].pong.event_id) for answers in (in_closed, in_open)]
    Ingest(store, "test").record(Batch(redacted=redacted))
    assert len(read_withdrawn(store)) == 2
    insert_edition(store, Edition("2026-W41", 1, "{}", "| |"))
    with store.connect() as connection:
        assert count(store, "hour") > 0
        assert connection.execute(select(func.count()).select_from(sample)).scalar_one() > 0
    store.dispose()
    return f"sqlite:///{tmp_path}/pingboard.db"


def count(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        rows = select(func.count()).select_from(metadata.tables[table])
        return int(connection.execute(rows).scalar_one())


def read_withdrawn(engine: Engine) -> list[tuple[str, str]]:
    """The pairs (ping, pong server) whose pong was redacted."""
    withdrawn, ping, server = (metadata.tables[name] for name in ("withdrawn", "ping", "server"))
    pairs = select(ping.c.event, server.c.name).select_from(
        withdrawn.join(ping).join(server, withdrawn.c.pong_server == server.c.id)
    )
    with engine.connect() as connection:
        return sorted((event, name) for event, name in connection.execute(pairs))


def find_tools(engine: Engine) -> Path:
    """The folder of a PostgreSQL server's own programs: an older pg_dump refuses it."""
    with engine.connect() as connection:
        folder = text("SELECT setting FROM pg_config WHERE name = 'BINDIR'")
        return Path(connection.execute(folder).scalar_one())


def read_tables(url: str, folder: Path) -> list[str]:
    return [
        run(url, "table", "--board", board, "--window", "365d", folder=folder)[1]
        for board in BOARDS
    ]


def test_a_healthy_database_is_whole(url: str, tmp_path: Path) -> None:
    code, stdout, stderr = run(url, "db", "check", folder=tmp_path)
    assert (code, stderr) == (0, "")
    assert [line.split(":")[0] for line in stdout.splitlines()] == [
        f"ok      {topic}" for topic in ("integrity", "references", "journal", "hours")
    ]


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        ("UPDATE hour SET samples = samples + 1", "fault   hours: the hour 20"),
        ("UPDATE hour SET hot = x'00'", "fault   hours: the hour 20"),
        ("DELETE FROM ping", "fault   hours: the hour 20"),
        ("DROP TABLE gap", "fault   tables: gap is not there"),
        ("DROP TABLE hour", "fault   tables: hour is not there"),
        ("DROP TABLE journal_entry", "fault   tables: journal_entry is not there"),
        ("DELETE FROM server WHERE name = 'two.example'", "fault   references: "),
        (
            "INSERT INTO journal_entry VALUES (999999, 77, 1)",
            "fault   journal: 1 entries are of rooms",
        ),
    ],
)
def test_each_damage_has_its_line_and_what_to_do(
    url: str, tmp_path: Path, damage: str, line: str
) -> None:
    with closing(sqlite3.connect(tmp_path / "pingboard.db")) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(damage)
        connection.commit()
    code, stdout, _ = run(url, "db", "check", folder=tmp_path)
    assert code == 1
    assert any(
        finding.startswith(line) and "restore the last backup" in finding
        for finding in stdout.splitlines()
    ), stdout


def test_whatever_bit_of_a_closed_hour_is_damaged_the_check_names_it(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/pingboard.db"
    (tmp_path / "raw").write_text(json.dumps(random_rows(1, 2000)))
    assert run(url, "import", "pingstat", "raw", folder=tmp_path)[0] == 0
    with closing(sqlite3.connect(tmp_path / "pingboard.db")) as connection:
        hours = connection.execute("SELECT room, hour, hot FROM hour").fetchall()
        for place, (room, hour, hot) in enumerate(hours):
            # The first bytes are the lengths and widths of columns, in each hour another one.
            damaged = bytearray(hot)
            damaged[place % len(hot)] ^= 1 << place % 8
            connection.execute(
                "UPDATE hour SET hot = ? WHERE room = ? AND hour = ?", (damaged, room, hour)
            )
        connection.commit()
    code, stdout, _ = run(url, "db", "check", folder=tmp_path)
    assert code == 1
    [line] = [line for line in stdout.splitlines() if line.startswith("fault   hours: ")]
    named = r"the hour 20\d\d-\d\d-\d\dT\d\d:00Z of !\S+ is damaged \(its checksum is wrong\)"
    assert len(re.findall(named, line)) == 5
    assert f" and {len(hours) - 5} more" in line
    assert "restore the last backup" in line
    code, stdout, _ = run(url, "doctor", folder=tmp_path)
    assert code == 1
    assert line in stdout.splitlines()


def test_a_copy_in_postgresql_has_everything_and_goes_on(
    url: str, postgresql_database: str, tmp_path: Path
) -> None:
    code, _, stderr = run(url, "db", "copy", postgresql_database, folder=tmp_path)
    assert code == 0, stderr
    assert "all were read back and are equal" in stderr
    source, target = open_engine(url), open_engine(postgresql_database)
    for table in metadata.tables:
        assert count(target, table) == count(source, table), table
    assert read_tables(postgresql_database, tmp_path) == read_tables(url, tmp_path)
    assert read_withdrawn(target) == read_withdrawn(source)
    code, stdout, _ = run(postgresql_database, "db", "check", folder=tmp_path)
    assert code == 0, stdout
    # What comes next gets row IDs of its own, and changes the closed hour.
    record(target, make_answers("three.example", [100], first=2))
    source.dispose()
    target.dispose()
    assert "three.example" in "".join(read_tables(postgresql_database, tmp_path))


def test_a_copy_whose_end_nobody_heard_of_is_found_whole_and_any_other_is_refused(
    url: str, postgresql_database: str, tmp_path: Path
) -> None:
    first = run(url, "db", "copy", postgresql_database, folder=tmp_path)
    assert first[0] == 0
    assert run(url, "db", "copy", postgresql_database, folder=tmp_path) == first
    target = open_engine(postgresql_database)
    record(target, make_answers("three.example", [100], first=2))
    target.dispose()
    code, _, stderr = run(url, "db", "copy", postgresql_database, folder=tmp_path)
    assert code == 2
    assert "the target has rooms already" in stderr


def test_a_source_that_is_not_there_is_one_line_and_stays_away(
    postgresql_database: str, tmp_path: Path
) -> None:
    source = f"sqlite:///{tmp_path}/none.db"
    code, _, stderr = run(source, "db", "copy", postgresql_database, folder=tmp_path)
    assert code == 2
    assert stderr.startswith("pingboard: PINGBOARD_DATABASE_URL: there is no database")
    assert len(stderr.splitlines()) == 1
    assert list(tmp_path.glob("none.db*")) == []


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", "the database has schema 9999"),
        (
            "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
            "PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END$$; "
            "CREATE TRIGGER cut BEFORE INSERT ON sample FOR EACH ROW EXECUTE FUNCTION cut()",
            "the database can't be used",
        ),
    ],
)
def test_what_is_wrong_with_the_target_is_said_of_the_target(
    url: str, postgresql_database: str, tmp_path: Path, damage: str, line: str
) -> None:
    assert run(postgresql_database, "db", "upgrade", folder=tmp_path)[0] == 0
    target = open_engine(postgresql_database)
    with target.begin() as connection:
        connection.execute(text(damage))
    code, _, stderr = run(url, "db", "copy", postgresql_database, folder=tmp_path)
    assert code == 1
    assert stderr.splitlines()[-1].startswith(f"pingboard: the target: {line}")
    assert count(target, "room") == 0
    target.dispose()


def test_a_copy_that_is_cut_off_leaves_nothing_and_can_be_repeated(
    url: str, postgresql_database: str, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "pingboard.db")) as connection:
        connection.execute("ALTER TABLE edition RENAME TO hidden")
        connection.commit()
    assert run(url, "db", "copy", postgresql_database, folder=tmp_path)[0] == 1
    target = open_engine(postgresql_database)
    assert count(target, "room") == 0
    target.dispose()
    with closing(sqlite3.connect(tmp_path / "pingboard.db")) as connection:
        connection.execute("ALTER TABLE hidden RENAME TO edition")
        connection.commit()
    code, _, stderr = run(url, "db", "copy", postgresql_database, folder=tmp_path)
    assert code == 0, stderr


def test_a_copy_that_differs_leaves_nothing(
    url: str, postgresql_database: str, tmp_path: Path
) -> None:
    assert run(postgresql_database, "db", "upgrade", folder=tmp_path)[0] == 0
    target = open_engine(postgresql_database)
    with target.begin() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION damage() RETURNS trigger LANGUAGE plpgsql AS "
                "$$BEGIN NEW.one_way_ms = NEW.one_way_ms + 1; RETURN NEW; END$$"
            )
        )
        connection.execute(
            text(
                "CREATE TRIGGER damage BEFORE INSERT ON sample "
                "FOR EACH ROW EXECUTE FUNCTION damage()"
            )
        )
    code, _, stderr = run(url, "db", "copy", postgresql_database, folder=tmp_path)
    assert code == 1
    assert "sample differs after the copy" in stderr
    assert count(target, "room") == 0
    target.dispose()


def test_the_drill_backup_loss_restore_gives_the_same_boards(url: str, tmp_path: Path) -> None:
    """As docs/operations.md has it, "Backups"."""
    before = read_tables(url, tmp_path)
    assert run(url, "db", "backup", "copy.db", folder=tmp_path)[0] == 0
    (tmp_path / "pingboard.db").write_bytes(b"not any more")
    assert run(url, "db", "check", folder=tmp_path)[0] == 1
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"pingboard.db{suffix}").unlink(missing_ok=True)
    (tmp_path / "copy.db").rename(tmp_path / "pingboard.db")
    assert run(url, "db", "check", folder=tmp_path)[0] == 0
    assert read_tables(url, tmp_path) == before


def test_the_drill_on_postgresql_gives_the_same_boards_and_goes_on(
    url: str, postgresql_database: str, tmp_path: Path
) -> None:
    """As docs/operations.md has it, "Backups"."""
    assert run(url, "db", "copy", postgresql_database, folder=tmp_path)[0] == 0
    before = read_tables(postgresql_database, tmp_path)
    dump = tmp_path / "pingboard.dump"
    engine = open_engine(postgresql_database)
    tools = find_tools(engine)
    subprocess.run(
        [tools / "pg_dump", "--format=custom", f"--file={dump}", postgresql_database], check=True
    )
    withdrawn = read_withdrawn(engine)
    record(engine, make_answers("three.example", [100], first=2))
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE sample, hour"))
    assert read_tables(postgresql_database, tmp_path) != before
    subprocess.run(
        [tools / "pg_restore", "--clean", "--if-exists", f"--dbname={postgresql_database}", dump],
        check=True,
    )
    assert run(postgresql_database, "db", "check", folder=tmp_path)[0] == 0
    assert read_tables(postgresql_database, tmp_path) == before
    assert read_withdrawn(engine) == withdrawn
    record(engine, make_answers("three.example", [100], first=2))
    engine.dispose()
    assert "three.example" in "".join(read_tables(postgresql_database, tmp_path))


def test_a_backup_of_no_database_is_one_line(tmp_path: Path) -> None:
    code, _, stderr = run(f"sqlite:///{tmp_path}/none.db", "db", "backup", "b.db", folder=tmp_path)
    assert code == 2
    assert stderr.startswith("pingboard: PINGBOARD_DATABASE_URL: there is no database")
    assert len(stderr.splitlines()) == 1
