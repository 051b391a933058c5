"""One worker at a time writes to a database.

The lock is the operating system's (SQLite) or the database's (PostgreSQL): it ends with the
process that holds it, whatever ended it, and no clock is asked.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from pingboard.model import LeaseError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

ADVISORY_LOCK = 0x70696E67626F6172
"""`pingboar` in ASCII: the key of the advisory lock, the same for every pingboard."""


class Lease(Protocol):
    """The right to write; `release` gives it back."""

    def is_held(self) -> bool:
        """Whether it is still ours: a database server that restarts takes it away."""

    def release(self) -> None:
        """Let another worker have it."""


def take_lease(engine: Engine) -> Lease:
    """The right to write to this database; LeaseError where another worker has it."""
    if engine.dialect.name == "sqlite":
        return _FileLease(Path(str(engine.url.database).removeprefix("file://")))
    return _AdvisoryLease(engine)


class _FileLease:
    """An flock on a file beside the database. The file stays: removing it would be a race."""

    def __init__(self, database: Path) -> None:
        path = database.with_name(f"{database.name}.lock")
        self._file = path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise LeaseError(
                f"another pingboard worker (process {holder}) writes to {database}; stop it, or "
                f"give this one a database of its own, for example "
                f"PINGBOARD_DATABASE_URL=sqlite:///{database.stem}-2.db"
            ) from None
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def is_held(self) -> bool:
        return True

    def release(self) -> None:
        self._file.close()


class _AdvisoryLease:
    """A session-level advisory lock, on a connection kept for it alone."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection = self._lock()

    def is_held(self) -> bool:
        try:
            self._connection.execute(text("SELECT 1"))
        except DBAPIError:
            return self._lock_again()
        return True

    def release(self) -> None:
        # Not back into the pool: the lock lives as long as the connection.
        self._connection.invalidate()
        self._connection.close()

    def _lock_again(self) -> bool:
        """After a restart of the database. While it is away nobody writes, so we still may."""
        try:
            self._connection = self._lock()
        except DBAPIError:
            return True
        except LeaseError:
            return False
        return True

    def _lock(self) -> Connection:
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        took = text("SELECT pg_try_advisory_lock(:key)")
        if not connection.execute(took, {"key": ADVISORY_LOCK}).scalar_one():
            connection.close()
            raise LeaseError("another pingboard worker writes to this PostgreSQL database")
        return connection
