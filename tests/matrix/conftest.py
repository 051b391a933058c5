"""A database and a person for tests of the worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pingboard.lab import Lab
from pingboard.store.engine import migrate, open_engine
from tests.matrix.room_client import Member, new_member


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    engine = open_engine(f"sqlite:///{tmp_path}/pingboard.db")
    migrate(engine)
    yield engine
    engine.dispose()


@pytest.fixture
async def owner(lab: Lab, http: aiohttp.ClientSession) -> Member:
    """Makes rooms; sends pings and pongs of its own."""
    return await new_member(http, lab)
