"""Opens the database, SQLite or PostgreSQL, and brings its tables up to date."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    ExceptionContext,
    PoolProxiedConnection,
    QueuePool,
    create_engine,
    event,
    inspect,
    text,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from pingboard.model import ConfigurationError, StoreError

# Alembic is imported where tables are changed, and psycopg for a PostgreSQL URL: what reads SQLite
# starts without them, in half the time.

BUSY_TIMEOUT_S = 60
"""How long a write waits for another process's lock before it fails; a backup takes seconds."""

MAX_POOL_WAIT_S = 30
"""How long a thread waits for a connection while others have all of them."""

CHECKPOINT_PAGES = 4000
"""Of the WAL, after which it is copied into the database and the disk waited for. A thousand is
usual; four halve what that costs each commit, are 16 MB, and just fit in one table of its index."""

_RESTORE = (
    "; put the last copy that `pingboard db backup` made in its place, and remove the -wal and "
    "-shm files beside it"
)
WRITABLE = (
    "; its folder has to exist, and the user of this process has to be able to write to the file "
    "and the folder, on a disk that is not mounted read-only"
)
_LASTING = {
    "readonly": WRITABLE,
    "unable to open": WRITABLE,
    "malformed": _RESTORE,
    "not a database": _RESTORE,
    "no such table": "",
}
"""What does not pass by itself, by a part of what the driver says, and what helps."""

_PRIVATE = 0o600
"""Of a file: its owner reads and writes it, nobody else."""

MIGRATION_LOCK = 0x70696E676D696772
"""`pingmigr` in ASCII: the key of the advisory lock under which tables are changed."""

MIGRATION_WAIT_S = 60
"""How long that lock, or one that a query holds on a table, is waited for."""

_READ_ONLY_TRANSACTION = "25006"

_EXAMPLE = "for example PINGBOARD_DATABASE_URL=sqlite:///pingboard.db"


class PassingStoreError(StoreError):
    """The database can't be used for now; trying again may help."""


class _Pool(QueuePool):
    """Connections; where all are in use for too long, that is an error that passes."""

    def connect(self) -> PoolProxiedConnection:
        try:
            return super().connect()
        except PoolTimeoutError as error:
            raise PassingStoreError(
                "PINGBOARD_DATABASE_URL: the database can't be used: all connections are in use"
            ) from error


def open_engine(url: str, *, read_only: bool = False, max_wait_s: float | None = None) -> Engine:
    """Return an engine for `sqlite:///FILE` or `postgresql://...`; opens no connection yet.

    `read_only` refuses writes in the database itself: on SQLite only the worker may write
    (versions before 3.51.3 can corrupt a WAL database when two connections checkpoint at once).
    `max_wait_s` is how long a PostgreSQL server may take for a connection or for an answer;
    whoever serves people has a better use of its threads than to wait for one that hangs.
    Raises ConfigurationError for a URL that is neither. What a driver says later of a database
    that is away or damaged comes as PassingStoreError or StoreError, from reads too.
    """
    scheme, separator, rest = url.partition("://")
    kind = scheme.partition("+")[0]
    options = {"poolclass": _Pool, "pool_timeout": max_wait_s or MAX_POOL_WAIT_S}
    if not separator:
        raise ConfigurationError(f"PINGBOARD_DATABASE_URL is not a URL; {_EXAMPLE}")
    if kind == "sqlite":
        engine = _open_sqlite(rest, read_only=read_only, **options)
    elif kind in ("postgresql", "postgres"):
        from pingboard.store import postgresql

        engine = postgresql.open_engine(rest, read_only=read_only, max_wait_s=max_wait_s, **options)
    else:
        raise ConfigurationError(
            f"PINGBOARD_DATABASE_URL names {kind!r}, which is neither sqlite nor postgresql; "
            f"{_EXAMPLE}"
        )
    event.listen(engine, "handle_error", _translate_error)
    if not read_only:
        event.listen(engine, "handle_error", _reconnect_where_read_only)
    return engine


