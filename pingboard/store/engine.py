"""Opens the database, SQLite or PostgreSQL, and brings its tables up to date."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError

from pingboard.model import ConfigurationError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Alembic is imported where tables are changed: what only reads starts without it.

__all__ = ["Connection", "Engine", "is_current", "migrate", "open_engine", "read_snapshot"]

BUSY_TIMEOUT_S = 60
"""How long a write waits for another process's lock before it fails; a backup takes seconds."""

CHECKPOINT_PAGES = 4000
"""Of the WAL, after which it is copied into the database and the disk waited for. A thousand is
usual; four halve what that costs each commit, are 16 MB, and just fit in one table of its index."""

_RESTORE = (
    "; put the last copy that `pingboard db backup` made in its place, and remove the -wal and "
    "-shm files beside it"
)
_WRITABLE = "; its folder has to exist and be writable, on a disk that is not mounted read-only"
_LASTING = {
    "readonly": _WRITABLE,
    "unable to open": _WRITABLE,
    "malformed": _RESTORE,
    "not a database": _RESTORE,
    "no such table": "",
}
"""What does not pass by itself, by a part of what the driver says, and what helps."""

_EXAMPLE = "for example PINGBOARD_DATABASE_URL=sqlite:///pingboard.db"


class PassingStoreError(StoreError):
    """The database can't be used for now; trying again may help."""


def open_engine(url: str, *, read_only: bool = False) -> Engine:
    """An engine for a `sqlite:///FILE` or `postgresql://...` URL; opens no connection yet.

    `read_only` refuses writes in the database itself: on SQLite only the worker may write
    (versions before 3.51.3 can corrupt a WAL database when two connections checkpoint at once).
    Raises ConfigurationError for a URL that is neither.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError(f"PINGBOARD_DATABASE_URL is not a URL; {_EXAMPLE}") from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _open_sqlite(parsed.database, read_only=read_only)
    if backend == "postgresql":
        options = {"options": "-c default_transaction_read_only=on"} if read_only else {}
        return create_engine(parsed, connect_args=options, pool_pre_ping=True)
    raise ConfigurationError(
        f"PINGBOARD_DATABASE_URL names {backend!r}, which is neither sqlite nor postgresql; "
        f"{_EXAMPLE}"
    )


def _open_sqlite(database: str | None, *, read_only: bool) -> Engine:
    if database is None or database == ":memory:":
        raise ConfigurationError(
            f"PINGBOARD_DATABASE_URL names no file, and every sample has to be kept; {_EXAMPLE}"
        )
    path = Path(database).absolute()

    mode = "ro" if read_only else "rwc"
    engine = create_engine(
        f"sqlite:///{path.as_uri()}?mode={mode}&uri=true",
        # isolation_level None: transactions are begun below, not by the driver's own guess.
        connect_args={"timeout": BUSY_TIMEOUT_S, "isolation_level": None},
    )

    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        if not read_only:
            # In WAL mode NORMAL loses at most the last commits in a power cut, never consistency;
            # what it loses is asked for again, because the sync token goes with it.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")

    def begin(connection: Connection) -> None:
        # IMMEDIATE, because a transaction that reads and then writes may otherwise fail at once,
        # without waiting, when another one wrote in between.
        only_reads = read_only or connection.get_execution_options().get("only_reads", False)
        connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")

    event.listen(engine, "connect", set_up)
    event.listen(engine, "begin", begin)
    return engine


@contextmanager
def read_snapshot(engine: Engine) -> Iterator[Connection]:
    """A connection whose reads all see the same moment; nobody waits for it.

    As any transaction of SQLite does, once it does not ask for the right to write.
    """
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection.execution_options(only_reads=True)


def migrate(engine: Engine) -> None:
    """Bring the tables to this version's schema, in one transaction; nothing to do is fine.

    Raises StoreError for a database that can't be opened or is newer than this pingboard.
    """
    with explained(), engine.begin() as connection:
        current = _read_schema(connection)
        known = _known_schemas()
        if current == known[-1]:
            return
        if current is not None and current not in known:
            raise StoreError(
                f"the database has schema {current}, newer than this pingboard knows; "
                "upgrade pingboard, or restore the backup made before the upgrade"
            )
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(_migrations()))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def back_up(engine: Engine, target: Path) -> None:
    """Copy a SQLite database to a new file, whole and consistent, also while it is written to.

    Raises ConfigurationError for a file that is there already, or for PostgreSQL, which has its
    own tool for this.
    """
    if engine.dialect.name != "sqlite":
        raise ConfigurationError(
            "PINGBOARD_DATABASE_URL is PostgreSQL; back it up with pg_dump, "
            "for example pg_dump --format=custom --file=pingboard.dump URL"
        )
    if target.exists():
        raise ConfigurationError(f"{target} is there already; name a new file")
    # The driver's own connection: VACUUM takes a transaction of its own, and refuses ours.
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as error:
        raise StoreError(
            f"PINGBOARD_DATABASE_URL: it can't be copied to {target}: {error}"
        ) from None
    finally:
        connection.close()


def is_current(engine: Engine) -> bool:
    """Whether the tables are those of this version; False also for an absent SQLite file."""
    if engine.dialect.name == "sqlite" and not _sqlite_exists(engine):
        return False
    with explained(), engine.connect() as connection:
        return _read_schema(connection) == _known_schemas()[-1]


def _read_schema(connection: Connection) -> str | None:
    """The migration that the tables are at; None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _known_schemas() -> list[str]:
    """The migrations there are, the oldest first: each file's name begins with its own."""
    return sorted(path.name[:4] for path in (_migrations() / "versions").glob("[0-9]*.py"))


def _sqlite_exists(engine: Engine) -> bool:
    try:
        engine.connect().close()
    except OperationalError:
        return False
    return True


@contextmanager
def explained() -> Iterator[None]:
    """Turn what a driver raises into StoreError, and what may pass into PassingStoreError.

    A database that is locked, full, restarting or out of reach may be well in a moment; one that
    is damaged, read-only or of another schema is not.
    """
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:  # the driver's own, where it is asked directly
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        passing = isinstance(error, OperationalError | InterfaceError | sqlite3.OperationalError)
        passing |= getattr(error, "connection_invalidated", False)
        remedy = next((what for word, what in _LASTING.items() if word in reason), None)
        kind = PassingStoreError if passing and remedy is None else StoreError
        text = f"PINGBOARD_DATABASE_URL: the database can't be used: {reason}{remedy or ''}"
        raise kind(text) from error


def _migrations() -> Path:
    """They lie beside the package in a checkout, and inside it once installed."""
    package = Path(__file__).parents[1]
    inside, beside = package / "alembic", package.parent / "alembic"
    return inside if inside.is_dir() else beside
