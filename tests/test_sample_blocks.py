"""Narrow columns: every value as it was, in no more bytes than it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingboard.sample_blocks import HOUR_MS, Losses, Offsets, cut, join, narrow
from tests.blocks import SAMPLE, build_block

NOON_TS = 1_790_000_000_000 // HOUR_MS * HOUR_MS

small, int32, int64 = (
    st.integers(low, high)
    for low, high in ((-2, 300), (-(2**31), 2**31 - 1), (-(2**62), 2**62 - 1))
)
values = st.one_of(*(st.lists(number, max_size=20) for number in (small, int32, int64)))
near = st.integers(-(2**40), 2**40).flatmap(
    lambda base: st.lists(st.integers(base, base + 2**33) | st.integers(base, base + 99))
)


@given(values)
def test_a_narrow_column_has_the_same_values_and_is_a_copy(numbers: list[int]) -> None:
    wide = np.array(numbers, np.int64)
    column = narrow(wide)
    assert column.tolist() == numbers
    assert not np.shares_memory(column, wide)


@pytest.mark.parametrize(
    ("least", "most", "dtype"),
    [
        (0, 255, np.uint8),
        (0, 256, np.uint16),
        (0, 65_535, np.uint16),
        (0, 65_536, np.int32),
        (-1, 0, np.int32),
        (-(2**31), 2**31 - 1, np.int32),
        (0, 2**31, np.int64),
        (-(2**31) - 1, 0, np.int64),
    ],
)
def test_a_narrow_column_takes_no_more_bytes_than_its_values(
    least: int, most: int, dtype: Any
) -> None:
    column = narrow(np.array([most, least, most], np.int64))
    assert (column.dtype, column.tolist()) == (dtype, [most, least, most])


def make_losses(numbers: list[int]) -> Losses:
    times = Offsets.of(np.array(numbers, np.int64))
    return Losses(times, narrow(np.arange(len(numbers))))


@given(st.lists(near, min_size=1, max_size=4))
def test_offsets_are_the_values_also_joined(parts: list[list[int]]) -> None:
    rows = [make_losses(part) for part in parts]
    assert [part.seen_ts.tolist() for part in rows] == parts
    assert join(rows).seen_ts.tolist() == [number for part in parts for number in part]


@given(near, st.integers(-5, 105), st.integers(-5, 105))
def test_rows_in_order_are_cut_to_a_window(numbers: list[int], low: int, high: int) -> None:
    numbers.sort()
    start, end = (min(numbers, default=0) + bound for bound in (low, high))
    rows = cut(make_losses(numbers), start, max(start, end))
    assert rows.seen_ts.tolist() == [ts for ts in numbers if start <= ts < end]
    assert len(rows.pong_server) == len(rows.seen_ts)


def test_a_usual_sample_takes_few_bytes_in_memory() -> None:
    rng = np.random.default_rng(1)
    rows = np.zeros(60_000, SAMPLE)
    rows["one_way_ms"] = rng.integers(10, 600_000, len(rows))
    rows["seen_ts"] = NOON_TS + np.arange(len(rows)) * 60 + rows["one_way_ms"]
    rows["ping_server"], rows["pong_server"] = rng.integers(0, 65_536, (2, len(rows)))
    columns: list[Any] = [*build_block(rows).claims]
    assert sum(getattr(column, "low", column).nbytes for column in columns) <= 14 * len(rows)