def _open_sqlite(rest: str, *, read_only: bool, **options: Any) -> Engine:
    """Open the file that is named behind `sqlite:///`, whatever characters its path has."""
    if rest in ("", "/", "/:memory:") or not rest.startswith("/") or "\0" in rest:
        raise ConfigurationError(
            f"PINGBOARD_DATABASE_URL names no file, and every sample has to be kept; {_EXAMPLE}"
        )
    path = Path(rest[1:]).absolute()
    if rest.endswith("/") or _is_something_else(path):
        raise ConfigurationError(
            f"PINGBOARD_DATABASE_URL: {rest[1:]} names a folder or a device, not a file; {_EXAMPLE}"
        )
    query = {"mode": "ro" if read_only else "rwc", "uri": "true"}
    engine = create_engine(
        # Not as text: what SQLAlchemy reads from text it unquotes, and cuts at a question mark.
        URL.create("sqlite", database=path.as_uri(), query=query),
        # isolation_level None: transactions are begun below, not by the driver's own guess.
        connect_args={"timeout": BUSY_TIMEOUT_S, "isolation_level": None},
        **options,
    )

    def keep_private(*_: object) -> None:
        if read_only:
            close_to_others(path)
        else:
            make_private(path)

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

    event.listen(engine, "do_connect", keep_private)
    event.listen(engine, "connect", set_up)
    event.listen(engine, "begin", begin)
    return engine


def _is_something_else(path: Path) -> bool:
    """Whether there is a thing of this name that can't be a database."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:  # it isn't there; what is wrong with its folder SQLite says better
        return False


def find_file(engine: Engine) -> Path:
    """Return the file of a SQLite engine."""
    path = str(engine.url.database).removeprefix("file://")
    return Path(unquote(path, errors="surrogateescape"))  # as os.fsdecode has what is no UTF-8


def make_private(path: Path) -> None:
    """Make a database file that only its owner can read, where there is none; or close it."""
    # Never open one that is there: closing it again would drop all locks of this process on it
    # (POSIX), and another process would then delete the log that this one still writes to.
    with suppress(OSError):  # what is wrong with the folder SQLite says better
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _PRIVATE))
    close_to_others(path)


def close_to_others(path: Path) -> None:
    """Let only their owner read a database's files: they may hold a login's token.

    What belongs to another user stays as it is.
    """
    for suffix in ("", "-wal", "-shm", "-journal", ".lock"):
        file = path.with_name(path.name + suffix)
        with suppress(OSError):
            mode = file.stat().st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                file.chmod(_PRIVATE)


def _translate_error(context: ExceptionContext) -> StoreError | None:
    """Return what a driver's error means, or None where it is a mistake of ours.

    A ping of the pool must stay the driver's own: it decides whether to connect again.
    """
    error = context.sqlalchemy_exception or context.original_exception
    if context.is_pre_ping or isinstance(error, IntegrityError):
        return None
    reason = _first_line(error)
    is_away = isinstance(error, OperationalError | InterfaceError) or context.is_disconnect
    is_away |= isinstance(context.original_exception, sqlite3.OperationalError)
    if not is_away and not any(word in reason for word in _LASTING):
        return None
    return _explain(error)


def _reconnect_where_read_only(context: ExceptionContext) -> StoreError | None:
    """Let a write be repeated, on a new connection, where PostgreSQL is read-only for now.

    So is a primary that was demoted, or a managed server whose disk is full. An old connection
    still leads to the demoted one, and may stay read-only for as long as it lives.
    """
    error = context.sqlalchemy_exception
    if not isinstance(error, DBAPIError) or find_sqlstate(error) != _READ_ONLY_TRANSACTION:
        return None
    context.is_disconnect = True
    return PassingStoreError(
        f"PINGBOARD_DATABASE_URL: the database can't be written to: {_first_line(error)}"
    )


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

    Raises StoreError for a database that can't be opened, or that is of another make: of another
    program, or of a pingboard with other tables.
    """
    with explained(), engine.begin() as connection:
        _wait_for_turn(connection)
        current = _read_schema(connection)
        known = _known_schemas()
        if current == known[-1]:
            return
        if current is not None and current not in known:
            raise StoreError(
                f"PINGBOARD_DATABASE_URL: the database has schema {current}, which another version "
                f"of pingboard made (this one has {known[-1]}); use that version, or a new database"
            )
        if current is None and set(inspect(connection).get_table_names()) - {"alembic_version"}:
            raise StoreError(
                "PINGBOARD_DATABASE_URL: the database has tables of another program; "
                "give pingboard a database of its own"
            )
        _require_writable(connection)
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(_migrations()))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _require_writable(connection: Connection) -> None:
    """Raise StoreError where role or server are set to only read; a standby may be waited for."""
    if connection.dialect.name == "postgresql" and connection.scalar(
        text("SELECT current_setting('transaction_read_only')::bool AND NOT pg_is_in_recovery()")
    ):
        raise StoreError(
            "PINGBOARD_DATABASE_URL: the tables have to be changed, and this role or its server "
            "can only read; run `pingboard db upgrade` with a role that can write"
        )


