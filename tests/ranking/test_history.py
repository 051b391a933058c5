"""Buckets against the method in plain Python."""

from __future__ import annotations

import statistics
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingboard.model import WINDOWS, Window
from pingboard.ranking.history import (
    AUTOMATIC_BUCKETS,
    STEPS,
    Bucket,
    choose_step,
    count_buckets,
    cut,
)

START = datetime(2026, 10, 5, 0, 30, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(hours=5))
HOUR = timedelta(hours=1)

timestamps = st.integers(WINDOW.start_ts, WINDOW.end_ts - 1)
rows = st.lists(st.tuples(timestamps, st.integers(-10, 600_000)), max_size=60)


def cut_rows(
    rows: list[tuple[int, int]], answered: list[int], lost: list[int], window: Window = WINDOW
) -> list[Bucket]:
    return cut(
        window,
        HOUR,
        np.array([ts for ts, _ in rows], np.int64),
        np.array([ms for _, ms in rows], np.int32),
        np.array(answered, np.int64),
        np.array(lost, np.int64),
    )


@given(rows, st.lists(timestamps), st.lists(timestamps))
def test_a_bucket_holds_what_happened_in_its_hour(
    rows: list[tuple[int, int]], answered: list[int], lost: list[int]
) -> None:
    buckets = cut_rows(rows, answered, lost)
    assert len(buckets) == 6
    for bucket in buckets:
        hour = range(bucket.start_ts, bucket.start_ts + 3_600_000)
        inside = [ms for ts, ms in rows if ts in hour]
        assert bucket.samples == len(inside)
        assert (bucket.band is None) == (not inside)
        if bucket.band is not None:
            assert bucket.band.median_ms == statistics.median(inside)
            assert list(bucket.band) == sorted(bucket.band)
            assert min(inside) <= bucket.band.p5_ms <= bucket.band.p95_ms <= max(inside)
        assert bucket.lost == sum(ts in hour for ts in lost)
        assert bucket.sent == bucket.lost + sum(ts in hour for ts in answered)
    assert sum(bucket.samples for bucket in buckets) == len(rows)


def test_percentiles_lie_linearly_between_ranks() -> None:
    ts = WINDOW.start_ts
    (first, *_) = cut_rows([(ts, ms) for ms in (100, 200, 300, 400, 500)], [], [])
    assert first.band == (120, 200, 300, 400, 480)


def test_buckets_begin_at_whole_steps_and_touch_each_other() -> None:
    starts = [bucket.start_ts for bucket in cut_rows([], [], [])]
    assert all(start % 3_600_000 == 0 for start in starts)
    assert set(np.diff(starts)) == {3_600_000}
    assert starts[0] <= WINDOW.start_ts < starts[1]
    assert starts[-1] < WINDOW.end_ts <= starts[-1] + 3_600_000


def test_a_window_of_whole_steps_has_no_extra_bucket() -> None:
    whole = Window(START.replace(minute=0), START.replace(minute=0) + 5 * HOUR)
    assert len(cut_rows([], [], [], whole)) == 5


@pytest.mark.parametrize(
    ("window", "step"),
    [("1h", "1m"), ("6h", "1m"), ("24h", "5m"), ("7d", "1h"), ("30d", "6h"), ("365d", "1d")],
)
def test_the_chosen_step_suits_a_chart(window: str, step: str) -> None:
    assert choose_step(Window.named(window, START)) == step


@pytest.mark.parametrize("name", WINDOWS)
def test_the_chosen_step_is_never_too_fine(name: str) -> None:
    window = Window.named(name, START)
    assert count_buckets(window, STEPS[choose_step(window)]) <= AUTOMATIC_BUCKETS
