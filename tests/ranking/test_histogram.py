"""Every sample in one bin, and bins that show something."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingboard.ranking.histogram import MAX_BINS, Histogram, count_bins

LATENCIES = st.lists(st.integers(0, 600_000), min_size=1, max_size=300)


def count(ms: list[int]) -> Histogram:
    histogram = count_bins(np.array(ms, np.int32))
    assert histogram is not None
    return histogram


@given(LATENCIES)
def test_each_bin_holds_what_lies_between_its_edges(ms: list[int]) -> None:
    bins = count(ms).bins
    assert [column.samples for column in bins] == [
        sum(column.low_ms <= each < column.high_ms for each in ms) for column in bins
    ]
    assert sum(column.samples for column in bins) == len(ms)


@given(LATENCIES)
def test_bins_follow_each_other_and_are_few(ms: list[int]) -> None:
    bins = count(ms).bins
    assert all(column.low_ms < column.high_ms for column in bins)
    assert [column.high_ms for column in bins[:-1]] == [column.low_ms for column in bins[1:]]
    assert len(bins) <= MAX_BINS + 2
    assert not any(column.is_rest for column in bins[1:-1])


def test_no_samples_have_no_histogram() -> None:
    assert count_bins(np.empty(0, np.int32)) is None


def test_equal_samples_share_one_bin() -> None:
    assert [column.samples for column in count([400] * 7).bins] == [7]


def test_what_varies_little_has_bins_of_one_round_width() -> None:
    histogram = count(list(range(380, 460)))
    assert not histogram.is_log
    assert {column.high_ms - column.low_ms for column in histogram.bins if not column.is_rest} == {
        2
    }


def test_what_varies_much_has_bins_that_widen() -> None:
    histogram = count([*range(100, 200), *range(1000, 2000, 10)])
    widths = [column.high_ms - column.low_ms for column in histogram.bins if not column.is_rest]
    assert histogram.is_log
    assert widths[-1] > 5 * widths[0]


def test_one_outlier_does_not_press_the_rest_into_one_bin() -> None:
    histogram = count([*range(380, 460), *range(380, 460), 599_000])
    assert not histogram.is_log
    assert histogram.bins[-1].is_rest
    assert histogram.bins[-1].high_ms == 599_001
    assert sum(column.samples > 0 for column in histogram.bins) > 20


@pytest.mark.parametrize("ms", [[0, 0, 1], [0, 600_000], [-5, 3, 900]])
def test_latencies_of_zero_and_below_have_a_bin_too(ms: list[int]) -> None:
    assert sum(column.samples for column in count(ms).bins) == len(ms)