def _wait_for_turn(connection: Connection) -> None:
    """Let one process at a time change tables: on PostgreSQL others wait here, for a while.

    SQLite's transaction has the right to write from its beginning.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{MIGRATION_WAIT_S}s'"))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))


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
    if not find_file(engine).exists():
        raise ConfigurationError(
            f"PINGBOARD_DATABASE_URL: there is no database {find_file(engine)} to copy"
        )
    if os.path.lexists(target):
        raise ConfigurationError(f"{target} is there already; name a new file")
    # Whole or not there: a copy that was interrupted must not look like the newest one.
    part = target.with_name(f"{target.name}.part")
    try:
        _remove(part)
        # VACUUM takes an empty file for a new one, and this one only its owner can read.
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _PRIVATE))
    except OSError as error:
        raise ConfigurationError(f"{target} can't be written: {error.strerror}") from None
    try:
        # The driver's own connection: VACUUM takes a transaction of its own, and refuses ours.
        with closing(engine.raw_connection()) as connection:
            # As bytes: a name that is no UTF-8 is none that Python would give as text.
            connection.cursor().execute("VACUUM INTO CAST(? AS TEXT)", (os.fsencode(part),))
        with part.open("rb") as file:
            os.fsync(file)  # which VACUUM INTO leaves to us
        part.rename(target)
    except (sqlite3.Error, StoreError, OSError) as error:
        raise StoreError(
            f"PINGBOARD_DATABASE_URL: it can't be copied to {target}: {error}"
        ) from None
    finally:
        _remove(part)


def _remove(path: Path) -> None:
    for suffix in ("", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Description:
    """What a database is, for people."""

    text: str
    sqlite_version: tuple[int, ...] | None
    """None on PostgreSQL"""


def describe_database(engine: Engine) -> Description:
    """Return make, version, schema and size of a database that is there."""
    schema = _known_schemas()[-1]
    if engine.dialect.name == "sqlite":
        path = find_file(engine)
        wal = path.with_name(f"{path.name}-wal")
        size = path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)
        make, version = f"SQLite {sqlite3.sqlite_version}", sqlite3.sqlite_version_info
    else:
        with engine.connect() as connection:
            size = connection.execute(
                text("SELECT pg_database_size(current_database())")
            ).scalar_one()
            server = connection.execute(text("SHOW server_version")).scalar_one()
        make, version = f"PostgreSQL {server.split()[0]}", None
    return Description(f"{make}, schema {schema}, {size / 1e6:,.1f} MB", version)


def is_current(engine: Engine) -> bool:
    """Whether the tables are those of this version; False also for an absent SQLite file."""
    if engine.dialect.name == "sqlite" and not find_file(engine).exists():
        return False
    with explained(), engine.connect() as connection:
        return _read_schema(connection) == _known_schemas()[-1]


def _read_schema(connection: Connection) -> str | None:
    """The migration that the tables are at; None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    schema: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return schema


def _known_schemas() -> list[str]:
    """The migrations there are, the oldest first: each file's name begins with its own."""
    return sorted(path.name[:4] for path in (_migrations() / "versions").glob("[0-9]*.py"))


@contextmanager
def explained() -> Iterator[None]:
    """Turn what a driver raises into StoreError, and what may pass into PassingStoreError."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:  # the driver's own, where it is asked directly
        raise _explain(error) from error


def _explain(error: BaseException) -> StoreError:
    """Return a driver's error as ours.

    A database that is locked, full, restarting or out of reach may be well in a moment; one that
    is damaged, read-only or of another schema is not.
    """
    passing = isinstance(error, OperationalError | InterfaceError | sqlite3.OperationalError)
    passing |= getattr(error, "connection_invalidated", False)
    reason = _first_line(error)
    remedy = next((what for word, what in _LASTING.items() if word in reason), None)
    kind = PassingStoreError if passing and remedy is None else StoreError
    return kind(f"PINGBOARD_DATABASE_URL: the database can't be used: {reason}{remedy or ''}")


def find_sqlstate(error: DBAPIError) -> str | None:
    """Return PostgreSQL's code of an error; None on SQLite, and where the server said nothing."""
    return getattr(error.orig, "sqlstate", None)


def _first_line(error: BaseException) -> str:
    lines = str(getattr(error, "orig", error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _migrations() -> Path:
    """They lie beside the package in a checkout, and inside it once installed."""
    package = Path(__file__).parents[1]
    inside, beside = package / "alembic", package.parent / "alembic"
    return inside if inside.is_dir() else beside
