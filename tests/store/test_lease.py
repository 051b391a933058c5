"""One worker at a time writes to a database, also after a kill."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from pingboard.model import LeaseError
from pingboard.store.engine import open_engine
from pingboard.store.lease import take_lease

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


def test_the_lease_of_a_killed_worker_is_free(
    database_url: str, holder: subprocess.Popen[str]
) -> None:
    end(holder, signal.SIGKILL)
    engine = open_engine(database_url)
    lease = take_lease(engine)
    assert lease.is_held()
    lease.release()
    engine.dispose()


def test_a_lease_that_was_given_back_can_be_taken_again(database_url: str) -> None:
    engine = open_engine(database_url)
    take_lease(engine).release()
    second = take_lease(engine)
    assert second.is_held()
    second.release()
    engine.dispose()


def test_a_lease_outlives_a_lost_connection_to_postgresql(postgresql_database: str) -> None:
    from sqlalchemy import text

    engine = open_engine(postgresql_database)
    lease = take_lease(engine)
    others = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    with engine.connect() as connection:
        assert connection.execute(others).scalar_one() == 1
    assert lease.is_held()
    with pytest.raises(LeaseError):
        take_lease(engine)
    lease.release()
    engine.dispose()
