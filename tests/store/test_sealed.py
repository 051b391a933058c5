"""Packed hours, on SQLite and on PostgreSQL: always what the rows say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select

from pingboard.columns.blocks import EMPTY, HOUR_MS, Answers, Block, Claims, Losses, sort
from pingboard.columns.narrow import Offsets, narrow
from pingboard.model import Batch
from pingboard.store import columns, sealed, tables
from pingboard.store.engine import Engine, read_snapshot
from pingboard.store.ingest import Ingest
from tests.samples import START_TS, make_ping, make_pong, make_sample

small = st.integers(0, 300)
any_i4 = st.integers(-(2**31), 2**31 - 1) | small | st.integers(0, 2**16)
usual = {
    "seen_ts": st.integers(0, 2**43) | st.integers(START_TS, START_TS + 300),
    "offset_x2_ms": st.integers(-(2**63), 2**63 - 1) | small,
}
OFFSETS = ("ping", "seen_ts")


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    def rows(kind: Any) -> Any:
        length = draw(st.integers(0, 6))
        columns = []
        for name in kind._fields:
            drawn = draw(st.lists(usual.get(name, any_i4), min_size=length, max_size=length))
            values = np.array(drawn, np.int64)
            columns.append(Offsets.of(values) if name in OFFSETS else narrow(values))
        return sort(kind(*columns))

    return Block(rows(Claims), rows(Answers), rows(Losses))


def listed(block: Block) -> list[list[list[Any]]]:
    return [[column.tolist() for column in rows] for rows in block]


def widths(block: Block) -> list[int]:
    """The bytes of a value in each column."""
    columns_: list[Any] = [column for rows in block for column in rows]
    return [getattr(column, "low", column).itemsize for column in columns_]


@given(blocks())
def test_what_was_packed_comes_out_the_same(block: Block) -> None:
    unpacked = sealed.unpack(sealed.pack(block))
    assert listed(unpacked) == listed(block)
    for width, before in zip(widths(unpacked), widths(block), strict=True):
        assert width <= max(before, 4)


def test_a_usual_sample_takes_few_bytes() -> None:
    n = 6000
    rng = np.random.default_rng(1)
    claims = EMPTY.claims._replace(
        ping=Offsets.of(np.arange(n) // 88 + 1_000_000),
        seen_ts=Offsets.of(START_TS + np.arange(n) * 600),
        ping_server=rng.integers(1, 200, n).astype(np.int32),
        pong_server=rng.integers(1, 101, n).astype(np.int32),
        ms=rng.integers(10, 60_000, n).astype(np.int32),
    )
    assert len(sealed.pack(EMPTY._replace(claims=claims))) <= 7 * n + 500


NOW_TS = START_TS + 10 * HOUR_MS


def read_both(engine: Engine) -> tuple[list[Any], list[Any]]:
    """All blocks, packed where they can be, and from rows alone."""
    first, after = START_TS // HOUR_MS - 1, NOW_TS // HOUR_MS + 5
    with engine.connect() as connection:
        mixed = sealed.read_hours(connection, 1, first, after)
        plain = columns.read_hours(connection, 1, first, after)
    filled = {
        hour: listed(block) for hour, block in mixed.items() if listed(block) != listed(EMPTY)
    }
    return sorted(filled.items()), sorted((hour, listed(one)) for (_, hour), one in plain.items())


def count_sealed(engine: Engine, *, stale: bool) -> int:
    with engine.connect() as connection:
        wanted = select(tables.sealed.c.hour).where(tables.sealed.c.is_stale.is_(stale))
        return len(connection.execute(wanted).all())


def test_past_hours_are_sealed_once_and_read_the_same(engine: Engine) -> None:
    samples = [make_sample(number, round_trip_ms=50) for number in range(1, 30_000, 997)]
    Ingest(engine, "test").record(Batch([], samples))
    hours = sealed.seal(engine, NOW_TS)
    assert hours == 9
    assert sealed.seal(engine, NOW_TS) == 0
    mixed, plain = read_both(engine)
    assert mixed == plain
    assert len(plain) > 5


def test_the_hour_that_can_still_change_is_left_open(engine: Engine) -> None:
    Ingest(engine, "test").record(Batch([], [make_sample(1)]))
    last_moment = (START_TS // HOUR_MS + 1) * HOUR_MS + 599_999
    assert sealed.seal(engine, last_moment) == 0
    assert sealed.seal(engine, last_moment + 1) == 1


def test_a_late_pong_and_a_redaction_make_their_hour_stale_until_it_is_sealed_anew(
    engine: Engine,
) -> None:
    ingest = Ingest(engine, "test")
    ingest.record(Batch([], [make_sample(number) for number in (1, 5000, 9000)]))
    sealed.seal(engine, NOW_TS)
    late = make_ping(5000, "three.example", event_id="$late")
    ingest.record(Batch([], [replace(make_sample(), ping=late, pong=make_pong(late))]))
    mixed, plain = read_both(engine)
    assert mixed == plain
    sealed.mark(engine)
    assert count_sealed(engine, stale=True) == 1
    with engine.begin() as connection:
        first = select(tables.ping.c.id).where(tables.ping.c.event == "$ping1").scalar_subquery()
        connection.execute(delete(tables.sample).where(tables.sample.c.ping == first))
    for is_sealed in (False, True):
        mixed, plain = read_both(engine)
        assert mixed == plain
        assert len(plain) == 2
        sealed.mark(engine)
        assert count_sealed(engine, stale=True) == (0 if is_sealed else 2)
        assert sealed.seal(engine, NOW_TS) == (0 if is_sealed else 2)


def test_an_hour_that_changes_while_it_is_packed_is_packed_again(engine: Engine) -> None:
    ingest = Ingest(engine, "test")
    ingest.record(Batch([], [make_sample(number) for number in (1, 5000, 9000)]))
    sealed.mark(engine)
    prepared = sealed.prepare(engine, NOW_TS)
    late = make_ping(5000, "three.example", event_id="$late")
    ingest.record(Batch([], [replace(make_sample(), ping=late, pong=make_pong(late))]))
    assert len(prepared.hours) == 3
    assert sealed.keep(engine, prepared) == 2
    mixed, plain = read_both(engine)
    assert mixed == plain
    assert sealed.seal(engine, NOW_TS) == 1


def test_packing_only_reads_so_that_writing_goes_on(engine: Engine) -> None:
    ingest = Ingest(engine, "test")
    ingest.record(Batch([], [make_sample(1)]))
    with read_snapshot(engine) as connection:
        before = sealed.read_hours(connection, 1, 0, NOW_TS // HOUR_MS)
        ingest.record(Batch([], [make_sample(2)]))
        after = sealed.read_hours(connection, 1, 0, NOW_TS // HOUR_MS)
    assert [listed(block) for block in before.values()] == [
        listed(block) for block in after.values()
    ]
