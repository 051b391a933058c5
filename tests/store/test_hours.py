"""Open and closed hours, on SQLite and on PostgreSQL: nobody can tell one from the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from pingboard.model import Batch, Sample
from pingboard.sample_blocks import HOUR_MS
from pingboard.store import schema
from pingboard.store.engine import Engine, read_snapshot
from pingboard.store.hours import (
    close_hours,
    count_samples,
    find_last_pong,
    iterate_hours,
    prepare_closing,
    store_closing,
)
from pingboard.store.ingest import Ingest
from tests.databases import count_rows
from tests.samples import ROOM, START_TS, make_ping, make_pong, make_sample

NOW_TS = START_TS + 10 * HOUR_MS
SILENT = (make_ping(5000, vantage="main"), ["silent.example"])


def record(engine: Engine, samples: Sequence[Sample], **parts: Any) -> None:
    Ingest(engine, "test").record(Batch(samples=samples, **parts))


def make_samples() -> list[Sample]:
    """A pong to each of 31 pings in eight hours, half of the pings ours."""
    return [
        make_sample(number, round_trip_ms=None if number % 2 else number)
        for number in range(1, 30_000, 997)
    ]


def make_late() -> Sample:
    ping = make_ping(5000, "three.example", event_id="$late")
    return replace(make_sample(), ping=ping, pong=make_pong(ping))


def read(engine: Engine) -> Any:
    """All that boards get, how much there is of it, and when the last pong was."""
    with read_snapshot(engine) as connection:
        blocks = dict(iterate_hours(connection, 1, START_TS // HOUR_MS - 1, NOW_TS // HOUR_MS + 1))
        listed = {
            hour: [
                [column.tolist() for column in rows]
                for rows in (block.claims, block.answers, block.losses)
            ]
            for hour, block in blocks.items()
        }
        return listed, count_samples(connection), find_last_pong(connection, 1)


def test_past_hours_are_closed_once_and_read_the_same(engine: Engine) -> None:
    record(engine, make_samples(), expected=[SILENT])
    before = read(engine)
    assert close_hours(engine, NOW_TS) == 9
    assert (count_rows(engine, schema.sample), count_rows(engine, schema.unanswered)) == (0, 0)
    assert count_rows(engine, schema.hour) == 9
    assert read(engine) == before
    assert close_hours(engine, NOW_TS) == 0


def test_an_hour_is_closed_ten_minutes_after_its_end(engine: Engine) -> None:
    record(engine, [make_sample(1)])
    last_moment = (START_TS // HOUR_MS + 1) * HOUR_MS + 599_999
    assert close_hours(engine, last_moment) == 0
    assert close_hours(engine, last_moment + 1) == 1


@pytest.mark.parametrize(
    ("batch", "samples"),
    [
        (Batch(samples=[make_late()]), 32),
        (Batch(expected=[(make_sample(998).ping, ["four.example"])]), 31),
        (Batch(voided=[SILENT[0]]), 31),
    ],
    ids=["late pong", "expected", "void"],
)
def test_a_closed_hour_that_changes_is_opened_and_closed_again(
    engine: Engine, batch: Batch, samples: int
) -> None:
    record(engine, make_samples(), expected=[SILENT])
    ingest = Ingest(engine, "test")
    close_hours(engine, NOW_TS)
    before = read(engine)
    ingest.record(batch)
    opened = read(engine)
    assert opened != before
    assert opened[1] == {1: samples}
    assert count_rows(engine, schema.hour) == 8
    assert close_hours(engine, NOW_TS) == 1
    assert read(engine) == opened


def test_an_hour_that_changes_while_it_is_packed_is_packed_again(engine: Engine) -> None:
    record(engine, [make_sample(number) for number in (1, 5000, 9000)])
    closing = prepare_closing(engine, NOW_TS)
    record(engine, [make_late()])
    after = read(engine)
    assert len(closing.hours) == 3
    assert store_closing(engine, closing) == 2
    assert read(engine) == after
    assert close_hours(engine, NOW_TS) == 1
    assert read(engine) == after


def test_hours_are_closed_once_where_the_answer_to_the_commit_was_lost(engine: Engine) -> None:
    record(engine, [make_sample(number) for number in (1, 5000, 9000)])
    closing = prepare_closing(engine, NOW_TS)
    assert store_closing(engine, closing) == 3
    after = read(engine)
    store_closing(engine, closing)
    assert read(engine) == after


def test_a_redacted_pong_leaves_its_closed_hour_closed(engine: Engine) -> None:
    record(engine, make_samples(), expected=[SILENT])
    close_hours(engine, NOW_TS)
    before = read(engine)
    ingest = Ingest(engine, "test")
    ingest.record(Batch(redacted=[(ROOM, make_sample(1).pong.event_id)]))
    after = read(engine)
    assert after != before
    assert after[1] == {1: 30}
    assert count_rows(engine, schema.hour) == 9
    ingest.record(Batch(samples=[make_sample(1)]))
    assert read(engine) == after


def test_an_hour_that_lost_all_it_had_is_gone(engine: Engine) -> None:
    sample = make_sample(1)
    record(engine, [sample])
    close_hours(engine, NOW_TS)
    Ingest(engine, "test").record(Batch(redacted=[(ROOM, sample.pong.event_id)]))
    assert read(engine) == ({}, {}, None)
    assert close_hours(engine, NOW_TS) == 0


def test_a_snapshot_stays_as_it_was_while_a_write_commits(engine: Engine) -> None:
    record(engine, [make_sample(1)])
    with read_snapshot(engine) as connection:
        before = list(dict(iterate_hours(connection, 1, 0, NOW_TS // HOUR_MS)))
        record(engine, [make_sample(3000)])
        assert list(dict(iterate_hours(connection, 1, 0, NOW_TS // HOUR_MS))) == before
