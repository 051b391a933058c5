"""One worker at a time writes to a database.

The lock is the operating system's (SQLite) or the database's (PostgreSQL): it ends with the
process that holds it, whatever ended it. On PostgreSQL another worker can stand by for it. How the
two are never active at once:

1. The active one confirms its lease every `CONFIRM_PAUSE_S`, on the connection that holds the lock.
2. Unconfirmed for `MAX_UNCONFIRMED_S`, it does not ping; where another one has the lock, it ends.
3. A holder that has not confirmed for `MAX_SILENCE_S`, by the database's clock, is hung or its host
   is gone: the standby ends that connection, and so its lock. The active one does so at once with
   a connection of its own that it has lost, and that the server still keeps.
4. Whoever takes the lease first ends all connections that wrote under an earlier one. A connection
   writes only after it has made itself known for that, and has found the lease still ours.
5. Whoever took over waits `SETTLE_S` before it begins: longer than the other one still pings.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import ProgrammingError

from pingboard.model import LeaseError, StoreError
from pingboard.store.engine import (
    WRITABLE,
    PassingStoreError,
    find_file,
    find_sqlstate,
    make_private,
)

ADVISORY_LOCK = 0x70696E67626F6172
"""`pingboar` in ASCII: the key of the advisory lock, the same for every pingboard."""

WRITER_LOCK = 0x70696E6777726974
"""`pingwrit` in ASCII: the key that every connection of the active worker shares."""

CONFIRM_PAUSE_S = 2.0
MAX_UNCONFIRMED_S = 8.0
MAX_SILENCE_S = 20.0
SETTLE_S = 10.0

_INSUFFICIENT_PRIVILEGE = "42501"

_OTHER_ROLE = (
    "another pingboard worker writes to this PostgreSQL database, and this one's role {}; give "
    "both workers the same role, or grant this one pg_read_all_stats and pg_signal_backend"
)

_NOT_ENDED = (
    "PINGBOARD_DATABASE_URL: the database can't be written to: earlier connections to it have not "
    "ended yet"
)

_HOLDERS = text("""
    SELECT pid, extract(epoch FROM backend_start)::float,
        extract(epoch FROM clock_timestamp() - state_change)::float
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND (classid::bigint << 32) + objid::bigint = :key AND datname = current_database()
      AND pid <> pg_backend_pid()
""")

_OWN_BACKEND = text("""
    SELECT pid, extract(epoch FROM backend_start)::float
    FROM pg_stat_activity WHERE pid = pg_backend_pid()
