"""Databases for tests: migrated once in a run and then copied, which takes a moment."""

from __future__ import annotations

import functools
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Table, create_engine, func, make_url, select, text

from pingboard.store.engine import Engine, migrate, open_engine


def open_migrated_file(path: Path) -> Engine:
    """A new SQLite database with all tables, to be written to."""
    path.write_bytes(_migrated_file())
    return open_engine(f"sqlite:///{path}")


def count_rows(engine: Engine, table: Table) -> int:
    with engine.connect() as connection:
        return connection.scalars(select(func.count()).select_from(table)).one()


@functools.cache
def _migrated_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "template.db"
        engine = open_engine(f"sqlite:///{file}")
        migrate(engine)
        engine.dispose()
        return file.read_bytes()


class PostgreSQL:
    """Makes databases on one server; `close` it before the server ends."""

    def __init__(self, server_url: str) -> None:
        self._url = make_url(server_url).set(drivername="postgresql")
        driver = self._url.set(drivername="postgresql+psycopg")
        self._admin = create_engine(driver, isolation_level="AUTOCOMMIT")
        # It ends with the tests: nothing of it has to outlive a crash of the machine.
        with self._admin.connect() as connection:
            for setting in ("fsync", "full_page_writes"):
                connection.execute(text(f"ALTER SYSTEM SET {setting} = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
        self._template = ""

    def create(self) -> str:
        """The URL of a new database without tables."""
        return self._create("template1")

    def create_migrated(self) -> str:
        """The URL of a new database with all tables."""
        if not self._template:
            url = self.create()
            engine = open_engine(url)
            migrate(engine)
            engine.dispose()
            self._template = make_url(url).database or ""
        return self._create(self._template)

    @contextmanager
    def refusing_connections(self, url: str) -> Iterator[None]:
        """Let nobody connect to a database, and end who is, as while its server restarts."""
        name = make_url(url).database
        allow = f"ALTER DATABASE {name} ALLOW_CONNECTIONS"
        end = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
        with self._admin.connect() as connection:
            connection.execute(text(f"{allow} false"))
            connection.execute(end, {"name": name})
            try:
                yield
            finally:
                connection.execute(text(f"{allow} true"))

    @contextmanager
    def hanging(self, url: str) -> Iterator[None]:
        """Stop the server, and who is connected to a database: they take what is sent, and say
        nothing."""
        name = make_url(url).database
        backends = text("SELECT pid FROM pg_stat_activity WHERE datname = :name")
        with self._admin.connect() as connection:
            folder = connection.execute(text("SHOW data_directory")).scalar_one()
            pids = [*connection.execute(backends, {"name": name}).scalars()]
        pids.append(int(Path(folder, "postmaster.pid").read_text().split()[0]))
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """Let go of the server."""
        self._admin.dispose()

    def _create(self, template: str) -> str:
        name = f"test_{uuid4().hex}"
        with self._admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        return self._url.set(database=name).render_as_string(hide_password=False)
