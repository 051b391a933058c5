"""Hours in memory, in step with the journal, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete

from pingboard import sample_cache
from pingboard.model import Batch, BoardName, Window, from_ts
from pingboard.ranking.boards import select_samples
from pingboard.sample_cache import SampleCache
from pingboard.store.engine import Engine
from pingboard.store.hours import close_hours, iterate_hours
from pingboard.store.ingest import Ingest
from pingboard.store.journal import find_version
from pingboard.store.rooms import read_lineage
from pingboard.store.schema import journal_entry, sample
from tests.samples import ROOM, START_TS, make_sample

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pingboard.sample_blocks import Block

HOUR_S, HOUR_MS = 3_600, 3_600_000


def record(engine: Engine, numbers: Sequence[int]) -> None:
    Ingest(engine, "test").record(Batch([], [make_sample(number) for number in numbers]))


def count(cache: SampleCache, engine: Engine, first_hour: int, after: int) -> int:
    """How many samples were seen from one hour after the start until another."""
    window = Window(from_ts(START_TS + first_hour * HOUR_MS), from_ts(START_TS + after * HOUR_MS))
    with cache.open(read_lineage(engine, ROOM), window.start_ts, window.end_ts) as snapshot:
        selections = [*select_samples(snapshot.blocks, BoardName.DELIVERY, window)]
    return sum(len(selection.ms) for selection in selections)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many hours each read of the store was of."""
    lengths: list[int] = []

    def read_and_note(
        connection: Connection, room_row: int, first: int, after: int
    ) -> Iterator[tuple[int, Block]]:
        lengths.append(after - first)
        return iterate_hours(connection, room_row, first, after)

    monkeypatch.setattr(sample_cache, "iterate_hours", read_and_note)
    return lengths


def test_an_hour_that_the_journal_names_is_read_again_and_no_other(
    engine: Engine, reads: list[int]
) -> None:
    record(engine, [1, 10 * HOUR_S])
    cache = SampleCache(engine)
    assert count(cache, engine, 0, 24) == 2
    record(engine, [5 * HOUR_S, 5 * HOUR_S + 1])
    assert count(cache, engine, 0, 24) == 4
    assert count(cache, engine, 0, 24) == 4
    assert reads[1:] == [1]


def test_several_caches_follow_one_journal(engine: Engine) -> None:
    caches = [SampleCache(engine), SampleCache(engine)]
    for number in range(1, 4):
        record(engine, [number])
        assert [count(cache, engine, 0, 1) for cache in caches] == [number, number]


def test_closing_an_hour_changes_nothing(engine: Engine) -> None:
    record(engine, [1, 2, HOUR_S])
    cache = SampleCache(engine)
    before = count(cache, engine, 0, 24)
    close_hours(engine, START_TS + 48 * HOUR_MS)
    assert count(cache, engine, 0, 24) == count(SampleCache(engine), engine, 0, 24) == before == 3


def test_a_window_of_32_days_is_whole_when_it_is_asked_again_later(engine: Engine) -> None:
    record(engine, [hour * HOUR_S for hour in range(1, 40)])
    cache = SampleCache(engine)
    days = 32
    assert count(cache, engine, 0, days * 24) == 39
    # Newer pings came for more than an hour.
    record(engine, [(days * 24 + hour) * HOUR_S for hour in range(3)])
    assert count(cache, engine, 0, days * 24) == 39
    assert count(cache, engine, 0, 40 * 24) == 42


def test_a_window_longer_than_what_is_kept_is_read_each_time(
    engine: Engine, reads: list[int]
) -> None:
    record(engine, [1, 100 * 24 * HOUR_S, 300 * 24 * HOUR_S])
    cache = SampleCache(engine)
    for _ in range(2):
        assert count(cache, engine, 0, 365 * 24) == 3
    assert len(reads) == 2  # nothing of it is kept


def test_hours_beyond_the_limit_make_room_for_others(
    engine: Engine, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_cache, "MAX_HOURS", 30)
    record(engine, [1, 100 * HOUR_S])
    cache = SampleCache(engine)
    for first, after in ((0, 40), (0, 40), (100, 110), (0, 40)):
        count(cache, engine, first, after)
    whole, other, again = reads
    assert whole > 30  # a window has all that it needs, however much that is
    assert other < 30
    assert 0 < again < whole


def test_what_no_window_needs_for_an_hour_is_forgotten(
    engine: Engine, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr("pingboard.sample_cache.time.monotonic", lambda: now_s)
    record(engine, [1, 50 * HOUR_S])
    cache = SampleCache(engine)
    count(cache, engine, 0, 10)
    now_s += timedelta(hours=2).total_seconds()
    count(cache, engine, 50, 60)
    count(cache, engine, 0, 10)
    assert len(reads) == 3
    assert reads[0] == reads[2]


def test_a_database_that_goes_back_to_an_earlier_state_is_read_again(engine: Engine) -> None:
    record(engine, [1])
    restored = find_version(engine)
    cache = SampleCache(engine)
    record(engine, [2, 3])
    assert count(cache, engine, 0, 1) == 3
    with engine.begin() as connection:  # as a restore from a backup leaves it
        connection.execute(delete(sample).where(sample.c.version > restored))
        connection.execute(delete(journal_entry).where(journal_entry.c.version > restored))
    assert count(cache, engine, 0, 1) == 1
