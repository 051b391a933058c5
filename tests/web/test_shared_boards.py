"""How soon a change is noticed, and how rarely it is looked for; by a clock that the test moves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest

from pingboard.boards import Boards
from pingboard.model import StoreError
from pingboard.store.engine import Engine
from pingboard.web.shared_boards import Freshness
from tests.samples import make_sample
from tests.web.site import record

NOW = datetime(2026, 5, 29, tzinfo=UTC)


class Asked:
    """Boards that count how often they are asked for their version."""

    version_is_cheap = True

    def __init__(self, boards: Boards) -> None:
        self._boards = boards
        self.times = 0

    def version(self) -> int:
        self.times += 1
        return self._boards.version()


class Clock:
    """A monotonic clock that stands still."""

    def __init__(self) -> None:
        self.now_s = time.monotonic()

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("pingboard.web.shared_boards.time.monotonic", clock)
    return clock


@pytest.fixture
def boards(store: Engine) -> Iterator[Boards]:
    with closing(Boards(store)) as boards:
        yield boards


async def test_many_requests_share_the_asking(boards: Boards, clock: Clock) -> None:
    asked = Asked(boards)
    freshness = Freshness(asked, lambda: NOW)  # type: ignore[arg-type]
    first = await freshness()
    for _ in range(3000):  # in 90 ms
        clock.now_s += 0.00003
        assert await freshness() == first
    assert asked.times < 110


async def test_a_change_is_noticed_within_a_millisecond(
    store: Engine, boards: Boards, clock: Clock
) -> None:
    freshness = Freshness(boards, lambda: NOW)
    for _ in range(100):
        before = await freshness()
        clock.now_s += 0.0005
    record(store, [make_sample(1)])
    clock.now_s += 0.001001  # of a float that counts days, the last digits are lost
    assert await freshness() != before


async def test_a_database_that_is_away_is_logged_once_and_again_when_it_is_back(
    boards: Boards, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = Asked(boards)
    freshness = Freshness(asked, lambda: NOW)  # type: ignore[arg-type]
    versions = asked.version

    def fail() -> int:
        raise StoreError("gone")

    for ask in (versions, fail, fail, fail, versions, versions):
        asked.version = ask  # type: ignore[method-assign]
        clock.now_s += 1
        await freshness()
    assert capsys.readouterr().out.count("the database") == 2
