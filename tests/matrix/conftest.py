"""A database, a person and a proxy for tests of the worker."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from pingboard.lab import Lab
from pingboard.store.engine import Engine
from tests.databases import open_migrated_file
from tests.matrix.room_client import Member


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_migrated_file(tmp_path / "pingboard.db")
    yield engine
    engine.dispose()


@pytest.fixture
async def owner(lab: Lab, http: aiohttp.ClientSession) -> Member:
    """Makes rooms on hs1; sends pings and pongs of its own."""
    return Member(http, await lab.register(lab.homeservers[0], f"owner-{uuid.uuid4().hex[:8]}"))
