"""Every sample in one bin, and bins that show something."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingboard.ranking.histogram import MAX_BINS, Histogram, count_bins

LATENCIES = st.lists(st.integers(0, 600_000), min_size=1, max_size=300)


def count(ms: list[int]) -> Histogram:
    found = count_bins(np.array(ms, np.int32))
    assert found is not None
    return found


@given(LATENCIES)
def test_each_bin_holds_what_lies_between_its_edges(ms: list[int]) -> None:
    bins = count(ms).bins
    assert [one.samples for one in bins] == [
        sum(one.low_ms <= each < one.high_ms for each in ms) for one in bins
    ]
    assert sum(one.samples for one in bins) == len(ms)


@given(LATENCIES)
def test_bins_follow_each_other_and_are_few(ms: list[int]) -> None:
    bins = count(ms).bins
    assert all(one.low_ms < one.high_ms for one in bins)
    assert [one.high_ms for one in bins[:-1]] == [one.low_ms for one in bins[1:]]
    assert len(bins) <= MAX_BINS + 2
    assert not any(one.is_rest for one in bins[1:-1])


def test_no_samples_have_no_histogram() -> None:
    assert count_bins(np.empty(0, np.int32)) is None


def test_equal_samples_share_one_bin() -> None:
    assert [one.samples for one in count([400] * 7).bins] == [7]


def test_what_varies_little_has_bins_of_one_round_width() -> None:
    found = count(list(range(380, 460)))
    assert not found.is_log
    assert {one.high_ms - one.low_ms for one in found.bins if not one.is_rest} == {2}


def test_what_varies_much_has_bins_that_widen() -> None:
    found = count([*range(100, 200), *range(1000, 2000, 10)])
    widths = [one.high_ms - one.low_ms for one in found.bins if not one.is_rest]
    assert found.is_log
    assert widths[-1] > 5 * widths[0]


def test_one_outlier_does_not_press_the_rest_into_one_bin() -> None:
    found = count([*range(380, 460), *range(380, 460), 599_000])
    assert not found.is_log
    assert found.bins[-1].is_rest
    assert found.bins[-1].high_ms == 599_001
    assert sum(one.samples > 0 for one in found.bins) > 20


@pytest.mark.parametrize("ms", [[0, 0, 1], [0, 600_000], [-5, 3, 900]])
def test_zero_and_less_have_a_bin_too(ms: list[int]) -> None:
    assert sum(one.samples for one in count(ms).bins) == len(ms)
