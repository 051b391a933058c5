"""The site that most tests ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pingboard.store.engine import Engine
from tests.web.site import EXAMPLE_SAMPLES, open_store, record, serve


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A site with `EXAMPLE_SAMPLES` in its one room; nobody writes to it."""
    engine = open_store(tmp_path_factory.mktemp("site"))
    record(engine, EXAMPLE_SAMPLES)
    with serve(engine) as client:
        yield client
    engine.dispose()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Engine]:
    """A database of the test's own, with a room without pongs."""
    engine = open_store(tmp_path)
    yield engine
    engine.dispose()
