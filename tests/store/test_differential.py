"""The store against a plain model of events, through random operations; long as `make soak`."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.databases import PostgreSQL, open_migrated_file
from tests.differential.run import find_difference
from tests.differential.world import Plan

STEPS = 60

NewDatabase = Callable[[], str]


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> NewDatabase:
    """Makes migrated databases and returns their URLs."""
    if request.param == "postgresql":
        databases: PostgreSQL = request.getfixturevalue("postgresql")
        return databases.create_migrated

    def create() -> str:
        file = tmp_path / f"{secrets.token_hex(4)}.db"
        open_migrated_file(file).dispose()
        return f"sqlite:///{file}"

    return create


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_every_answer_is_that_of_the_plain_model(
    new_database: NewDatabase, seed: int
) -> None:
    assert_no_difference(seed, new_database)


def test_with_new_seeds_every_answer_is_that_of_the_plain_model(new_database: NewDatabase) -> None:
    for _ in range(2):
        assert_no_difference(secrets.randbelow(10**9), new_database)


def assert_no_difference(seed: int, new_database: NewDatabase) -> None:
    difference = find_difference([*Plan(seed, STEPS).steps()], new_database())
    repeat = f"make soak ARGS='--first {seed} --seeds 1 --steps {STEPS}' finds the least that does"
    assert difference is None, f"seed {seed}: {difference}\n{repeat}"