""")


class _Backend(NamedTuple):
    """A connection as the server has it; a later one may have the same process ID."""

    pid: int
    began_s: float | None


class _Holder(NamedTuple):
    """A connection that holds a lock. PostgreSQL hides all but `pid` from a role without rights."""

    pid: int
    began_s: float | None
    silence_s: float | None

    @property
    def backend(self) -> _Backend:
        return _Backend(self.pid, self.began_s)


class Lease(Protocol):
    """The right to write; `release` gives it back."""

    def confirm(self) -> None:
        """Ask whether it is still ours; LeaseError where another worker has it.

        A database that is away is no answer: the lease stays as it was, and becomes unconfirmed.
        """

    def is_confirmed(self) -> bool:
        """Whether no other worker can be active now."""

    def release(self) -> None:
        """Let another worker have it."""


def take_lease(engine: Engine) -> Lease:
    """Take the right to write to this database; LeaseError where another worker has it."""
    if engine.dialect.name == "sqlite":
        return _FileLease(find_file(engine))
    return _AdvisoryLease(engine)


def find_holder(engine: Engine) -> str | None:
    """Return who has the right to write, None where nobody has; takes nothing."""
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            holder = _find_holder(connection)
        return f"connection {holder.pid}" if holder is not None else None
    return _find_file_holder(_lock_file(find_file(engine)))


def _lock_file(database: Path) -> Path:
    return database.with_name(f"{database.name}.lock")


def _find_file_holder(path: Path) -> str | None:
    try:
        with path.open() as file:
            try:
                # Shared, and for a moment: two who look do not see each other.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return f"process {file.read().strip() or 'unknown'}"
    except OSError:  # no file: nobody ever wrote
        return None
    return None


@contextmanager
def hold_lease(engine: Engine) -> Iterator[None]:
    """Hold the right to write in a block that has no event loop to confirm it from."""
    lease = take_lease(engine)
    ended = threading.Event()

    def confirm() -> None:
        with suppress(StoreError):  # the next write says it too
            while not ended.wait(CONFIRM_PAUSE_S):
                lease.confirm()

    thread = threading.Thread(target=confirm, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        lease.release()


class _FileLease:
    """An flock on a file beside the database. The file stays: removing it would be a race."""

    def __init__(self, database: Path) -> None:
        path = _lock_file(database)
        try:
            path.touch()
            # Unbuffered: to close it must not write again what there was no room for.
            self._file = path.open("r+b", buffering=0)
            make_private(database)
            try:
                self._take(database)
            except (OSError, LeaseError):
                self._file.close()
                raise
        except OSError as error:
            raise _explain_file(path, error) from error

    def _take(self, database: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._file.read().decode(errors="replace").strip() or "unknown"
            raise LeaseError(
                f"another pingboard worker (process {holder}) writes to {database}; stop it, or "
                f"give this one a database of its own, for example "
                f"PINGBOARD_DATABASE_URL=sqlite:///{database.stem}-2.db"
            ) from None
        # In this order: to write over what is there takes no room on a disk that is full.
        self._file.write(f"{os.getpid()}\n".encode())
        self._file.truncate()

    def confirm(self) -> None:
        """Do nothing: as long as this process lives, nobody can take the lock."""

    def is_confirmed(self) -> bool:
        return True

    def release(self) -> None:
        self._file.close()


def _explain_file(path: Path, error: OSError) -> StoreError:
    text = f"PINGBOARD_DATABASE_URL: {path} can't be written: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return PassingStoreError(text)
    return StoreError(f"{text}{WRITABLE}")


class _AdvisoryLease:
    """A session-level advisory lock, on a connection kept for it alone."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._confirmed_s = _now_s()
        self._backend: _Backend | None = None
        """the connection that had the lease last"""
        self._tried: set[_Backend] = set()
        """our connections that may have the lock: the server may keep those that we have lost"""
        self._connection: Connection | None = self._lock()
        event.listen(engine, "begin", self._fence)

    def confirm(self) -> None:
        asked_s = _now_s()
        if self._connection is not None:
            try:
                _require_primary(self._connection)
            except StoreError:
                # The database restarts, or was demoted, or somebody ended our connection, and the
                # lock with it.
                self._let_go()
        if self._connection is None:
            try:
                self._connection = self._lock()
            except PassingStoreError:
                return
        self._confirmed_s = asked_s

    def is_confirmed(self) -> bool:
        return _now_s() - self._confirmed_s < MAX_UNCONFIRMED_S

    def release(self) -> None:
        event.remove(self._engine, "begin", self._fence)
        if self._connection is not None:
            with suppress(StoreError):  # then it is gone already
                self._connection.execute(text("SELECT pg_advisory_unlock_all()"))
            self._let_go()

    def _let_go(self) -> None:
        # Not back into the pool: the lock lives as long as the connection.
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _lock(self) -> Connection:
        connection = self._engine.connect().execution_options(
            isolation_level="AUTOCOMMIT", holds_lease=True
        )
        try:
            _require_primary(connection)
            backend = _Backend(*connection.execute(_OWN_BACKEND).one())
            self._tried.add(backend)
            if not _try_lock(connection):
                self._end_holder(connection)
                if not _try_lock(connection):
                    raise LeaseError("another pingboard worker writes to this PostgreSQL database")
            _end_writers(connection)
        except StoreError:
            connection.invalidate()
            connection.close()
            raise
        self._backend, self._tried = backend, {backend}
        return connection

    def _end_holder(self, connection: Connection) -> None:
        """End a holder that has not confirmed for too long, or that was ours; wait for its end."""
        holder = _find_holder(connection)
        if holder is None:
            return
        if holder.backend in self._tried:
            _end_backend(connection, holder.pid)
            left = _find_holder(connection)
            if left is not None and left.backend in self._tried:
                raise PassingStoreError(_NOT_ENDED)
        elif holder.silence_s is None:
            raise LeaseError(_OTHER_ROLE.format("can't see whether that one hangs"))
        elif holder.silence_s > MAX_SILENCE_S:
            _end_backend(connection, holder.pid)

    def _fence(self, connection: Connection) -> None:
        """Refuse a transaction on a new connection unless the lease is ours."""
        options = connection.get_execution_options()
        if "holds_lease" in options or "only_reads" in options or "lease" in connection.info:
            return
        # In this order: who takes the lease between the two finds this connection, and ends it.
        connection.execute(text("SELECT pg_advisory_lock_shared(:key)"), {"key": WRITER_LOCK})
        holder = _find_holder(connection)
        if holder is None or holder.backend != self._backend:
            raise PassingStoreError("the right to write to this database has to be taken again")
        connection.info["lease"] = self


def _require_primary(connection: Connection) -> None:
    """Raise PassingStoreError on a standby: to lock there locks nobody out of the primary."""
    if connection.execute(text("SELECT pg_is_in_recovery()")).scalar_one():
        raise PassingStoreError(
            "PINGBOARD_DATABASE_URL: the database can't be written to: its server is a standby"
        )


def _try_lock(connection: Connection) -> bool:
    took = text("SELECT pg_try_advisory_lock(:key)")
    return bool(connection.execute(took, {"key": ADVISORY_LOCK}).scalar_one())


def _find_holder(connection: Connection) -> _Holder | None:
    """Return the other connection that holds the lease."""
    return next(iter(_find_holders(connection, ADVISORY_LOCK)), None)


def _find_holders(connection: Connection, key: int) -> list[_Holder]:
    """Return the other connections that hold a lock."""
    return [_Holder(*row) for row in connection.execute(_HOLDERS, {"key": key})]


def _end_writers(connection: Connection) -> None:
    """End the connections that wrote under an earlier lease; PassingStoreError while there is any.

    A connection that comes meanwhile writes nothing: it finds the lease taken.
    """
    writers = _find_holders(connection, WRITER_LOCK)
    for writer in writers:
        _end_backend(connection, writer.pid)
    left = {writer.pid for writer in _find_holders(connection, WRITER_LOCK)}
    if any(writer.pid in left for writer in writers):
        raise PassingStoreError(_NOT_ENDED)


def _end_backend(connection: Connection, pid: int) -> None:
    end = text("SELECT pg_terminate_backend(:pid, 5000)")
    try:
        connection.execute(end, {"pid": pid})
    except ProgrammingError as error:
        if find_sqlstate(error) != _INSUFFICIENT_PRIVILEGE:
            raise
        raise LeaseError(_OTHER_ROLE.format("may not end that one's connections")) from error


def _now_s() -> float:
    """Return seconds that go on while the machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
