"""Raw samples in pages and streams, on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pingboard.model import Batch, Window, from_ts, hash_event_id
from pingboard.store import samples
from pingboard.store.engine import Engine
from pingboard.store.ingest import Ingest
from pingboard.store.rooms import read_lineage
from pingboard.store.samples import SampleFilter, StoredSample, find_page_end, stream
from tests.samples import ROOM, START_TS, make_sample

WINDOW = Window(from_ts(START_TS), from_ts(START_TS) + timedelta(hours=1))


def select_all(engine: Engine) -> SampleFilter:
    rows = [
        make_sample(ping, pong_server=f"bot{bot}.example")
        for ping in range(1, 5)
        for bot in range(5)
    ]
    Ingest(engine, "test").record(Batch([], rows))
    return SampleFilter(read_lineage(engine, ROOM), WINDOW)


def read(
    engine: Engine, sample_filter: SampleFilter, **keys: samples.SampleKey
) -> list[StoredSample]:
    chunks = stream(engine, sample_filter, keys.get("after"), keys.get("last"))
    return [sample for chunk in chunks for sample in chunk]


@pytest.mark.parametrize("rows", [1, 3, 19, 20, 21])
def test_chunks_of_any_size_give_the_same_rows_in_order(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    sample_filter = select_all(engine)
    whole = read(engine, sample_filter)
    monkeypatch.setattr(samples, "CHUNK_ROWS", rows)
    assert all(len(chunk) <= rows for chunk in stream(engine, sample_filter))
    assert read(engine, sample_filter) == whole
    assert [sample.key for sample in whole] == sorted(sample.key for sample in whole)
    assert len(whole) == 20


@pytest.mark.parametrize(("limit", "full"), [(1, 20), (7, 2), (19, 1), (20, 1), (21, 0)])
def test_pages_meet_without_overlap(engine: Engine, limit: int, full: int) -> None:
    sample_filter = select_all(engine)
    whole, pages, after = read(engine, sample_filter), [], None
    while True:
        last, has_more = find_page_end(engine, sample_filter, after, limit)
        pages.append(read(engine, sample_filter, **_keys(after, last)))
        if not has_more:
            break
        after = last
    assert [sample for page in pages for sample in page] == whole
    assert [len(page) for page in pages[:full]] == [limit] * full


def _keys(
    after: samples.SampleKey | None, last: samples.SampleKey | None
) -> dict[str, samples.SampleKey]:
    return {name: key for name, key in (("after", after), ("last", last)) if key is not None}


def test_a_row_is_complete(engine: Engine) -> None:
    Ingest(engine, "test").record(Batch([], [make_sample(1, round_trip_ms=230)]))
    (row,) = read(engine, SampleFilter(read_lineage(engine, ROOM), WINDOW))
    sample = make_sample(1, round_trip_ms=230)
    event_hash = hash_event_id(sample.pong.event_id)
    assert row[1:] == (sample.ping, "two.example", 100, 230, *[START_TS + 1100] * 2, 0, event_hash)


def test_an_empty_room_streams_nothing(engine: Engine) -> None:
    nothing = SampleFilter([], WINDOW)
    assert read(engine, nothing) == []
    assert find_page_end(engine, nothing, None, 5) == (None, False)
