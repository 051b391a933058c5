"""Narrow columns: every value as it was, in no more bytes than it takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingboard.columns.blocks import HOUR_MS, LOSS, SAMPLE, build
from pingboard.columns.narrow import Offsets, gather, join, narrow

NOON_TS = 1_790_000_000_000 // HOUR_MS * HOUR_MS

small, int32, int64 = (
    st.integers(low, high)
    for low, high in ((-2, 300), (-(2**31), 2**31 - 1), (-(2**62), 2**62 - 1))
)
values = st.one_of(*(st.lists(one, max_size=20) for one in (small, int32, int64)))
near = st.integers(-(2**40), 2**40).flatmap(
    lambda base: st.lists(st.integers(base, base + 2**33) | st.integers(base, base + 99))
)


@given(values, st.integers(-300, 2**33))
def test_a_narrow_column_has_the_same_values_and_is_a_copy(numbers: list[int], more: int) -> None:
    wide = np.array(numbers, np.int64)
    shifted = narrow(wide, more)
    assert shifted.tolist() == [number + more for number in numbers]
    assert narrow(shifted, -more).tolist() == numbers
    assert not np.shares_memory(narrow(shifted), shifted)


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
def test_it_takes_no_more_bytes_than_its_values(least: int, most: int, dtype: Any) -> None:
    column = narrow(np.array([most, least, most], np.int64))
    assert (column.dtype, column.tolist()) == (dtype, [most, least, most])


@given(st.lists(near, min_size=1, max_size=4))
def test_offsets_are_the_values_also_joined(parts: list[list[int]]) -> None:
    columns = [Offsets.of(np.array(one, np.int64)) for one in parts]
    assert [one.tolist() for one in columns] == parts
    assert [len(one) for one in columns] == [len(one) for one in parts]
    assert join(columns).tolist() == [number for one in parts for number in one]


@given(near, st.integers(-5, 105), st.integers(-5, 105))
def test_offsets_in_order_know_what_lies_between(numbers: list[int], low: int, high: int) -> None:
    numbers.sort()
    column = Offsets.of(np.array(numbers, np.int64))
    start, end = (min(numbers, default=0) + one for one in (low, high))
    inside = [number for number in numbers if start <= number < end]
    assert column[column.slice(start, max(start, end))].tolist() == inside
    assert column.is_within(start, end) == (inside == numbers)


def test_a_usual_sample_takes_few_bytes() -> None:
    rng = np.random.default_rng(1)
    rows = np.zeros(60_000, SAMPLE)
    rows["one_way_ms"] = rng.integers(10, 600_000, len(rows))
    rows["seen_ts"] = NOON_TS + np.arange(len(rows)) * 60 + rows["one_way_ms"]
    rows["ping_server"], rows["pong_server"] = rng.integers(0, 65_536, (2, len(rows)))
    columns: list[Any] = [*build(rows, np.empty(0, LOSS)).claims]
    assert sum(getattr(one, "low", one).nbytes for one in columns) <= 14 * len(rows)


@given(st.lists(st.integers(0, 40_000), max_size=8))
def test_gathered_parts_are_the_same_columns_and_few(lengths: list[int]) -> None:
    parts = [(narrow(np.arange(length)), np.arange(length, dtype=np.int32)) for length in lengths]
    gathered = list(gather(parts))
    for number in range(2):
        joined = [value for one in gathered for value in one[number].tolist()]
        assert joined == [value for length in lengths for value in range(length)]
    assert len(gathered) <= sum(lengths) // 2**15 + 1
